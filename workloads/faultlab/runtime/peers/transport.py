"""All of a member's peer connections: a link to each peer, and the port where theirs arrive."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping

from ..errors import ListenError, ProtocolError
from .doorkeeper import Doorkeeper
from .handshake import (
    Answering,
    Dialling,
    Hello,
    Identity,
    IdentityRefused,
    Refusal,
    RefusalReason,
    RefusedByPeer,
)
from .incoming import Incoming
from .link import LinkTimes, PeerLink

log = logging.getLogger("faultlab.peers")

MAX_STRANGERS = 64
"""Connections that have not shaken hands; for one more the oldest is dropped, as peers need but a moment."""
MAX_GUESTS = 16
"""Links to peers that are not listed but have proved themselves; one more is heard and not answered."""

FrameHandler = Callable[[str, int, bytes], None]
"""(peer, channel, payload). Raises ProtocolError for what no correct peer sends."""


def _ignore(*_: object) -> None:
    """For callbacks that nobody asked for."""


class PeerTransport:
    """Frames to and from the peers of one cluster, by id.

    `links` is the same dict for ever: a link to each listed peer (`update_peers`), and to guests. A guest is
    a peer that is not listed and has shaken hands all the same: a member that joined or left while this one
    was behind (thesis, 4.1). Its link lives as long as its own connection to this member.
    """

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
        *,
        key: bytes | None = None,
        uuid: str = "",
        known: Mapping[str, str] | None = None,
        address: tuple[str, int] | None = None,
        on_incoming_lost: Callable[[str], None] = _ignore,
        on_refused_identity: Callable[[str], None] = _ignore,
        on_learned: Callable[[str, str], None] = _ignore,
    ) -> None:
        """`peers`: host and port of each other member; `address`: where they reach this one.

        `on_up`, `on_down`: of the link to that peer. `on_incoming_lost(peer)`: its connection to this member
        was closed or reset from its end, and no newer one has replaced it: its process is gone, most likely.
        `on_refused_identity(message)`: a peer that has proved itself knows this member under another uuid.
        `on_learned(peer, uuid)`: to be kept, and given back as `known` after a restart.
        """
        loop = asyncio.get_running_loop()
        self._identity = Identity(cluster, member, uuid, key, address)
        self._doorkeeper = Doorkeeper(key is not None, known or {}, on_learned, loop.time)
        self._times = times
        self._rng = rng
        self._on_frame = on_frame
        self._on_up = on_up
        self._on_down = on_down
        self._on_incoming_lost = on_incoming_lost
        self._on_refused_identity = on_refused_identity
        self.links: dict[str, PeerLink] = {}
        self._incoming: dict[str, Incoming] = {}
        self._strangers: dict[Incoming, None] = {}
        self._server: asyncio.Server | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._next_check: asyncio.TimerHandle | None = None
        self._running = False
        self.update_peers(peers)

    @property
    def refusals(self) -> Mapping[RefusalReason, int]:
        """How often somebody was turned away, by reason: those who dialled, and those who answered."""
        return self._doorkeeper.refusals

    async def start(self, host: str, port: int) -> None:
        """Listens and begins to dial; raises ListenError."""
        loop = asyncio.get_running_loop()
        if self._identity.key is None:
            log.warning(
                "no peer key: whoever reaches the peer port may say that it is a member of %s",
                self._identity.cluster,
            )
        try:
            self._server = await loop.create_server(lambda: Incoming(self), host, port)
        except OSError as error:
            raise ListenError(f"cannot listen for peers on {host}:{port}: {error.strerror}") from error
        self._running = True
        for link in self.links.values():
            link.start()
        self._check_links(loop)

    async def stop(self) -> None:
        """Closes everything."""
        self._running = False
        if self._next_check is not None:
            self._next_check.cancel()
        if self._server is not None:
            self._server.close()
        for connection in [*self._strangers, *self._incoming.values()]:
            connection.abort()
        for link in list(self.links.values()):
            await link.stop()
        if self._closing:
            await asyncio.wait(self._closing)

    def update_peers(self, peers: Mapping[str, tuple[str, int]]) -> None:
        """The members have changed: dials who is new, stops dialling who is gone and not connected here."""
        listed = {peer: address for peer, address in peers.items() if peer != self._identity.member}
        self._doorkeeper.listed = frozenset(listed)
        for peer, address in listed.items():
            if peer in self.links:
                self.links[peer].move(address)
            else:
                self._add_link(peer, address)
        for peer in [peer for peer in self.links if peer not in listed and peer not in self._incoming]:
            self._remove_link(peer)

    # What links ask and tell (LinkCallbacks).

    def dialling(self, peer: str) -> Dialling:
        """As `LinkCallbacks.dialling`."""
        return Dialling(self._identity, peer, self._doorkeeper.check_uuid)

    def up(self, peer: str, uuid: str) -> None:
        """As `LinkCallbacks.up`."""
        self._doorkeeper.learn(peer, uuid)
        self._on_up(peer)

    def down(self, peer: str) -> None:
        """As `LinkCallbacks.down`."""
        self._on_down(peer)

    def refused(self, error: ProtocolError, who: str) -> None:
        """As `LinkCallbacks.refused` and `Reception.refused`."""
        if isinstance(error, IdentityRefused):
            self._on_refused_identity(str(error))
        elif not isinstance(error, RefusedByPeer):  # which is counted there
            self._doorkeeper.refused(error, who)

    # What incoming connections ask and tell (Reception).

    def arrived(self, connection: Incoming) -> Answering:
        """As `Reception.arrived`."""
        if len(self._strangers) >= MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            self.refused(Refusal("crowded", f"{MAX_STRANGERS} others had not shaken hands"), oldest.who())
            oldest.abort()
        self._strangers[connection] = None
        return Answering(self._identity, self._doorkeeper.check_sender, self._doorkeeper.check_uuid)

    def admitted(self, connection: Incoming, hello: Hello) -> None:
        """As `Reception.admitted`: in place of the peer's earlier connection."""
        peer = hello.sender
        self._doorkeeper.learn(peer, hello.uuid)
        self._strangers.pop(connection, None)
        before = self._incoming.get(peer)
        self._incoming[peer] = connection
        if before is not None:
            before.abort()
        if peer not in self.links and hello.address is not None:
            if len(self.links) - len(self._doorkeeper.listed) < MAX_GUESTS:
                self._add_link(peer, hello.address)
            else:
                log.warning("%s is heard but not answered: %d guests are here already", peer, MAX_GUESTS)

    def deliver(self, peer: str, channel: int, payload: bytes) -> None:
        """As `Reception.deliver`."""
        self._on_frame(peer, channel, payload)

    def left(self, connection: Incoming, by_peer: bool) -> None:
        """As `Reception.left`."""
        self._strangers.pop(connection, None)
        peer = connection.peer
        if peer is None or self._incoming.get(peer) is not connection:
            return
        del self._incoming[peer]
        if peer not in self._doorkeeper.listed:
            self._remove_link(peer)
        if by_peer and self._running:
            self._on_incoming_lost(peer)

    def _add_link(self, peer: str, address: tuple[str, int]) -> None:
        link = self.links[peer] = PeerLink(peer, address, self._times, self._rng, self)
        if self._running:
            link.start()

    def _remove_link(self, peer: str) -> None:
        link = self.links.pop(peer, None)
        if link is not None and self._running:
            task = asyncio.get_running_loop().create_task(link.stop(), name=f"close the link to {peer}")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _check_links(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for link in self.links.values():
            link.check(now_s)
        self._next_check = loop.call_later(self._times.check_s, self._check_links, loop)
