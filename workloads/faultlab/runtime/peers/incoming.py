"""The answering side of one peer connection."""

import asyncio
from typing import Protocol, cast

from ..errors import ProtocolError
from .frames import MAX_FRAME_BYTES, MAX_HANDSHAKE_BYTES, FrameReader
from .handshake import Answering, Hello, Refusal
from .sockets import prepare_peer_socket

HANDSHAKE_TIMEOUT_S = 2.0
"""From the connection's begin to its last word."""


class Reception(Protocol):
    """What an incoming connection reports to."""

    def arrived(self, connection: "Incoming") -> Answering:
        """Somebody has connected; how to shake hands."""
        ...

    def admitted(self, connection: "Incoming", hello: Hello) -> None:
        """The handshake is done."""
        ...

    def deliver(self, peer: str, channel: int, payload: bytes) -> None:
        """A frame of a peer that has shaken hands; raises ProtocolError."""
        ...

    def refused(self, error: ProtocolError, who: str) -> None:
        """The connection is being closed for what the other side sent, or did not send."""
        ...

    def left(self, connection: "Incoming", by_peer: bool) -> None:
        """The connection has ended; `by_peer`: its other end closed or reset it."""
        ...


class Incoming(asyncio.Protocol):
    """Shakes hands, then delivers frames."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._reader = FrameReader(MAX_HANDSHAKE_BYTES)
        self._transport: asyncio.Transport | None = None
        self._answering: Answering | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._ended_here = False
        self._eof = False
        self.peer: str | None = None
        """Once it has shaken hands."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            prepare_peer_socket(sock)
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_TIMEOUT_S, self._give_up)
        self._answering = self._reception.arrived(self)

    def data_received(self, data: bytes) -> None:
        if self._ended_here:
            return
        try:
            for channel, payload in self._reader.feed(data):
                if self.peer is not None:
                    self._reception.deliver(self.peer, channel, payload)
                else:
                    self._greet(channel, payload)
                if self._ended_here:
                    return
        except ProtocolError as error:
            self._refuse(error)

    def eof_received(self) -> bool:
        self._eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        by_peer = not self._ended_here and (self._eof or isinstance(exc, ConnectionResetError))
        self._ended_here = True
        self._reception.left(self, by_peer)

    def abort(self) -> None:
        """Drops the connection."""
        self._ended_here = True
        if self._transport is not None:
            self._transport.abort()

    def who(self) -> str:
        """The peer's id, or a stranger's address."""
        if self.peer is not None:
            return self.peer
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return f"{name[0]}:{name[1]}" if name else "unknown"

    def _greet(self, channel: int, payload: bytes) -> None:
        assert self._answering is not None and self._transport is not None  # noqa: PT018
        answer = self._answering.received(channel, payload)
        hello = self._answering.peer
        if hello is not None:
            self.peer = hello.sender
            self._reader.max_frame_bytes = MAX_FRAME_BYTES
            if self._deadline is not None:
                self._deadline.cancel()
            self._reception.admitted(self, hello)
        self._transport.write(answer)

    def _refuse(self, error: ProtocolError) -> None:
        self._reception.refused(error, self.who())
        self._ended_here = True
        if self._transport is not None and self._answering is not None:
            self._transport.write(self._answering.refusal_frame(error))
            self._transport.close()

    def _give_up(self) -> None:
        if self.peer is None and not self._ended_here:
            self._reception.refused(
                Refusal("timeout", f"no handshake within {HANDSHAKE_TIMEOUT_S:.0f} s"), self.who()
            )
        self.abort()
