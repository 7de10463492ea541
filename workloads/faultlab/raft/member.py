"""One member of a RaftCluster as a process: its parts put together, its ports, its disk and its clock."""

import asyncio
import importlib
import logging
import os
import random
import secrets
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from faultlab import __version__
from faultlab.contract.member import EXIT_DATA, MemberEvent, RaftConfig, RaftStatus
from faultlab.runtime.clock import Clock, SystemClock
from faultlab.runtime.disk import DiskThread
from faultlab.runtime.files import RealFiles
from faultlab.runtime.peers.key import read_key
from faultlab.runtime.peers.link import LinkTimes
from faultlab.runtime.peers.transport import PeerTransport
from faultlab.runtime.process import EXIT_BROKEN
from faultlab.runtime.resp.acl import AccessControl
from faultlab.runtime.resp.handler import CommandSpec, Kind, Slot
from faultlab.runtime.resp.server import RespServer
from faultlab.runtime.ticker import Ticker

from .assembly import assemble
from .commands import COMMANDS, prepare, unwrap
from .host import Host
from .identity import choose_identity
from .node import RaftNode
from .orders import Orders, proof_of
from .settings import TICKS_PER_HEARTBEAT, check_config, tick_s
from .status import counters_of, gauges_of, info_of, not_ready, status_of
from .storage.directories import remove_older
from .storage.errors import StorageError
from .watch import Watch

if TYPE_CHECKING:
    from faultlab.runtime.admin import AdminServer

log = logging.getLogger("faultlab.raft")

_DISK_CLOSE_S = 0.5


class RaftMember:
    """A member from its configuration: the client port's `Handler` and the admin port's `Observed`."""

    commands: Mapping[str, CommandSpec] = COMMANDS

    def __init__(self, config: RaftConfig, member: str, listen: str, clock: Clock | None = None) -> None:
        """Raises ConfigError, IdentityRefused, or a StorageError when the data directory cannot be used."""
        self._address = check_config(config, member)
        self._config = config
        self._listen = listen
        self._clock = clock or SystemClock()
        self._started_at = self._clock.wall_time()
        key = read_key(Path(config.peer_key_file)) if config.peer_key_file is not None else None
        access = AccessControl(Path(config.client_auth_file)) if config.client_auth_file is not None else None
        self._files = RealFiles()
        identity = choose_identity(self._files, config, member)
        self._id = identity.id
        seed = config.seed if config.seed is not None else secrets.randbits(64)
        rng = random.Random(f"{seed}/{self._id}")
        log.info(
            "member %s of cluster %s, version %s, seed %d (%s)",
            self._id,
            config.cluster,
            __version__,
            seed,
            identity.start,
        )
        if identity.start == "bootstrap":
            log.warning(
                "%s begins a new cluster with %s: once it serves, set initialState to existing in the"
                " configuration, or a majority that loses its data begins another, empty one",
                member,
                ", ".join(peer.name for peer in config.members),
            )
        core, store, self._storage, recovered = assemble(config, identity, self._files, rng, self._clock)
        self._replay_until = recovered.hard_state.commit
        self._watch = Watch(member, self._clock, tick_s(config), secrets.token_hex(8))
        self.incarnation, self.events = self._watch.incarnation, self._watch.events
        detail = (
            f"log of {len(recovered.entries)} entries behind a snapshot of {recovered.snapshot.index},"
            f" term {recovered.hard_state.term}"
        )
        self._watch.started(recovered.hard_state.term, detail)
        log.info("recovered a %s", detail)
        if config.break_rule is not None:
            log.warning("breakRule %s: this member is broken on purpose", config.break_rule)
        # reviveEmpty switches the whole guard off: nobody may notice by the uuid either.
        revives = config.break_rule == "reviveEmpty"
        self._transport = PeerTransport(
            config.cluster,
            self._id,
            self._first_peers(),
            LinkTimes.for_heartbeat(config.heartbeat_interval_ms / 1000),
            rng,
            on_frame=lambda peer, channel, payload: self._node.received(peer, channel, payload),
            on_up=lambda _peer: None,
            on_down=lambda peer: self._node.disconnected(peer),
            key=key,
            uuid="" if revives else recovered.uuid,
            known=recovered.known_peers,
            address=(self._address.host, self._address.peer_port),
            on_incoming_lost=lambda peer: self._node.process_ended(peer),
            on_refused_identity=_exit_refused,
            on_learned=lambda peer, uuid: self._node.learned(peer, uuid),
        )
        self._disk = DiskThread()
        self._node = RaftNode(
            config,
            self._id,
            core,
            store,
            Host(asyncio.get_running_loop(), self._clock, self._storage, self._disk, self._transport),
            self._watch,
            on_broken=_exit_broken,
            on_vote=self._remove_older,
        )
        self._orders = Orders(config, self._node)
        self.actions = self._orders.actions
        self.proof = None if key is None else proof_of(config.cluster, key)
        self._resp = RespServer(self, software="faultlab-raft", version=__version__, access=access)
        self._ticker = Ticker(tick_s(config), TICKS_PER_HEARTBEAT, self._node.ticks)
        self._admin: AdminServer[MemberEvent] | None = None

    async def start(self) -> None:
        """Opens the ports and begins to tick; raises ListenError."""
        await self._transport.start(self._listen, self._address.peer_port)
        await self._resp.start(self._listen, self._address.client_port)
        self._ticker.start()
        await self._start_admin()
        log.info(
            "listening on %s: clients %d, peers %d, admin %d",
            self._listen,
            self._address.client_port,
            self._address.peer_port,
            self._address.admin_port,
        )

    async def hand_over(self) -> None:
        """Gives the leadership away, if it is here, before `stop`: within an election timeout and a half."""
        await self._orders.hand_over()

    async def stop(self) -> None:
        """Answers whoever waits, closes the ports, and syncs the log."""
        self._ticker.stop()
        self._node.stop()
        await asyncio.sleep(0)  # lets the replies of the line above out
        self._resp.stop()
        if self._admin is not None:
            await self._admin.stop()
        await self._transport.stop()
        if self._disk.close(_DISK_CLOSE_S):
            self._storage.close()
        else:
            log.warning("disk still busy after %.1f s; leaving it what it has", _DISK_CLOSE_S)
            self._storage.abandon()

    def prepare(self, spec: CommandSpec, args: list[bytes], user: str) -> bytes | str:
        """As `Handler.prepare`."""
        return prepare(spec, args, user)

    def unwrap(self, spec: CommandSpec, args: list[bytes]) -> tuple[CommandSpec, list[bytes]] | str:
        """As `Handler.unwrap`."""
        return unwrap(spec, args)

    def submit(self, kind: Kind, command: bytes, slot: Slot) -> None:
        """As `Handler.submit`."""
        self._node.submit(kind, command, slot)

    def info(self) -> dict[str, dict[str, object]]:
        """As `Handler.info`."""
        return info_of(self.status(), len(self._node.store))

    def status(self) -> RaftStatus:
        """As `Observed.status`."""
        return status_of(self._node, self._storage, self._config.cluster, self._started_at, self.not_ready())

    def not_ready(self) -> str | None:
        """As `Observed.not_ready`."""
        return not_ready(self._node, self._replay_until)

    async def metrics(self) -> bytes:
        """As `Observed.metrics`."""
        metrics = await asyncio.to_thread(importlib.import_module, "faultlab.raft.metrics")
        links, access = self._transport.links.values(), self._resp.access
        gauges = {
            **gauges_of(self._node, self._storage),
            "client_connections": ("Clients connected.", self._resp.connections),
            "peers_connected": (
                "Peers that this member has a connection to.",
                sum(k.connected for k in links),
            ),
        }
        counters = {
            **counters_of(self._node),
            "ticks_forgotten": ("Ticks that stalls of the process swallowed.", self._ticker.forgotten),
            "frames_dropped": (
                "Frames to peers that could not be sent.",
                sum(k.dropped_frames for k in links),
            ),
            "peer_reconnects": ("Peer connections lost.", sum(k.reconnects for k in links)),
            "failed_logins": ("Wrong names or passwords.", access.failed_logins if access else 0),
            "denied_commands": (
                "Commands refused for want of a login or a rule.",
                access.denied if access else 0,
            ),
        }
        refusals = {
            "peer_refusals": ("Connections of peers refused.", "reason", self._transport.refusals),
        }
        rendered: bytes = metrics.render(gauges, counters, refusals)
        return rendered

    def _first_peers(self) -> dict[str, tuple[str, int]]:
        """For a joiner, whose own configuration names nobody: whom the file names."""
        return {
            peer.id or peer.name: (peer.host, peer.peer_port)
            for peer in self._config.members
            if peer.name != self._address.name
        }

    def _remove_older(self) -> None:
        """This id votes: what earlier ids of the same name have left is needed no more."""
        job = partial(remove_older, self._files, Path(self._config.data_dir), self._id)
        self._disk.run(lambda: _log_removed(job()), lambda: None)

    async def _start_admin(self) -> None:
        """In a thread of its own for the import of aiohttp, which takes longer than a heartbeat."""
        admin = await asyncio.to_thread(importlib.import_module, "faultlab.runtime.admin")
        self._admin = admin.AdminServer(self)
        await self._admin.start(self._listen, self._address.admin_port)


def _log_removed(older: list[str]) -> None:
    """Says what was removed, if anything."""
    if older:
        log.info("removed the data of %s, which this member has replaced", ", ".join(older))


def _exit_broken(error: BaseException) -> NoReturn:
    """A core or a state machine that has failed half-way must not answer anybody again, nor data that is not
    what was written."""
    log.critical("broken, ending now: %s", error, exc_info=error)
    sys.stderr.flush()
    os._exit(EXIT_DATA if isinstance(error, StorageError) else EXIT_BROKEN)


def _exit_refused(message: str) -> NoReturn:
    """A member that has lost what it promised must not go on under its id."""
    log.critical("refused by a peer, ending now: %s", message)
    sys.stderr.flush()
    os._exit(EXIT_DATA)
