"""One member of a RaftCluster, put together: its log, its core, its three ports and its clock."""

import asyncio
import importlib
import logging
import os
import random
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from faultlab import __version__
from faultlab.contract.member import MemberEvent, PeerAddress, RaftConfig, RaftStatus
from faultlab.runtime.clock import Clock, SystemClock
from faultlab.runtime.errors import ConfigError
from faultlab.runtime.peers.link import LinkTimes
from faultlab.runtime.peers.transport import PeerTransport
from faultlab.runtime.process import EXIT_BROKEN
from faultlab.runtime.resp.handler import CommandSpec, Kind, Slot
from faultlab.runtime.resp.server import RespServer
from faultlab.runtime.ticker import Ticker

from .commands import COMMANDS, prepare, unwrap
from .config import CoreConfig
from .configuration import Address, Configuration
from .core import Raft
from .host import DiskQueue, Link
from .messages import Entry, HardState, SnapshotMeta
from .node import RaftNode
from .rules import rule_named
from .storage.wal import Wal, open_wal
from .watch import Watch

if TYPE_CHECKING:
    from faultlab.runtime.admin import Action, AdminServer

log = logging.getLogger("faultlab.raft")

TICKS_PER_HEARTBEAT = 5


def check_config(config: RaftConfig, member: str) -> PeerAddress:
    """The address of `member`; raises ConfigError for settings that no member could run with."""
    names = [peer.name for peer in config.members]
    if not 1 <= len(names) <= 9:
        raise ConfigError(f"members: {len(names)} of them; a cluster has 1 to 9")
    if len(set(names)) != len(names):
        raise ConfigError(f"members: a name occurs twice in {', '.join(names)}; name each once")
    if member not in names:
        raise ConfigError(
            f"member {member!r} is not among the members ({', '.join(names)}) of the configuration"
        )
    if config.heartbeat_interval_ms < 1:
        raise ConfigError(f"heartbeatIntervalMs is {config.heartbeat_interval_ms}; it must be at least 1")
    if config.election_timeout_ms < 2 * config.heartbeat_interval_ms:
        raise ConfigError(
            f"electionTimeoutMs is {config.election_timeout_ms}; it must be at least twice"
            f" heartbeatIntervalMs ({config.heartbeat_interval_ms})"
        )
    return config.members[names.index(member)]


class RaftMember:
    """A member from its configuration: the client port's `Handler` and the admin port's `Observed`."""

    commands: Mapping[str, CommandSpec] = COMMANDS
    actions: Mapping[str, Action] = {}
    proof: str | None = None

    def __init__(self, config: RaftConfig, member: str, listen: str, clock: Clock | None = None) -> None:
        """Raises ConfigError, or a StorageError when the data directory cannot be used."""
        self._address = check_config(config, member)
        self._config = config
        self._name = member
        self._listen = listen
        self._clock = clock or SystemClock()
        self._started_at = self._clock.wall_time()
        seed = config.seed if config.seed is not None else secrets.randbits(64)
        self._rng = random.Random(f"{seed}/{member}")
        log.info("member %s of cluster %s, version %s, seed %d", member, config.cluster, __version__, seed)
        self._wal, recovered = open_wal(Path(config.data_dir), config.cluster, member)
        self._replay_until = recovered.hard_state.commit
        heartbeat_s = config.heartbeat_interval_ms / 1000
        tick_s = heartbeat_s / TICKS_PER_HEARTBEAT
        self._watch = Watch(member, self._clock, tick_s, secrets.token_hex(8))
        self.incarnation = self._watch.incarnation
        self.events = self._watch.events
        core_config = CoreConfig(
            id=member,
            election_ticks=max(TICKS_PER_HEARTBEAT + 1, round(config.election_timeout_ms / 1000 / tick_s)),
            heartbeat_ticks=TICKS_PER_HEARTBEAT,
            pre_vote=config.pre_vote,
            check_quorum=config.check_quorum,
            break_rule=rule_named(config.break_rule),
            tick_ns=round(tick_s * 1e9),
        )
        detail = f"log of {len(recovered.entries)} entries, term {recovered.hard_state.term}"
        self._watch.started(recovered.hard_state.term, detail)
        log.info("recovered a %s", detail)
        if config.break_rule is not None:
            log.warning("breakRule %s: this member is broken on purpose", config.break_rule)
        bootstrap = Configuration(
            voters=tuple(peer.name for peer in config.members),
            addresses={
                peer.name: Address(peer.host, peer.client_port, peer.peer_port, peer.admin_port)
                for peer in config.members
            },
        )
        core = Raft(
            core_config,
            recovered.hard_state,
            SnapshotMeta(configuration=bootstrap),
            recovered.entries,
            self._rng,
            self._clock.monotonic_ns,
        )
        self._transport = PeerTransport(
            config.cluster,
            member,
            {peer.name: (peer.host, peer.peer_port) for peer in config.members if peer.name != member},
            LinkTimes.for_heartbeat(heartbeat_s),
            self._rng,
            on_frame=lambda peer, channel, payload: self._node.received(peer, channel, payload),
            on_up=lambda _peer: None,
            on_down=lambda peer: self._node.forwarder.lost(peer),
        )
        storage = _WalStorage(self._wal)
        self._node = RaftNode(
            config,
            member,
            core,
            asyncio.get_running_loop(),
            storage,
            storage,
            _FixedPeers(self._transport),
            self._watch,
            _exit_broken,
        )
        self._resp = RespServer(self, software="faultlab-raft", version=__version__)
        self._ticker = Ticker(tick_s, TICKS_PER_HEARTBEAT, self._node.ticks)
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

    async def stop(self) -> None:
        """Answers whoever waits, closes the ports, and syncs the log."""
        self._ticker.stop()
        self._node.stop()
        await asyncio.sleep(0)  # lets the replies of the line above out
        self._resp.stop()
        if self._admin is not None:
            await self._admin.stop()
        await self._transport.stop()
        self._wal.close()

    def prepare(self, spec: CommandSpec, args: list[bytes]) -> bytes | str:
        """As `Handler.prepare`."""
        return prepare(spec, args)

    def unwrap(self, spec: CommandSpec, args: list[bytes]) -> tuple[CommandSpec, list[bytes]] | str:
        """As `Handler.unwrap`."""
        return unwrap(spec, args)

    def submit(self, kind: Kind, command: bytes, slot: Slot) -> None:
        """As `Handler.submit`."""
        self._node.submit(kind, command, slot)

    def info(self) -> dict[str, dict[str, object]]:
        """As `Handler.info`."""
        status = self.status()
        return {
            "Raft": {
                "cluster": status.cluster,
                "member": status.member,
                "raft_role": status.role,
                "term": status.term,
                "leader": status.leader or "",
                "commit_index": status.commit_index,
                "applied_index": status.applied_index,
                "last_index": status.last_index,
            },
            "Replication": {"role": "master" if status.role == "leader" else "slave"},
            "Keyspace": {"db0": f"keys={len(self._node.store)},expires=0,avg_ttl=0"},
        }

    def status(self) -> RaftStatus:
        """As `Observed.status`."""
        core = self._node.core
        return RaftStatus(
            system="raft",
            cluster=self._config.cluster,
            member=self._name,
            role=core.role,
            term=core.term,
            leader=core.leader,
            commit_index=core.commit,
            applied_index=self._node.store.applied_index,
            last_index=core.last_index,
            peers=dict(core.progress),
            version=__version__,
            started_at=self._started_at,
            ready=self.not_ready() is None,
        )

    def not_ready(self) -> str | None:
        """As `Observed.not_ready`."""
        if self._node.store.applied_index < self._replay_until:
            return (
                f"replaying the log: {self._node.store.applied_index} of {self._replay_until} entries applied"
            )
        return "no leader is known" if self._node.core.leader is None else None

    async def metrics(self) -> bytes:
        """As `Observed.metrics`."""
        metrics = await asyncio.to_thread(importlib.import_module, "faultlab.raft.metrics")
        core, node = self._node.core, self._node
        links = self._transport.links.values()
        gauges = {
            "raft_is_leader": ("1 when this member leads.", float(core.role == "leader")),
            "raft_term": ("The current term.", core.term),
            "raft_commit_index": ("The highest committed index known.", core.commit),
            "raft_applied_index": ("The highest index applied.", node.store.applied_index),
            "raft_last_index": ("The end of the log.", core.last_index),
            "kv_keys": ("Keys held.", len(node.store)),
            "waiting_writes": ("Writes proposed and undecided.", len(node.proposals)),
            "waiting_reads": ("Batches of reads under way.", len(node.reads)),
            "waiting_forwards": ("Requests passed on to the leader.", len(node.forwarder)),
            "client_connections": ("Clients connected.", self._resp.connections),
            "wal_bytes": ("Length of the write-ahead log.", self._wal.encoder.offset),
            "peers_connected": (
                "Peers that this member has a connection to.",
                sum(k.connected for k in links),
            ),
        }
        counters = {
            "wal_syncs": ("Group commits since the start.", node.syncs),
            "ticks_forgotten": ("Ticks that stalls of the process swallowed.", self._ticker.forgotten),
            "frames_dropped": (
                "Frames to peers that could not be sent.",
                sum(k.dropped_frames for k in links),
            ),
            "peer_reconnects": ("Peer connections lost.", sum(k.reconnects for k in links)),
        }
        rendered: bytes = metrics.render(gauges, counters)
        return rendered

    async def _start_admin(self) -> None:
        """In a thread of its own for the import of aiohttp, which takes longer than a heartbeat."""
        admin = await asyncio.to_thread(importlib.import_module, "faultlab.runtime.admin")
        self._admin = admin.AdminServer(self)
        await self._admin.start(self._listen, self._address.admin_port)


class _WalStorage:
    """The log as the node knows it, until the storage takes a queue of jobs itself."""

    def __init__(self, wal: Wal) -> None:
        self._wal = wal

    @property
    def log_bytes(self) -> int:
        return self._wal.encoder.offset

    def add_entries(self, entries: list[Entry]) -> None:
        self._wal.encoder.add_entries(entries)

    def add_hard_state(self, state: HardState) -> None:
        self._wal.encoder.add_hard_state(state)

    def start_sync(self, _disk: DiskQueue, done: Callable[[], None]) -> None:
        self._wal.start_sync(done)

    def run(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        raise NotImplementedError


class _FixedPeers:
    """The links of a transport whose peers do not change yet."""

    def __init__(self, transport: PeerTransport) -> None:
        self.links: Mapping[str, Link] = transport.links

    def update_peers(self, peers: Mapping[str, tuple[str, int]]) -> None:
        raise NotImplementedError


def _exit_broken(error: BaseException) -> NoReturn:
    """A core or a state machine that has failed half-way must not answer anybody again."""
    log.critical("broken, ending now: %s", error, exc_info=error)
    sys.stderr.flush()
    os._exit(EXIT_BROKEN)
