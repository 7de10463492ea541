"""The host of one Raft core: what it owes the core (ready.py), and where requests and replies meet it.

Everything that arrives in one turn of the scheduler - requests, messages, ticks, the end of a sync - is taken
in first and acted on once, in `_turn`: one proposal for all writes, one round for all reads, one append to
each follower, one write to disk for all of it while the one before is being synced (group commit).

Bounds: requests (requests.py), writes that wait to be decided (proposals.py), bytes that the disk has
not taken and the length of the log (`_no_room`) end in -BUSY; what one follower may have under way bounds
the core; messages that wait for a sync that does not come are dropped, as any may be.
"""

import logging
from collections.abc import Callable
from functools import partial

from faultlab.contract.member import RaftConfig
from faultlab.runtime.errors import ProtocolError
from faultlab.runtime.resp.handler import Kind, Slot

from .changes import Changes
from .configuration import NodeId, name_of
from .core import Raft
from .errors import MalformedMessage
from .forwarding import ANSWER_CHANNEL, REQUEST_CHANNEL, ForwardDesk, Forwarder
from .host import Host
from .kv import KeyValueStore
from .messages import Append, Entry, HardState, InstallSnapshot, Message, SnapshotMeta, decode, encode
from .proposals import Proposals
from .ready import CoreEvent, Ready
from .requests import Requests
from .snapshotting import Snapshotting
from .waiting_reads import WaitingReads
from .watch import Watch, describe

log = logging.getLogger("faultlab.raft")

RAFT_CHANNEL = 16

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Gathered for the disk while it is busy; beyond it writes are refused with -BUSY."""
MAX_WAITING_MESSAGES = 16_384
"""Of those that go once the disk has synced; beyond it further ones are dropped."""
_LOG_TO_SNAPSHOT = 4
"""The log may become so many times as long as it is when a snapshot is due; then writes are refused."""
_MIN_LOG_BYTES = 4 * 1024 * 1024
_MAX_READYS_PER_TURN = 32
_TICKS_PER_EXPIRY = 10
_LITTLE_UNDER_WAY = 2
"""Writes and reads of a leader, up to which it acts on answers one by one."""


class RaftNode:
    """Runs one core. `on_broken` is called when it must not go on."""

    def __init__(
        self,
        config: RaftConfig,
        member_id: NodeId,
        core: Raft,
        store: KeyValueStore,
        host: Host,
        watch: Watch,
        on_broken: Callable[[BaseException], None],
        on_vote: Callable[[], None] | None = None,
    ) -> None:
        """`store` holds the state of the snapshot that `core` begins with. `on_vote()`: a configuration is
        committed in which this member votes."""
        self.core = core
        self.store = store
        member = name_of(member_id)
        self._member, self.member_id = member, member_id
        self._stale_reads = config.reads == "stale"
        self._early = config.break_rule == "ackBeforeSync"
        self._scheduler, self._storage, self._disk = host.scheduler, host.storage, host.disk
        self._peers, self._links = host.peers, host.peers.links
        self._watch = watch
        self._on_broken = on_broken
        self._on_vote = on_vote
        self._max_log_bytes = max(_LOG_TO_SNAPSHOT * config.snapshot_log_bytes, _MIN_LOG_BYTES)
        self.proposals = Proposals(member)
        self.reads = WaitingReads(member, store)
        self.forwarder = Forwarder(self._links, host.clock.monotonic_ns())
        self.requests = Requests(
            config,
            core,
            host.scheduler,
            host.clock.wall_ms,
            self.proposals,
            self.reads,
            self.forwarder,
            self._no_room,
        )
        self.changes = Changes(config, core, member_id, self._is_reachable, self.wake)
        self.snapshots = Snapshotting(config, core, store, host, self._send_part, self._taken, self._broken)
        self._desk = ForwardDesk(self._links, host.scheduler, self._submit_forwarded)
        self._unbroken = _Unbroken(self._broken)
        self._scheduled = False
        self._stopped = False
        self._ticks = 0
        self._hard_state: HardState | None = None
        self._must_sync = False
        self._syncing = False
        self._after_sync: list[Message] = []
        self._last_to_sync: Entry | None = None
        self.syncs = 0
        self._follow_configuration()

    def submit(self, kind: Kind, command: bytes, slot: Slot) -> None:
        """A request of a client of this member; answered within `requests.patience_s` and a little."""
        if self._stale_reads and kind is Kind.READ:
            slot.resolve(self.store.read(command), self._member, self.core.term)
        elif self.requests.take(kind, command, slot) and not self._scheduled:
            self._wake()

    def received(self, peer: NodeId, channel: int, payload: bytes) -> None:
        """A frame from `peer`; raises ProtocolError."""
        if channel == RAFT_CHANNEL:
            self._step(peer, payload)
        elif channel == REQUEST_CHANNEL:
            self._desk.requested(peer, payload)
        elif channel == ANSWER_CHANNEL:
            self.forwarder.answered(peer, payload)
        else:
            raise ProtocolError(f"unknown channel {channel}")

    def disconnected(self, peer: NodeId) -> None:
        """The link to `peer` is down, and what was sent last may be lost."""
        self.forwarder.lost(peer)

    def process_ended(self, peer: NodeId) -> None:
        """`peer` has closed its connection to this member: its process is gone, most likely."""
        if peer == self.core.leader and not self._stopped:
            with self._unbroken:
                self.core.leader_gone()
            self.wake()

    def learned(self, peer: NodeId, uuid: str) -> None:
        """`peer` was met with this data: kept at once, so that even an idle cluster knows it for ever."""
        self._storage.add_peer(peer, uuid)
        self._must_sync = True
        self.wake()

    def ticks(self, count: int) -> None:
        """Time has passed."""
        if self._stopped:
            return
        with self._unbroken:
            for _ in range(count):
                self.core.tick()
            self.changes.advance()
        self._ticks += count
        if self._ticks >= _TICKS_PER_EXPIRY:
            self._ticks = 0
            now_s = self._scheduler.time()
            self.proposals.expire(now_s)
            self.reads.expire(now_s)
            self.forwarder.expire(now_s)
            self._look_for_vote()
        if not self._scheduled:
            self._turn()

    def wake(self) -> None:
        """Something was asked of the core from outside: act on it in this turn."""
        if not self._scheduled:
            self._wake()

    def stop(self) -> None:
        """Nothing is decided here any more: whoever waits is told that the outcome is unknown."""
        self._stopped = True
        self.requests.abandon()
        self.proposals.abandon()
        self.reads.expire(float("inf"))
        self.forwarder.abandon()

    def _submit_forwarded(self, kind: Kind, command: bytes, slot: Slot) -> None:
        if self.requests.take_forwarded(kind, command, slot) and not self._scheduled:
            self._wake()

    def _step(self, peer: NodeId, payload: bytes) -> None:
        if self._stopped:
            return
        try:
            for message in decode(payload):
                if message.sender != peer:
                    raise ProtocolError(f"a message of {message.sender!r} on the connection of {peer!r}")
                with self._unbroken:
                    self.core.step(message)
        except MalformedMessage as error:
            raise ProtocolError(str(error)) from error
        if not self._scheduled:
            if self._acts_at_once():
                self._turn()
            else:
                self._wake()

    def _acts_at_once(self) -> bool:
        """Whether to act on a message now and not on all that this turn of the scheduler brings: where little
        is under way there is nothing to be gathered, and waiting for the turn's end is most of the delay."""
        if self.core.role == "leader":
            return len(self.proposals) + self.reads.reads <= _LITTLE_UNDER_WAY
        return not self._syncing

    def _wake(self) -> None:
        self._scheduled = True
        self._scheduler.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._stopped:
            return
        core, requests = self.core, self.requests
        with self._unbroken:
            requests.start()
            readys = 0
            while core.has_ready():
                self._handle(core.ready())
                readys += 1
                if readys == _MAX_READYS_PER_TURN:
                    self._wake()
                    break
            self.reads.answer()
            if self.snapshots.due:
                self.snapshots.take()
            if self._must_sync or self._after_sync:
                self._start_sync()
            if requests.kept and not self._scheduled and requests.can_go_on():
                self._wake()

    def _broken(self, error: Exception) -> None:
        self._stopped = True
        self._on_broken(error)

    def _no_room(self) -> str | None:
        """Why nothing more can be written at the moment."""
        storage = self._storage
        if storage.pending_bytes > MAX_PENDING_BYTES:
            return f"{storage.pending_bytes} bytes wait for the disk"
        if storage.log_bytes > self._max_log_bytes:
            return f"the log has {storage.log_bytes} bytes and waits for a snapshot"
        return None

    def _handle(self, ready: Ready) -> None:
        """Does what one Ready asks, in its order."""
        if ready.received:
            self.snapshots.receive(ready.received)
            self._must_sync = True
        if ready.snapshot is not None:
            self.snapshots.install(ready.snapshot, self._loaded)
            self._must_sync = True
        if ready.entries:
            self._storage.add_entries(ready.entries)
            self._last_to_sync = ready.entries[-1]
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        self._must_sync |= ready.must_sync
        if ready.messages:
            self._send(ready.messages)
        if ready.chunks:
            self.snapshots.send(ready.chunks)
        if ready.after_persist:
            self._send_after_sync(ready.after_persist)
        for event in ready.events:
            self._tell(event)
        if ready.committed:
            self._apply(ready.committed)
        for context, index in ready.read_states:
            self.reads.confirmed(context, index)
        for context in ready.lost_reads:
            self.reads.lost(context)

    def _tell(self, event: CoreEvent) -> None:
        log.info("%s", describe(event))
        self._watch.core(event)
        if event.type == "ConfigurationChanged":
            self._follow_configuration()

    def _follow_configuration(self) -> None:
        """Who is dialled: the others of the configuration in force."""
        configuration = self.core.configuration
        if configuration.members:
            self._peers.update_peers(
                {
                    member_id: (address.host, address.peer_port)
                    for member_id, address in configuration.addresses.items()
                    if member_id != self.member_id
                }
            )

    def _is_reachable(self, peer: NodeId) -> bool:
        link = self._links.get(peer)
        return link is not None and link.connected

    def _look_for_vote(self) -> None:
        """Tells once that this member votes for good."""
        core = self.core
        if (
            self._on_vote is not None
            and self.member_id in core.configuration.voters
            and core.configuration_index <= core.commit
        ):
            on_vote, self._on_vote = self._on_vote, None
            on_vote()

    def _apply(self, entries: list[Entry]) -> None:
        if self.snapshots.holds(entries):
            return  # until the state machine has been loaded
        store, applied, watch = self.store, self.proposals.applied, self._watch
        for entry in entries:
            applied(entry.index, entry.term, store.apply(entry))
            if entry.index % watch.stride == 0:
                watch.checkpoint(store)
        self.snapshots.applied()

    def _send_after_sync(self, messages: list[Message]) -> None:
        # The guard that ackBeforeSync switches off: is what they acknowledge on disk?
        if self._early or not (self._must_sync or self._syncing):
            self._send(messages)
        elif len(self._after_sync) < MAX_WAITING_MESSAGES:
            self._after_sync += messages

    def _start_sync(self) -> None:
        """Hands everything gathered to the disk, unless the disk has something already."""
        if self._syncing:
            return
        if self._hard_state is not None:
            self._storage.add_hard_state(self._hard_state)
            self._hard_state = None
        messages, self._after_sync = self._after_sync, []
        last, self._last_to_sync = self._last_to_sync, None
        self._must_sync = False
        self._syncing = True
        self._storage.start_sync(self._disk, partial(self._synced, messages, last))

    def _synced(self, messages: list[Message], last: Entry | None) -> None:
        self._syncing = False
        self.syncs += 1
        if self._stopped:
            return
        with self._unbroken:
            self._send(messages)
            if last is not None:
                self.core.persisted(last.index, last.term)
        self._turn()

    def _loaded(self, held: list[Entry]) -> None:
        """The state machine has the installed snapshot's state; `held` was committed meanwhile."""
        if self._stopped:
            return
        with self._unbroken:
            self._apply(held)
        self.wake()

    def _taken(self, meta: SnapshotMeta, took_s: float) -> None:
        detail = f"{meta.size} bytes in {took_s * 1000:.0f} ms"
        log.info("SnapshotTaken index=%d %s", meta.index, detail)
        self._watch.snapshot_taken(meta, detail)

    def _send(self, messages: list[Message]) -> None:
        """Entries one message a frame, behind other bulk; all else together, ahead of it."""
        urgent: dict[NodeId, list[Message]] = {}
        for message in messages:
            if message.to == message.sender:
                self.core.step(message)  # a sole voter's own vote, which is on disk now
            elif type(message) is Append and message.entries:
                link = self._links.get(message.to)
                if link is not None:
                    link.send_bulk(RAFT_CHANNEL, encode([message]))
            else:
                urgent.setdefault(message.to, []).append(message)
        for peer, batch in urgent.items():
            link = self._links.get(peer)
            if link is not None:
                link.send_urgent(RAFT_CHANNEL, encode(batch))

    def _send_part(self, message: InstallSnapshot) -> None:
        link = self._links.get(message.to)
        if link is not None and not self._stopped:
            link.send_bulk(RAFT_CHANNEL, encode([message]))


class _Unbroken:
    """An exception out of the core or the state machine leaves them half-way: the process must end.

    One object for all uses, for this stands around every message.
    """

    __slots__ = ("_on_error",)

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Messages that no member sends are the sender's fault, and break nothing here."""
        if error is None or isinstance(error, MalformedMessage) or not isinstance(error, Exception):
            return False
        self._on_error(error)
        return True
