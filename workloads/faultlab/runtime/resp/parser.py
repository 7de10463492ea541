"""Bytes from a client to requests, with every length bounded before it is believed.

hiredis parses. As a parser of replies from a trusted server it allocates as many elements as the peer
declares, and buffers without end; so a request's declared count is looked at before hiredis sees it, and
the bytes of an unfinished request are counted.

A chunk that begins, between two requests, with a letter holds inline commands (`PING`, as people and
redis-benchmark's PING_INLINE type them): words on one line, without Redis' quoting.
"""

import re
from collections import deque

import hiredis

from ..errors import ProtocolError

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""One request with its framing: a few values of the largest size."""

MAX_INLINE_BYTES = 64 * 1024
"""One inline command; as in Redis."""

_MAX_COUNT_DIGITS = 5
"""So at most 99,999 elements a request (49,999 pairs of an MSET)."""

_SUSPECT = re.compile(
    rb"[*%%~>|][0-9]{%d,}|[*%%~>|][0-9]{0,%d}\Z" % (_MAX_COUNT_DIGITS + 1, _MAX_COUNT_DIGITS)
)
"""A declared count that is too large or cut off by the chunk's end; or bytes of a payload that look so."""


_AGGREGATE_TYPES = b"*%~>|"


def _is_plain(data: bytes) -> bool:
    """Whether a chunk can hold no suspect and no inline command: told at a fifth of the search's cost.

    No byte of it is an aggregate's type, or only the first, and a small count follows that.
    """
    types = len(data) - len(data.translate(None, _AGGREGATE_TYPES))
    if data[:1] == b"*":
        return types == 1 and data.find(b"\r", 1, 2 + _MAX_COUNT_DIGITS) > 0
    return types == 0 and not data[:1].isalpha()


class RequestParser:
    """One connection's incoming bytes. `feed`, then `next` until it returns None."""

    def __init__(self, max_request_bytes: int = MAX_REQUEST_BYTES) -> None:
        self._reader = hiredis.Reader()
        self.max_request_bytes = max_request_bytes
        self._unfinished_bytes = 0
        self._held = b""
        self._complete: deque[object] = deque()
        self._error: ProtocolError | None = None
        """What came behind the complete requests."""

    def feed(self, data: bytes) -> None:
        """Takes in a chunk."""
        self._unfinished_bytes += len(data)
        if self._held:
            data, self._held = self._held + data, b""
        if _is_plain(data):
            self._reader.feed(data)
            return
        try:
            if data[:1].isalpha():
                data = self._take_inline(data)
            if _SUSPECT.search(data) is None:
                self._reader.feed(data)
            else:
                self._feed_guarded(data)
        except ProtocolError as error:
            self._error = error

    def next(self) -> list[bytes] | None:
        """The next complete request, None if there is none; raises ProtocolError for garbage."""
        while True:
            if self._complete:
                item = self._complete.popleft()
            elif self._error is not None:
                raise self._error
            else:
                item = self._gets()
            if item is False:
                if self._unfinished_bytes > self.max_request_bytes:
                    raise ProtocolError(f"request over {self.max_request_bytes} bytes")
                return None
            self._unfinished_bytes = 0
            if type(item) is not list:
                raise ProtocolError("expected an array of bulk strings")
            if not item:
                continue
            for argument in item:
                if type(argument) is not bytes:
                    raise ProtocolError("expected an array of bulk strings")
            return item

    def _take_inline(self, data: bytes) -> bytes:
        """Takes the inline commands that `data` begins with; what follows them, all of it where none do."""
        while (item := self._gets()) is not False:
            self._complete.append(item)
        if self._reader.has_data():
            return data  # inside a request: a payload's bytes
        while data[:1].isalpha():
            line, end, rest = data.partition(b"\n")
            if len(line) > MAX_INLINE_BYTES:
                raise ProtocolError(f"inline command over {MAX_INLINE_BYTES} bytes")
            if not end:
                self._held = line
                return b""
            words = line.split()
            if words[-1].startswith(b"HTTP/"):
                # Or a web page could have a browser write here: header lines would be commands.
                raise ProtocolError("this is HTTP; the port speaks the Redis protocol")
            self._complete.append(words)
            data = rest
        return data

    def _feed_guarded(self, data: bytes) -> None:
        """Feeds up to each suspect and asks hiredis what it waits for.

        While an item is incomplete hiredis keeps it whole in its buffer, so an empty buffer means that
        the next byte is a type byte, and the suspect a count; otherwise it is a payload's bytes.
        """
        fed = 0
        for suspect in _SUSPECT.finditer(data):
            start = suspect.start()
            self._reader.feed(data[fed:start])
            fed = start
            while (item := self._gets()) is not False:
                self._complete.append(item)
            if self._reader.has_data():
                continue
            if suspect.end() - start > 1 + _MAX_COUNT_DIGITS:
                raise ProtocolError(f"more than {10**_MAX_COUNT_DIGITS - 1} elements in a request")
            self._held = data[start:]
            return
        self._reader.feed(data[fed:])

    def _gets(self) -> object:
        try:
            return self._reader.gets()
        except hiredis.ProtocolError as error:
            raise ProtocolError(_explain(str(error))) from error
        except MemoryError as error:
            raise ProtocolError("a declared length is too large") from error
        except (TypeError, ValueError) as error:  # a map whose keys have no hash; a text that is not UTF-8
            raise ProtocolError("expected an array of bulk strings") from error


def _explain(message: str) -> str:
    if "as reply type byte" in message:
        return "expected '*' (send an array of bulk strings, or an inline command that begins with a letter)"
    return message.removeprefix("Protocol error, ")
