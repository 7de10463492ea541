"""All of a member's peer connections: a link to each peer, and the port where theirs arrive."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import cast

from ..errors import ListenError, ProtocolError
from .frames import (
    HELLO,
    MAX_FRAME_BYTES,
    MAX_HANDSHAKE_BYTES,
    PROTOCOL_VERSION,
    REFUSED,
    WELCOME,
    FrameReader,
    Hello,
    decode_hello,
    frame,
)
from .link import LinkTimes, PeerLink
from .sockets import prepare_peer_socket

log = logging.getLogger("faultlab.peers")

MAX_STRANGERS = 64
"""Connections that have not shaken hands; one more is closed."""
_HANDSHAKE_TIMEOUT_S = 2.0

FrameHandler = Callable[[str, int, bytes], None]
"""(peer, channel, payload). Raises ProtocolError for what no correct peer sends."""


class PeerTransport:
    """Frames to and from the peers of one cluster, by name."""

    def __init__(
        self,
        cluster: str,
        member: str,
        peers: Mapping[str, tuple[str, int]],
        times: LinkTimes,
        rng: random.Random,
        on_frame: FrameHandler,
        on_up: Callable[[str], None],
        on_down: Callable[[str], None],
    ) -> None:
        """`peers`: host and port of each other member. `on_up`, `on_down`: of the link to that peer."""
        self.cluster = cluster
        self.member = member
        self._on_frame = on_frame
        self.links = {
            name: PeerLink(
                address, Hello(PROTOCOL_VERSION, cluster, member, name), times, rng, on_up, on_down
            )
            for name, address in peers.items()
        }
        self._incoming: dict[str, _Incoming] = {}
        self._strangers: set[_Incoming] = set()
        self._server: asyncio.Server | None = None
        self._check_s = times.check_s
        self._next_check: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int) -> None:
        """Listens and begins to dial; raises ListenError."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Incoming(self), host, port)
        except OSError as error:
            raise ListenError(f"cannot listen for peers on {host}:{port}: {error.strerror}") from error
        for link in self.links.values():
            link.start()
        self._check_links(loop)

    async def stop(self) -> None:
        """Closes everything."""
        if self._next_check is not None:
            self._next_check.cancel()
        if self._server is not None:
            self._server.close()
        for connection in [*self._strangers, *self._incoming.values()]:
            connection.abort()
        for link in self.links.values():
            await link.stop()

    def arrived(self, connection: "_Incoming") -> bool:
        """Somebody has connected; False when too many have and said nothing."""
        if len(self._strangers) >= MAX_STRANGERS:
            return False
        self._strangers.add(connection)
        return True

    def greet(self, connection: "_Incoming", hello: Hello) -> None:
        """Lets a peer in, in place of its earlier connection; raises ProtocolError for a stranger."""
        if hello.version != PROTOCOL_VERSION:
            raise ProtocolError(
                f"version {hello.version} of the peer protocol; {PROTOCOL_VERSION} is spoken here"
            )
        if hello.cluster != self.cluster:
            raise ProtocolError(f"cluster {hello.cluster!r}; this is {self.cluster!r}")
        if hello.to != self.member:
            raise ProtocolError(f"looking for {hello.to!r}; this is {self.member!r}")
        if hello.sender not in self.links:
            raise ProtocolError(f"{hello.sender!r} is no member of {self.cluster!r}")
        self._strangers.discard(connection)
        before = self._incoming.get(hello.sender)
        self._incoming[hello.sender] = connection
        if before is not None:
            before.abort()

    def left(self, connection: "_Incoming") -> None:
        """A connection has ended."""
        self._strangers.discard(connection)
        if connection.peer is not None and self._incoming.get(connection.peer) is connection:
            del self._incoming[connection.peer]

    def _check_links(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for link in self.links.values():
            link.check(now_s)
        self._next_check = loop.call_later(self._check_s, self._check_links, loop)

    def deliver(self, peer: str, channel: int, payload: bytes) -> None:
        """Hands a frame to the system; raises ProtocolError."""
        self._on_frame(peer, channel, payload)


class _Incoming(asyncio.Protocol):
    """The answering side of one connection."""

    def __init__(self, owner: PeerTransport) -> None:
        self._owner = owner
        self._reader = FrameReader(MAX_HANDSHAKE_BYTES)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.peer: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            prepare_peer_socket(sock)
        if not self._owner.arrived(self):
            self.abort()
            return
        self._deadline = asyncio.get_running_loop().call_later(_HANDSHAKE_TIMEOUT_S, self._give_up)

    def data_received(self, data: bytes) -> None:
        try:
            for channel, payload in self._reader.feed(data):
                if self.peer is not None:
                    self._owner.deliver(self.peer, channel, payload)
                else:
                    self._greet(channel, payload)
        except ProtocolError as error:
            log.warning("peer connection from %s refused: %s", self.peer or self._address(), error)
            self._refuse(str(error))

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._owner.left(self)

    def abort(self) -> None:
        """Drops the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _greet(self, channel: int, payload: bytes) -> None:
        if channel != HELLO:
            raise ProtocolError(f"channel {channel} before the handshake")
        hello = decode_hello(payload)
        self._owner.greet(self, hello)
        self.peer = hello.sender
        self._reader.max_frame_bytes = MAX_FRAME_BYTES
        if self._deadline is not None:
            self._deadline.cancel()
        if self._transport is not None:
            self._transport.write(frame(WELCOME, b""))

    def _refuse(self, reason: str) -> None:
        if self._transport is not None:
            self._transport.write(frame(REFUSED, reason.encode()[:1024]))
            self._transport.close()

    def _give_up(self) -> None:
        if self.peer is None:
            self.abort()

    def _address(self) -> str:
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return f"{name[0]}:{name[1]}" if name else "unknown"
