"""One client: requests in order in, replies in the same order out.

Requests are dispatched as they arrive, so that those of one turn of the loop become one batch, but only
requests of one kind overlap: a read behind a write waits for it and a write behind a read likewise, so a
pipeline means what it says in Redis. Bounds: MAX_IN_FLIGHT requests of a kind or MAX_IN_FLIGHT_BYTES of
them; at either, and while the client does not read its replies, nothing more is read from the socket. Who
lets more than MAX_OUTPUT_BYTES of replies come up all the same is cut off, as Redis does it.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

from ..errors import ProtocolError
from .encoder import Result, encode, encode_meta, error_line
from .handler import CommandSpec, Kind
from .parser import MAX_REQUEST_BYTES, RequestParser
from .session import Session, run_local

if TYPE_CHECKING:
    from .server import RespServer

MAX_IN_FLIGHT = {Kind.LOCAL: 1, Kind.READ: 64, Kind.WRITE: 1024}
"""Fewer reads, whose replies may be long."""
MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
_FLUSH_BYTES = 256 * 1024
"""Replies that are written at once and not at the end of the turn, so that the socket can push back."""
MAX_REQUEST_BYTES_BEFORE_LOGIN = 64 * 1024
"""Of one request, where a login is needed."""
_READ_AHEAD_BYTES = 64 * 1024
"""What a stalled connection may still take in before its socket is no longer read."""


class ReplySlot:
    """The place of one reply; resolved once, in any order."""

    __slots__ = ("_connection", "cost", "reply")

    def __init__(self, connection: "RespConnection", cost: int) -> None:
        self._connection = connection
        self.cost = cost
        self.reply: bytes | None = None

    def resolve(self, result: Result, member: str | None, term: int | None) -> None:
        self._connection.resolved(self, result, member, term)


class RespConnection(asyncio.Protocol):
    """The protocol of one client's socket."""

    def __init__(self, server: "RespServer") -> None:
        self._server = server
        self._handler = server.handler
        self._access = server.access
        self._commands = server.commands
        self._parser = RequestParser()
        self._transport: asyncio.Transport | None = None
        self.session = Session()
        self._bound_requests()
        self._slots: deque[ReplySlot] = deque()
        self._out: list[bytes] = []
        self._in_flight_bytes = 0
        self._out_bytes = 0
        self._kind = Kind.LOCAL
        self._max_slots = MAX_IN_FLIGHT[Kind.LOCAL]
        self._waiting: tuple[CommandSpec, list[bytes]] | None = None
        self._read_ahead = 0
        self._reading = True
        self._writable = True
        self._dispatching = False
        self._stalled = False
        """Something complete waits to be dispatched."""
        self._closing = False
        self._refused = False
        """Garbage has come: nothing behind it is looked at."""
        self._eof = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        if not self._server.admit(self):
            transport.write(b"-ERR max number of clients reached\r\n")
            self._closing = True
            transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._closing = True
        self._server.forget(self)

    def eof_received(self) -> bool:
        """The client sends no more, but may still read: it gets the replies that it waits for."""
        self._eof = True
        return bool(self._slots)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._dispatch()

    def data_received(self, data: bytes) -> None:
        if self._closing or self._refused:
            return
        self._parser.feed(data)
        self._read_ahead += len(data)
        self._dispatch()
        if self._reading and self._read_ahead > _READ_AHEAD_BYTES and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def resolved(self, slot: ReplySlot, result: Result, member: str | None, term: int | None) -> None:
        """A slot's answer has come."""
        if self._closing:
            return
        session = self.session
        reply = encode(result, session.resp3)
        if session.meta:
            reply = b"*2\r\n" + reply + encode_meta(member, term, session.resp3)
        self._answer(slot, reply)

    def _answer(self, slot: ReplySlot, reply: bytes) -> None:
        """Puts a reply in its place and sends what is complete from the front."""
        slot.reply = reply
        slots = self._slots
        flush_is_due = bool(self._out)
        while slots and (reply_ready := slots[0].reply) is not None:
            self._in_flight_bytes -= slots.popleft().cost
            self._out.append(reply_ready)
            self._out_bytes += len(reply_ready)
        if self._out_bytes > _FLUSH_BYTES:
            self.flush()
        elif self._out and not flush_is_due:
            self._server.flush_soon(self)
        if self._stalled and (not slots or self._waiting is None):
            self._dispatch()

    def flush(self) -> None:
        """Writes the replies that are ready, in one piece."""
        out, transport = self._out, self._transport
        if out and transport is not None and not transport.is_closing():
            transport.write(out[0] if len(out) == 1 else b"".join(out))
            if not self._writable and transport.get_write_buffer_size() > MAX_OUTPUT_BYTES:
                self._closing = True
                transport.abort()
        out.clear()
        self._out_bytes = 0
        finished = self._closing or ((self._eof or self._refused) and not self._slots)
        if finished and transport is not None:
            transport.close()

    def close(self) -> None:
        """Closes after what was written."""
        self._closing = True
        self.flush()

    def _dispatch(self) -> None:
        """Starts as many requests as may start now."""
        if self._dispatching or self._closing or self._refused:
            return
        self._dispatching = True
        try:
            self._stalled = not self._dispatch_ready()
        except ProtocolError as error:
            self._refuse(error)
            return
        finally:
            self._dispatching = False
        if not self._stalled:
            self._read_ahead = 0
            if not self._reading and self._transport is not None:
                self._reading = True
                self._transport.resume_reading()

    def _dispatch_ready(self) -> bool:
        """True when every complete request was started, False when one has to wait."""
        while not self._closing:
            if (
                not self._writable
                or len(self._slots) >= self._max_slots
                or self._in_flight_bytes >= MAX_IN_FLIGHT_BYTES
            ):
                return False
            if self._waiting is None:
                args = self._parser.next()
                if args is None:
                    return True
                spec = self._find(args)
                if spec is None:
                    continue
            else:
                spec, args = self._waiting
                self._waiting = None
            if self._slots and (spec.kind is not self._kind or spec.kind is Kind.LOCAL):
                self._waiting = (spec, args)
                return False
            self._start(spec, args)
        return True

    def _find(self, args: list[bytes]) -> CommandSpec | None:
        """The command that a request names; answers with an error and gives None if it is no good."""
        spec = self._commands.get(args[0]) or self._commands.get(args[0].upper())
        if spec is None:
            shown = args[0][:64].decode("utf-8", "replace")
            self._fail(f"ERR unknown command '{shown}'; COMMAND lists what this member knows", len(args[0]))
        elif not spec.admits(len(args)):
            self._fail(f"ERR wrong number of arguments for '{spec.name.lower()}' command", 0)
            return None
        elif self._access is not None:
            problem = self._access.problem(self.session.user, spec, args, self._handler.unwrap)
            if problem is not None:
                self._open_slot(0).resolve(problem, None, None)
                return None
        return spec

    def _bound_requests(self) -> None:
        """Strangers may not make us hold as much as users may."""
        stranger = self._access is not None and self.session.user is None
        self._parser.max_request_bytes = MAX_REQUEST_BYTES_BEFORE_LOGIN if stranger else MAX_REQUEST_BYTES

    def _start(self, spec: CommandSpec, args: list[bytes]) -> None:
        if spec.kind is not self._kind:
            self._kind = spec.kind
            self._max_slots = MAX_IN_FLIGHT[spec.kind]
        if spec.kind is Kind.LOCAL:
            self._answer_locally(spec, args)
            if self.session.quitting:
                self.close()
            return
        user = self.session.user
        command = self._handler.prepare(spec, args, "" if user is None else user.name)
        if isinstance(command, str):
            self._open_slot(0).resolve(command, None, None)
        else:
            self._handler.submit(spec.kind, command, self._open_slot(len(command)))

    def _answer_locally(self, spec: CommandSpec, args: list[bytes]) -> None:
        """In the protocol that the command leaves; META's own replies come as they would without it."""
        meta_before = self.session.meta
        result = run_local(self, self._server, spec, args)
        if self._access is not None:
            self._bound_requests()
        reply = encode(result, self.session.resp3)
        if meta_before and self.session.meta:
            reply = b"*2\r\n" + reply + encode_meta(None, None, self.session.resp3)
        self._answer(self._open_slot(0), reply)

    def _open_slot(self, cost: int) -> ReplySlot:
        slot = ReplySlot(self, cost)
        self._slots.append(slot)
        self._in_flight_bytes += cost
        return slot

    def _fail(self, message: str, cost: int) -> None:
        self._open_slot(cost).resolve(error_line(message), None, None)

    def _refuse(self, error: ProtocolError) -> None:
        """Garbage: tell why, after the replies to what came before it, and close."""
        self._refused = True
        self._answer(self._open_slot(0), encode(error_line(f"ERR Protocol error: {error}"), False))
