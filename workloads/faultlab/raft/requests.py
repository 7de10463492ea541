"""What becomes of the requests of one turn: proposed, read, passed on, kept for a moment, or refused.

Refusals are definite: nothing happened. Kept are requests that would only be refused for a moment: while the
leader hands over (thesis, 3.10), and for two heartbeats when nobody leads, so that a leadership transfer is a
short wait for clients and not an error. After that a definite no is worth more than a long maybe.
"""

from collections.abc import Callable

from faultlab.contract.member import RaftConfig
from faultlab.runtime.resp.encoder import error_line
from faultlab.runtime.resp.handler import Kind, Slot

from .commands import stamp
from .configuration import NodeId, name_of
from .core import Raft
from .errors import Busy, NotLeader
from .forwarding import Forwarder, Request
from .host import Scheduler
from .proposals import MAX_PROPOSALS, Proposals
from .waiting_reads import MAX_WAITING_READS, WaitingReads

MAX_TURN_BYTES = 64 * 1024 * 1024
"""Requests that are taken in and not started; more are refused with -BUSY."""
_KEPT_HEARTBEATS = 2

_NO_LEADER = error_line("NOTLEADER no leader is known here; nothing happened, try again")
_NOT_LEADER = error_line("NOTLEADER this member does not lead; nothing happened, try again")
_TURN_FULL = error_line(
    f"BUSY more than {MAX_TURN_BYTES} bytes of requests at once; nothing happened, try again later"
)
_TOO_MANY = f"{MAX_PROPOSALS} writes wait to be decided"
_TOO_MANY_READS = error_line(
    f"BUSY {MAX_WAITING_READS} reads wait to be answered; nothing happened, try again later"
)


class Requests:
    """The requests of one member's clients, and those that other members have passed on to it."""

    def __init__(
        self,
        config: RaftConfig,
        core: Raft,
        scheduler: Scheduler,
        wall_ms: Callable[[], int],
        proposals: Proposals,
        reads: WaitingReads,
        forwarder: Forwarder,
        no_room: Callable[[], str | None],
    ) -> None:
        """`wall_ms`: what session commands are stamped with. `no_room()`: why nothing more can be written
        at the moment; None when it can."""
        self._core = core
        self._scheduler = scheduler
        self._wall_ms = wall_ms
        self._proposals = proposals
        self._reads = reads
        self._forwarder = forwarder
        self._no_room = no_room
        self._forwards = config.on_follower == "forward"
        self._lease = config.reads == "lease"
        self._reads_anywhere = config.reads == "follower"
        self._keep_s = _KEPT_HEARTBEATS * config.heartbeat_interval_ms / 1000
        self.patience_s = max(2.0, 4 * config.election_timeout_ms / 1000)
        """How long a request may stay undecided before its client is told that the outcome is unknown."""
        self._own: list[Request] = []
        self._forwarded: list[Request] = []
        self._bytes = 0
        self.kept = False
        """Whether requests wait for the leadership to be settled."""
        self._leaderless_since: float | None = None

    def take(self, kind: Kind, command: bytes, slot: Slot) -> bool:
        """A request of a client of this member, to be started with the others of this turn; False if it
        was refused."""
        return self._take(self._own, kind, command, slot)

    def take_forwarded(self, kind: Kind, command: bytes, slot: Slot) -> bool:
        """One that another member has passed on."""
        return self._take(self._forwarded, kind, command, slot)

    def start(self) -> None:
        """Starts all that were taken, unless they are kept."""
        keep = self._keep()
        if not self._own and not self._forwarded:
            return
        if keep:
            self.kept = True
            return
        own, self._own = self._own, []
        forwarded, self._forwarded = self._forwarded, []
        kept, self.kept = self.kept, False
        self._bytes = 0
        if self._core.role == "leader":
            self._serve(own + forwarded if forwarded else own)
        elif kept:
            self._answer_elsewhere(own + forwarded)
        else:
            # Never passed on again, or two members could send it to and fro.
            for _, _, slot in forwarded:
                slot.resolve(_NOT_LEADER, None, None)
            self._answer_elsewhere(own)

    def can_go_on(self) -> bool:
        """Whether what is kept need be kept no longer."""
        return not self._keep()

    def abandon(self) -> None:
        """The process ends: what was not started did not happen."""
        for _, _, slot in self._own + self._forwarded:
            slot.resolve(_NOT_LEADER, None, None)
        self._own, self._forwarded = [], []

    def _take(self, queue: list[Request], kind: Kind, command: bytes, slot: Slot) -> bool:
        size = self._bytes + len(command)
        if size > MAX_TURN_BYTES:
            slot.resolve(_TURN_FULL, None, None)
            return False
        self._bytes = size
        queue.append((kind, command, slot))
        return True

    def _keep(self) -> bool:
        core = self._core
        if core.leader is not None:
            self._leaderless_since = None
            return core.transferring
        now_s = self._scheduler.time()
        if self._leaderless_since is None:
            self._leaderless_since = now_s
        return now_s - self._leaderless_since < self._keep_s

    def _serve(self, requests: list[Request]) -> None:
        """Proposes the writes and asks for the reads, as the leader that this member believes to be."""
        deadline_s = self._scheduler.time() + self.patience_s
        writes: list[bytes] = []
        slots: list[Slot] = []
        reads: list[tuple[bytes, Slot]] = []
        write, now_ms = Kind.WRITE, self._wall_ms()
        for kind, command, slot in requests:
            if kind is write:
                writes.append(stamp(command, now_ms))
                slots.append(slot)
            else:
                reads.append((command, slot))
        if writes:
            self._propose(writes, slots, deadline_s)
        if reads:
            self._read(reads, deadline_s)

    def _propose(self, writes: list[bytes], slots: list[Slot], deadline_s: float) -> None:
        try:
            if len(self._proposals) + len(writes) > MAX_PROPOSALS:
                raise Busy(_TOO_MANY)
            if (reason := self._no_room()) is not None:
                raise Busy(reason)
            first_index, term = self._core.propose(writes)
        except (NotLeader, Busy) as error:
            reply = refusal(error)
            for slot in slots:
                slot.resolve(reply, None, None)
        else:
            self._proposals.add(first_index, term, slots, deadline_s)

    def _read(self, reads: list[tuple[bytes, Slot]], deadline_s: float) -> None:
        """Linearizable: by the leader's lease, else by asking; on a follower the core asks the leader."""
        core, waiting = self._core, self._reads
        if waiting.reads + len(reads) > MAX_WAITING_READS:
            for _, slot in reads:
                slot.resolve(_TOO_MANY_READS, None, None)
            return
        context = waiting.add(reads, core.term, deadline_s)
        if self._lease and core.lease_valid():
            waiting.confirmed(context, core.commit)
            return
        try:
            core.read_index(context)
        except (NotLeader, Busy) as error:
            waiting.lost(context, refusal(error))

    def _answer_elsewhere(self, requests: list[Request]) -> None:
        """Where this member does not lead."""
        leader = self._core.leader
        if self._reads_anywhere and leader is not None:
            reads = [(command, slot) for kind, command, slot in requests if kind is Kind.READ]
            requests = [request for request in requests if request[0] is not Kind.READ]
            if reads:
                self._read(reads, self._scheduler.time() + self.patience_s)
        if not requests:
            return
        if leader is not None and self._forwards:
            self._forwarder.forward(leader, requests, self._scheduler.time() + self.patience_s)
            return
        reply = _NO_LEADER if leader is None else self._moved(leader)
        for _, _, slot in requests:
            slot.resolve(reply, None, None)

    def _moved(self, leader: NodeId) -> str:
        address = self._core.configuration.addresses.get(leader)
        if address is None:
            return error_line(
                f"NOTLEADER {name_of(leader)} leads, whose address is not known here yet; nothing happened"
            )
        return error_line(f"MOVED 0 {address.host}:{address.client_port}")


def refusal(error: NotLeader | Busy) -> str:
    """The error line for what the core refused."""
    if isinstance(error, NotLeader):
        return _NOT_LEADER
    return error_line(f"BUSY {error}; nothing happened, try again later")
