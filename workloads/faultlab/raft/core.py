"""Raft without I/O: messages and ticks in; a `Ready` out (Ongaro and Ousterhout 2014; Ongaro's thesis).

The host's loop, in the manner of etcd/raft:

    raft.step(message) | raft.tick() | raft.propose(payloads) | raft.read_index(context)
    while raft.has_ready():
        ready = raft.ready()       # see Ready for what the host owes it
        ...
        raft.persisted(index, term)   # once synced

The core never blocks, looks at no clock but the one it was given (and at that only for leases), and draws
from the generator it was given, so the same calls in the same order give the same Readys. It is not
thread-safe. Messages may be lost, repeated and reordered. Batching is the host's to win: everything between
two calls of `ready` goes out as one append per follower, one read round, one write.

What else a host may ask for: `propose_configuration` (thesis, 4), `transfer` (3.10), `compact` (5.1), and to
be heard when it knows that the leader's process has ended (`leader_gone`).
"""

import random
from collections.abc import Callable, Mapping

from faultlab.contract.member import PeerProgress, RaftRole

from .config import CoreConfig
from .configuration import Configuration
from .errors import BadState, MalformedMessage, NotLeader
from .follower import take_append, take_heartbeat
from .log import RaftLog
from .messages import (
    Append,
    Entry,
    HardState,
    Heartbeat,
    InstallSnapshot,
    Message,
    NodeId,
    ReadIndexResponse,
    SnapshotMeta,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from .ready import Ready
from .replication import FollowerMessage
from .roles import Roles
from .snapshots import SnapshotReceiver
from .state import State


class Raft:
    """One member's protocol state."""

    __slots__ = ("_handed", "_incoming", "_log", "_roles", "_state")

    def __init__(
        self,
        config: CoreConfig,
        hard_state: HardState,
        snapshot: SnapshotMeta,
        entries: list[Entry],
        rng: random.Random,
        clock_ns: Callable[[], int],
    ) -> None:
        """A member as it starts, or comes back with what it persisted: a follower that knows no leader.

        `snapshot` is the latest durable one; a member that has taken none has the one of index 0, with the
        configuration it starts in (empty when it waits to be added). `entries` go on behind it, or begin
        earlier (kept, not copied, unless they do). The first Readys hand out what is committed behind the
        snapshot again: the host's state is the snapshot's. `clock_ns` is monotonic. Raises BadState when the
        parts contradict each other.
        """
        self._log = RaftLog(snapshot, entries, hard_state.commit)
        if self._log.last_term > max(hard_state.term, snapshot.term):
            raise BadState(
                f"the log ends with term {self._log.last_term} but the hard state knows only term"
                f" {hard_state.term}; expected it synced before any entry of that term"
            )
        started = hard_state
        if snapshot.term > hard_state.term:
            # A crash came between the snapshot's sync and the hard state's: no vote was given in that term.
            started = HardState(snapshot.term, None, hard_state.commit, hard_state.promise_ns)
        self._state = State(config, started, self._log, clock_ns)
        self._roles = Roles(self._state, rng)
        self._incoming = SnapshotReceiver(self._state)
        self._handed = HardState(hard_state.term, hard_state.vote, self._log.commit, hard_state.promise_ns)

    def tick(self) -> None:
        """One tick of time has passed."""
        self._roles.tick()

    def step(self, message: Message) -> None:
        """Takes in a message; raises MalformedMessage if it is not for this member, or no member sends it.

        Who sent it need not be in this member's configuration, which may be out of date (thesis, 4.1). Raises
        BadState, after which the member must end, where a leader contradicts what is committed here.
        """
        state = self._state
        if message.to != state.id or (message.sender == state.id and type(message) is not VoteResponse):
            raise MalformedMessage(
                f"a message from {message.sender!r} to {message.to!r} reached {state.id!r}"
            )
        if message.term > state.term:
            if not self._roles.enter_later_term(message):
                return
        elif message.term < state.term:
            self._roles.answer_earlier_term(message)
            return
        self._dispatch(message)
        if self._log.history.latest is not state.configuration:
            state.configured()
        leadership = self._roles.leadership
        if leadership is not None and leadership.removed:
            self._roles.end_leadership_if_over()

    def propose(self, payloads: list[bytes]) -> tuple[int, int]:
        """Appends one entry a payload (none of them empty) and returns (first index, term).

        A payload is chosen once the entry `committed` at its index has this term, and lost once
        another has it. Raises NotLeader, or Busy over max_uncommitted_bytes and while the leadership is
        being handed over; then nothing happened.
        """
        leadership = self._roles.must_lead()
        if not payloads or not all(payloads):
            raise ValueError("propose at least one payload and none that is empty; empty ones mark no-ops")
        return leadership.propose(payloads), self._state.term

    def propose_configuration(self, target: Configuration) -> tuple[int, int]:
        """Begins to change the members to `target`, and returns (index, term) of the first entry of it.

        `target.outgoing` is empty: where the voters differ, the core goes through joint consensus by itself
        (thesis, 4.3), and a second entry ends it. What only adds, removes or moves learners, or changes
        addresses, takes one entry. The change is over when `configuration` is not joint and its entry,
        `configuration_index`, is committed. Raises NotLeader, or Busy while a change is under way or the
        leadership is being handed over, or ValueError for a configuration that cannot be; then nothing
        happened.
        """
        leadership = self._roles.must_lead()
        if target.outgoing:
            raise ValueError(f"propose where to go, not the joint configuration {target.describe()}")
        self._state.configuration.toward(target).check()
        return leadership.propose_configuration(target), self._state.term

    def transfer(self, to: NodeId) -> None:
        """Hands the leadership over to another voter (thesis, 3.10); LeadershipTransfer events tell of it.

        Until it is over or given up, after an election timeout, proposals raise Busy. Asking again for the
        same member changes nothing. Raises NotLeader, UnsuitableTarget, or Busy while another is to take
        over.
        """
        self._roles.must_lead().transfer(to)

    def read_index(self, context: int) -> None:
        """Asks for an index at which a read is linearizable (thesis, 6.4); `context` comes back with it.

        The answer is in a later Ready's `read_states` or `lost_reads`. A follower, or learner, asks its
        leader. Raises NotLeader when no leader is known, or Busy when max_waiting_reads wait; then nothing
        happened. A leader cut off answers neither until it steps down, so give each read a deadline. Reads
        asked for before the leader has committed an entry of its own term wait for that.
        """
        state = self._state
        if self._roles.leadership is not None:
            self._roles.leadership.ask_read(context)
        elif state.leader is None:
            raise NotLeader(None)
        elif state.config.break_rule == "readAtOwnCommit":
            state.read_states.append((context, self._log.commit))
        else:
            self._roles.asking.ask(context)

    @property
    def transferring(self) -> bool:
        """Whether this leader is handing over, so that proposals raise Busy for a moment."""
        leadership = self._roles.leadership
        return leadership is not None and leadership.transferring

    def lease_valid(self) -> bool:
        """Whether this member leads and no other leader can have been elected yet (lease.py)."""
        leadership = self._roles.leadership
        return leadership is not None and leadership.lease_valid

    def leader_gone(self) -> None:
        """The host saw the end of the leader's process (its connection was closed): campaigns soon.

        Should that be wrong, nothing is lost: the campaign begins with a pre-vote, which members that still
        hear the leader refuse. Without pre-vote, and with leases, which rest on waiting, it does nothing.
        """
        self._roles.leader_gone()

    def compact(self, meta: SnapshotMeta, keep_after_index: int) -> None:
        """The host has a durable snapshot: forgets entries up to `keep_after_index`, at most `meta.index`.

        Keeps more while a follower is being sent a snapshot and needs what follows it. Raises ValueError for
        a snapshot of what this core has not handed out to apply; one older than the latest is ignored.
        """
        if meta.index > self._log.applied:
            raise ValueError(
                f"a snapshot up to {meta.index}, but entries up to {self._log.applied} were applied"
            )
        if not self._log.snapshot.index < meta.index <= self._log.commit:
            return  # The latter only where a break rule had committed entries replaced.
        keep_after = min(keep_after_index, meta.index)
        if self._roles.leadership is not None:
            keep_after = self._roles.leadership.compactable(keep_after)
        self._log.compact(meta, keep_after)

    def configuration_at(self, index: int) -> Configuration:
        """The configuration that belongs into a snapshot up to `index`, which is applied."""
        history = self._log.history
        # What snapshotWithoutConfiguration leaves out: the changes since the snapshot before.
        if self._state.config.break_rule == "snapshotWithoutConfiguration":
            return history.base
        return history.at(index)

    def has_ready(self) -> bool:
        """Whether `ready` would have anything to say."""
        state, log, roles = self._state, self._log, self._roles
        return bool(
            state.messages
            or state.after_persist
            or log.written < log.last_index
            or log.applied < log.commit
            or state.events
            or state.read_states
            or state.lost_reads
            or state.chunks
            or state.received
            or (roles.asking if roles.leadership is None else roles.leadership).has_work
            or self._handed.commit != log.commit
            or self._handed.term != state.term
            or self._handed.vote != state.vote
            or self._handed.promise_ns != state.promise.longest_ns
        )

    def ready(self) -> Ready:
        """Everything to be done since the last call. Never the same work twice."""
        state, log, handed = self._state, self._log, self._handed
        (self._roles.leadership or self._roles.asking).flush()
        entries = log.take_unwritten()
        hard_state = None
        must_sync = bool(entries or state.received)
        promised = handed.term, handed.vote, handed.promise_ns
        promises = state.term, state.vote, state.promise.longest_ns
        if handed.commit != log.commit or promised != promises:
            hard_state = self._handed = HardState(
                state.term, state.vote, log.commit, state.promise.longest_ns
            )
            must_sync = must_sync or promised != promises
        ready = Ready(
            hard_state=hard_state,
            entries=entries,
            must_sync=must_sync,
            committed=log.take_committed(state.config.max_committed_per_ready),
            messages=state.messages,
            after_persist=state.after_persist,
            chunks=state.chunks,
            received=state.received,
            snapshot=state.snapshot,
            read_states=state.read_states,
            lost_reads=state.lost_reads,
            events=state.events,
        )
        state.clear_outbox()
        return ready

    def persisted(self, last_index: int, last_term: int) -> None:
        """The host has synced all Readys up to the one whose last entry has this index and term.

        A leader counts itself towards a majority only from here on. Calls come in the order of the
        Readys; one may cover several. A pair that no outstanding Ready ends with is ignored.
        """
        self._state.promise.synced = True  # It was in the first Ready.
        leadership = self._roles.leadership
        if self._log.mark_synced(last_index, last_term) and leadership is not None:
            leadership.count()
            self._roles.end_leadership_if_over()

    @property
    def role(self) -> RaftRole:
        """What this member is at the moment; a learner is a follower."""
        return self._state.role

    @property
    def term(self) -> int:
        """The latest term this member knows of; 0 before the first election."""
        return self._state.term

    @property
    def leader(self) -> NodeId | None:
        """Whom this member follows, itself when it leads, None when unknown."""
        return self._state.leader

    @property
    def commit(self) -> int:
        """The highest index known to be committed; 0 if none."""
        return self._log.commit

    @property
    def first_index(self) -> int:
        """The first entry that this member still has, were it not empty: what is before is compacted."""
        return self._log.offset + 1

    @property
    def last_index(self) -> int:
        """The end of this member's log, synced or not; 0 if empty."""
        return self._log.last_index

    @property
    def snapshot(self) -> SnapshotMeta:
        """The latest snapshot that this core knows of: taken, installed or started from."""
        return self._log.snapshot

    @property
    def snapshots_refused(self) -> int:
        """How many snapshots of leaders were not what they had announced, since the start."""
        return self._incoming.refused

    @property
    def sending_snapshot(self) -> bool:
        """Whether this leader is sending somebody a snapshot, which must begin anew if two more are taken."""
        leadership = self._roles.leadership
        return leadership is not None and leadership.sending_snapshot

    @property
    def configuration(self) -> Configuration:
        """The one in force here: the latest in this member's log, committed or not."""
        return self._state.configuration

    @property
    def configuration_index(self) -> int:
        """The index of its entry, or of the snapshot that held it when this member started."""
        return self._log.history.latest_index

    @property
    def learners_caught_up(self) -> frozenset[NodeId]:
        """The learners that keep up with this leader, so that they may vote (thesis, 4.2.1)."""
        leadership = self._roles.leadership
        return frozenset() if leadership is None else leadership.learners_caught_up

    @property
    def progress(self) -> Mapping[NodeId, PeerProgress]:
        """What this leader knows of each other member; empty unless it leads."""
        leadership = self._roles.leadership
        if leadership is None:
            return {}
        learners = self._state.configuration.learners
        return {node: peer.snapshot(learner=node in learners) for node, peer in leadership.peers.items()}

    def _dispatch(self, message: Message) -> None:
        """A message of this member's term, or about a pre-vote for a later one. The frequent come first."""
        if type(message) is Append:
            if self._roles.accepts_leader(message.sender):
                take_append(self._state, message)
        elif isinstance(message, FollowerMessage):
            if self._roles.leadership is not None:
                self._roles.leadership.take(message)
        elif type(message) is Heartbeat:
            if self._roles.accepts_leader(message.sender):
                take_heartbeat(self._state, message)
        else:
            self._dispatch_rare(message)

    def _dispatch_rare(self, message: Message) -> None:
        match message:
            case InstallSnapshot():
                if self._roles.accepts_leader(message.sender):
                    self._incoming.take(message)
            case VoteRequest():
                self._roles.election.answer(message)
            case VoteResponse():
                self._roles.count_vote(message)
            case ReadIndexResponse():
                self._roles.asking.answered(message)
            case TimeoutNow():
                self._roles.take_over()
