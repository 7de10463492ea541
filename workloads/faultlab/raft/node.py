"""The host of one Raft core: what it owes the core (ready.py), and where requests and replies meet it.

Everything that arrives in one turn of the loop - requests, messages, ticks, the end of a sync - is taken
in first and acted on once, in `_turn`: one proposal for all writes, one round for all reads, one append to
each follower, one write to disk for all of it while the one before is being synced (group commit).
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping

import msgspec

from faultlab.contract.member import PeerAddress, RaftConfig
from faultlab.runtime.errors import ProtocolError
from faultlab.runtime.resp.encoder import error_line
from faultlab.runtime.resp.handler import Kind, Slot

from .core import Raft
from .errors import Busy, MalformedMessage, NotLeader
from .forwarding import ANSWER_CHANNEL, REQUEST_CHANNEL, ForwardDesk, Forwarder, Request
from .host import DiskQueue, NodeStorage, Peers, Scheduler
from .kv import KeyValueStore
from .messages import Append, Entry, HardState, Message, decode, encode
from .proposals import MAX_PROPOSALS, Proposals
from .ready import Ready
from .waiting_reads import WaitingReads
from .watch import Watch

log = logging.getLogger("faultlab.raft")

RAFT_CHANNEL = 16

MAX_TURN_BYTES = 64 * 1024 * 1024
"""Requests taken in during one turn of the loop; more are refused with -BUSY."""
MAX_LOG_BYTES = 1024 * 1024 * 1024
"""Of the write-ahead log, which only grows until snapshots come: beyond it writes are refused with -BUSY."""
_MAX_READYS_PER_TURN = 32
_TICKS_PER_EXPIRY = 10

_NO_LEADER = error_line("NOTLEADER no leader is known here; nothing happened, try again")
_NOT_LEADER = error_line("NOTLEADER this member does not lead; nothing happened, try again")
_TURN_FULL = error_line(
    f"BUSY more than {MAX_TURN_BYTES} bytes of requests at once; nothing happened, try again later"
)
_TOO_MANY = f"{MAX_PROPOSALS} writes wait to be decided"
_LOG_FULL = f"the log has reached {MAX_LOG_BYTES} bytes"


class RaftNode:
    """Runs one core. `on_broken` is called when it must not go on."""

    def __init__(
        self,
        config: RaftConfig,
        member: str,
        core: Raft,
        scheduler: Scheduler,
        storage: NodeStorage,
        disk: DiskQueue,
        peers: Peers,
        watch: Watch,
        on_broken: Callable[[BaseException], None],
    ) -> None:
        self.core = core
        self.store = KeyValueStore()
        self._config = config
        self._member = member
        self._stale_reads = config.reads == "stale"
        self._addresses: Mapping[str, PeerAddress] = {peer.name: peer for peer in config.members}
        self._scheduler = scheduler
        self._storage = storage
        self._disk = disk
        self._links = peers.links
        self._watch = watch
        self._on_broken = on_broken
        self.patience_s = max(2.0, 4 * config.election_timeout_ms / 1000)
        """How long a request may stay undecided before its client is told that the outcome is unknown."""
        self.proposals = Proposals(member)
        self.reads = WaitingReads(member, self.store)
        self.forwarder = Forwarder(self._links)
        self._desk = ForwardDesk(self._links, scheduler, self._submit_forwarded)
        self._requests: list[Request] = []
        self._forwarded: list[Request] = []
        self._turn_bytes = 0
        self._scheduled = False
        self._stopped = False
        self._ticks = 0
        self._hard_state: HardState | None = None
        self._must_sync = False
        self._syncing = False
        self._after_sync: list[Message] = []
        self._last_to_sync: Entry | None = None
        self.syncs = 0

    def submit(self, kind: Kind, command: bytes, slot: Slot) -> None:
        """A request of a client of this member; answered within `patience_s` and a little."""
        if self._stale_reads and kind is Kind.READ:
            slot.resolve(self.store.read(command), self._member, self.core.term)
        else:
            self._take(self._requests, kind, command, slot)

    def received(self, peer: str, channel: int, payload: bytes) -> None:
        """A frame from `peer`; raises ProtocolError."""
        if channel == RAFT_CHANNEL:
            self._step(peer, payload)
        elif channel == REQUEST_CHANNEL:
            self._desk.requested(peer, payload)
        elif channel == ANSWER_CHANNEL:
            self.forwarder.answered(peer, payload)
        else:
            raise ProtocolError(f"unknown channel {channel}")

    def ticks(self, count: int) -> None:
        """Time has passed."""
        if self._stopped:
            return
        with self._unbroken():
            for _ in range(count):
                self.core.tick()
        self._ticks += count
        if self._ticks >= _TICKS_PER_EXPIRY:
            self._ticks = 0
            now_s = self._scheduler.time()
            self.proposals.expire(now_s)
            self.reads.expire(now_s)
            self.forwarder.expire(now_s)
        if not self._scheduled:
            self._turn()

    def stop(self) -> None:
        """Nothing is decided here any more: whoever waits is told that the outcome is unknown."""
        self._stopped = True
        self.proposals.abandon()
        self.reads.expire(float("inf"))
        self.forwarder.abandon()

    def _submit_forwarded(self, kind: Kind, command: bytes, slot: Slot) -> None:
        self._take(self._forwarded, kind, command, slot)

    def _take(self, queue: list[Request], kind: Kind, command: bytes, slot: Slot) -> None:
        self._turn_bytes += len(command)
        if self._turn_bytes > MAX_TURN_BYTES or self._stopped:
            slot.resolve(_TURN_FULL, None, None)
            return
        queue.append((kind, command, slot))
        if not self._scheduled:
            self._wake()

    def _step(self, peer: str, payload: bytes) -> None:
        if self._stopped:
            return
        try:
            for message in decode(payload):
                if message.sender != peer:
                    raise ProtocolError(f"a message of {message.sender!r} on the connection of {peer!r}")
                with self._unbroken():
                    self.core.step(message)
        except MalformedMessage as error:
            raise ProtocolError(str(error)) from error
        if not self._scheduled:
            self._wake()

    def _wake(self) -> None:
        self._scheduled = True
        self._scheduler.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._stopped:
            return
        with self._unbroken():
            self._start_requests()
            for _ in range(_MAX_READYS_PER_TURN):
                if not self.core.has_ready():
                    break
                self._handle(self.core.ready())
            else:
                self._wake()
            self._start_sync()

    @contextlib.contextmanager
    def _unbroken(self) -> Iterator[None]:
        """An exception out of the core or the state machine leaves them half-way: the process must end."""
        try:
            yield
        except MalformedMessage:
            raise
        except Exception as error:
            self._stopped = True
            self._on_broken(error)

    def _start_requests(self) -> None:
        if not self._requests and not self._forwarded:
            return
        requests, self._requests = self._requests, []
        forwarded, self._forwarded = self._forwarded, []
        self._turn_bytes = 0
        if self.core.role == "leader":
            self._serve(requests + forwarded)
            return
        for _, _, slot in forwarded:
            slot.resolve(_NOT_LEADER, None, None)
        if not requests:
            return
        leader = self.core.leader
        if leader is None or leader == self._member:
            reply = _NO_LEADER
        elif self._config.on_follower == "forward":
            self.forwarder.forward(leader, requests, self._scheduler.time() + self.patience_s)
            return
        else:
            address = self._addresses[leader]
            reply = error_line(f"MOVED 0 {address.host}:{address.client_port}")
        for _, _, slot in requests:
            slot.resolve(reply, None, None)

    def _serve(self, requests: list[Request]) -> None:
        """Proposes the writes and asks for the reads, as the leader that this member believes to be."""
        deadline_s = self._scheduler.time() + self.patience_s
        writes: list[tuple[bytes, Slot]] = []
        reads: list[tuple[bytes, Slot]] = []
        write = Kind.WRITE
        for kind, command, slot in requests:
            (writes if kind is write else reads).append((command, slot))
        if writes:
            try:
                self._require_room(len(writes))
                first_index, term = self.core.propose([command for command, _ in writes])
            except (NotLeader, Busy) as error:
                _refuse([slot for _, slot in writes], error)
            else:
                self.proposals.add(first_index, term, [slot for _, slot in writes], deadline_s)
        if reads:
            context = self.reads.add(reads, self.core.term, deadline_s)
            try:
                self.core.read_index(context)
            except (NotLeader, Busy) as error:
                self.reads.lost(context, _refusal(error))

    def _require_room(self, count: int) -> None:
        if len(self.proposals) + count > MAX_PROPOSALS:
            raise Busy(_TOO_MANY)
        if self._storage.log_bytes > MAX_LOG_BYTES:
            raise Busy(_LOG_FULL)

    def _handle(self, ready: Ready) -> None:
        """Does what one Ready asks, in its order."""
        if ready.entries:
            self._storage.add_entries(ready.entries)
            self._last_to_sync = ready.entries[-1]
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        self._must_sync |= ready.must_sync
        if ready.messages:
            self._send(ready.messages)
        if ready.after_persist:
            if self._must_sync or self._syncing:
                self._after_sync += ready.after_persist
            else:
                self._send(ready.after_persist)
        for event in ready.events:
            log.info("%s", _describe(event))
            self._watch.core(event)
        if ready.committed:
            self._apply(ready.committed)
        for context, index in ready.read_states:
            self.reads.confirmed(context, index)
        for context in ready.lost_reads:
            self.reads.lost(context)
        self.reads.answer()

    def _apply(self, entries: list[Entry]) -> None:
        store, applied, watch = self.store, self.proposals.applied, self._watch
        for entry in entries:
            applied(entry.index, entry.term, store.apply(entry))
            if entry.index % watch.stride == 0:
                watch.checkpoint(store)

    def _start_sync(self) -> None:
        """Hands everything gathered to the disk, unless the disk has something already."""
        if self._syncing or not (self._must_sync or self._after_sync):
            return
        if self._hard_state is not None:
            self._storage.add_hard_state(self._hard_state)
            self._hard_state = None
        messages, self._after_sync = self._after_sync, []
        last, self._last_to_sync = self._last_to_sync, None
        self._must_sync = False
        self._syncing = True
        self._storage.start_sync(self._disk, lambda: self._synced(messages, last))

    def _synced(self, messages: list[Message], last: Entry | None) -> None:
        self._syncing = False
        self.syncs += 1
        if self._stopped:
            return
        with self._unbroken():
            self._send(messages)
            if last is not None:
                self.core.persisted(last.index, last.term)
        self._turn()

    def _send(self, messages: list[Message]) -> None:
        """Entries one message a frame, behind other bulk; all else together, ahead of it."""
        urgent: dict[str, list[Message]] = {}
        for message in messages:
            if type(message) is Append and message.entries:
                self._links[message.to].send_bulk(RAFT_CHANNEL, encode([message]))
            else:
                urgent.setdefault(message.to, []).append(message)
        for peer, batch in urgent.items():
            self._links[peer].send_urgent(RAFT_CHANNEL, encode(batch))


def _describe(event: msgspec.Struct) -> str:
    fields = msgspec.structs.asdict(event)
    kind = fields.pop("type")
    return " ".join([kind, *(f"{key}={value}" for key, value in fields.items() if value is not None)])


def _refuse(slots: list[Slot], error: NotLeader | Busy) -> None:
    reply = _refusal(error)
    for slot in slots:
        slot.resolve(reply, None, None)


def _refusal(error: NotLeader | Busy) -> str:
    if isinstance(error, NotLeader):
        return _NOT_LEADER
    return error_line(f"BUSY {error}; nothing happened, try again later")
