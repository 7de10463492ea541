"""A RESP client of one connection that sends each command exactly once, or says that it did not.

redis-py retries by default, so that one INCR against a server that drops its replies goes out many
times; a history is worthless then. Here nothing is retried, nothing reconnects behind the caller's
back, and every failure says whether a byte may have reached the server.
"""

import socket
import time
from typing import Any, NamedTuple

import hiredis

from faultlab.load.login import Login


class ClientError(Exception):
    """What can go wrong with one command."""


class NotSent(ClientError):
    """Nothing was sent: the connection could not be made. The operation certainly did not happen."""


class Indefinite(ClientError):
    """It was sent, at least in part, and no answer came: it may have happened or may yet."""


class Reply(NamedTuple):
    """An answer, with the member and term that META mode gives (None where the member knew neither)."""

    value: Any
    """bytes, int, None, a list, or an exception of hiredis for an error reply."""
    member: str | None
    term: int | None


class Connection:
    """A blocking connection (a gevent one where gevent has patched sockets). Not for two users at once."""

    def __init__(self, host: str, port: int, timeout_s: float, login: Login | None = None) -> None:
        """Connects, logs in and switches META mode on within `timeout_s`; raises NotSent where that fails."""
        deadline = time.monotonic() + timeout_s
        self._reader = hiredis.Reader(replyError=hiredis.ReplyError)
        try:
            self._socket = socket.create_connection((host, port), timeout=timeout_s)
        except OSError as error:
            raise NotSent(f"connect to {host}:{port}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            answer = self._exchange(("AUTH", *login), deadline) if login else None
            if not isinstance(answer, Exception):
                answer = self._exchange(("CLIENT", "META", "ON"), deadline)
        except ClientError as error:
            self.close()
            raise NotSent(f"handshake with {host}:{port}: {error}") from error
        if isinstance(answer, Exception):
            self.close()
            raise NotSent(f"{host}:{port} refuses AUTH or CLIENT META ON: {answer}")

    def request(self, command: tuple[str, ...], timeout_s: float) -> Reply:
        """Sends `command` once, returns its reply; raises Indefinite, and then the connection is shut."""
        try:
            answer = self._exchange(command, time.monotonic() + timeout_s)
        except Indefinite:
            self.close()
            raise
        if not isinstance(answer, list) or len(answer) != 2 or not isinstance(answer[1], list):
            self.close()
            raise Indefinite(f"not a META reply: {answer!r}"[:200])
        value, (member, term) = answer
        return Reply(value, member.decode() if isinstance(member, bytes) else None, term)

    def close(self) -> None:
        self._socket.close()

    def _exchange(self, command: tuple[str, ...], deadline: float) -> Any:
        try:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            self._socket.sendall(hiredis.pack_command(command))
            while (answer := self._reader.gets()) is False:
                self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
                received = self._socket.recv(65536)
                if not received:
                    raise Indefinite("the member closed the connection before it answered")
                self._reader.feed(received)
        except TimeoutError as error:
            raise Indefinite("no answer within the operation's timeout") from error
        except (OSError, hiredis.ProtocolError) as error:
            raise Indefinite(f"{type(error).__name__}: {error}") from error
        return answer
