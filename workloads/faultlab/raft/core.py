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
from .election import CampaignKind, Election
from .errors import BadState, MalformedMessage, NotLeader
from .follower import take_append, take_heartbeat
from .log import RaftLog
from .messages import (
    Append,
    Entry,
    HardState,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    Message,
    NodeId,
    ReadIndexResponse,
    SnapshotMeta,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from .reads import FollowerReads
from .ready import CoreEvent, Ready
from .replication import FollowerMessage, Leadership
from .snapshots import SnapshotReceiver
from .state import State


class Raft:
    """One member's protocol state."""

    __slots__ = ("_asking", "_election", "_handed", "_incoming", "_leadership", "_log", "_state")

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
            started = HardState(snapshot.term, None, hard_state.commit)
        self._state = State(config, started, self._log, clock_ns)
        self._election = Election(self._state, rng)
        self._incoming = SnapshotReceiver(self._state)
        self._asking = FollowerReads(self._state, rng)
        self._leadership: Leadership | None = None
        self._handed = HardState(hard_state.term, hard_state.vote, self._log.commit)

    def tick(self) -> None:
        """One tick of time has passed."""
        if self._leadership is not None:
            if not self._leadership.tick():
                self._resign("no majority was heard", self._state.config.election_ticks)
            return
        self._asking.tick()
        if self._election.tick():
            self._time_out()

    def step(self, message: Message) -> None:
        """Takes in a message; raises MalformedMessage if it is not for this member, or no member sends it.

        Who sent it need not be in this member's configuration, which may be out of date (thesis, 4.1).
        """
        state = self._state
        if message.to != state.id or message.sender == state.id:
            raise MalformedMessage(
                f"a message from {message.sender!r} to {message.to!r} reached {state.id!r}"
            )
        if message.term > state.term:
            if not self._enter_later_term(message):
                return
        elif message.term < state.term:
            self._answer_earlier_term(message)
            return
        self._dispatch(message)
        if self._log.history.latest is not state.configuration:
            state.configured()
        if self._leadership is not None and self._leadership.removed:
            self._end_leadership_if_over()

    def propose(self, payloads: list[bytes]) -> tuple[int, int]:
        """Appends one entry a payload (none of them empty) and returns (first index, term).

        A payload is chosen once the entry `committed` at its index has this term, and lost once
        another has it. Raises NotLeader, or Busy over max_uncommitted_bytes and while the leadership is
        being handed over; then nothing happened.
        """
        if self._leadership is None:
            raise NotLeader(self._state.leader)
        if not payloads or not all(payloads):
            raise ValueError("propose at least one payload and none that is empty; empty ones mark no-ops")
        return self._leadership.propose(payloads), self._state.term

    def propose_configuration(self, target: Configuration) -> tuple[int, int]:
        """Begins to change the members to `target`, and returns (index, term) of the first entry of it.

        `target.outgoing` is empty: where the voters differ, the core goes through joint consensus by itself
        (thesis, 4.3), and a second entry ends it. What only adds, removes or moves learners, or changes
        addresses, takes one entry. The change is over when `configuration` is not joint and its entry,
        `configuration_index`, is committed. Raises NotLeader, or Busy while a change is under way or the
        leadership is being handed over, or ValueError for a configuration that cannot be; then nothing
        happened.
        """
        if self._leadership is None:
            raise NotLeader(self._state.leader)
        if target.outgoing:
            raise ValueError(f"propose where to go, not the joint configuration {target.describe()}")
        self._state.configuration.toward(target).check()
        return self._leadership.propose_configuration(target), self._state.term

    def transfer(self, to: NodeId) -> None:
        """Hands the leadership over to another voter (thesis, 3.10); LeadershipTransfer events tell of it.

        Until it is over or given up, after an election timeout, proposals raise Busy. Asking again for the
        same member changes nothing. Raises NotLeader, UnsuitableTarget, or Busy while another is to take
        over.
        """
        if self._leadership is None:
            raise NotLeader(self._state.leader)
        self._leadership.transfer(to)

    def read_index(self, context: int) -> None:
        """Asks for an index at which a read is linearizable (thesis, 6.4); `context` comes back with it.

        The answer is in a later Ready's `read_states` or `lost_reads`. A follower, or learner, asks its
        leader. Raises NotLeader when no leader is known, or Busy when max_waiting_reads wait; then nothing
        happened. A leader cut off answers neither until it steps down, so give each read a deadline. Reads
        asked for before the leader has committed an entry of its own term wait for that.
        """
        state = self._state
        if self._leadership is not None:
            self._leadership.ask_read(context)
        elif state.leader is None:
            raise NotLeader(None)
        elif state.config.break_rule == "readAtOwnCommit":
            state.read_states.append((context, self._log.commit))
        else:
            self._asking.ask(context)

    @property
    def transferring(self) -> bool:
        """Whether this leader is handing over, so that proposals raise Busy for a moment."""
        return self._leadership is not None and self._leadership.transferring

    def lease_valid(self) -> bool:
        """Whether this member leads and no other leader can have been elected yet (lease.py)."""
        return self._leadership is not None and self._leadership.lease_valid

    def leader_gone(self) -> None:
        """The host saw the end of the leader's process (its connection was closed): campaigns soon.

        Should that be wrong, nothing is lost: the campaign begins with a pre-vote, which members that still
        hear the leader refuse. Without pre-vote, and with leases, which rest on waiting, it does nothing.
        """
        state = self._state
        config = state.config
        if self._leadership is None and state.leader is not None and config.pre_vote and not config.lease:
            self._lose_leader(f"{state.leader} has closed its connection", self._election.elapsed)
            self._election.hurry()

    def compact(self, meta: SnapshotMeta, keep_after_index: int) -> None:
        """The host has a durable snapshot: forgets entries up to `keep_after_index`, at most `meta.index`.

        Keeps more while a follower is being sent a snapshot and needs what follows it. Raises ValueError for
        a snapshot of what this core has not handed out to apply; one older than the latest is ignored.
        """
        if meta.index > self._log.applied:
            raise ValueError(
                f"a snapshot up to {meta.index}, but entries up to {self._log.applied} were applied"
            )
        if meta.index <= self._log.snapshot.index:
            return
        keep_after = min(keep_after_index, meta.index)
        if self._leadership is not None:
            keep_after = self._leadership.compactable(keep_after)
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
        state, log = self._state, self._log
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
            or (self._leadership.has_work if self._leadership is not None else self._asking.has_work)
            or self._handed.commit != log.commit
            or self._handed.term != state.term
            or self._handed.vote != state.vote
        )

    def ready(self) -> Ready:
        """Everything to be done since the last call. Never the same work twice."""
        state, log, handed = self._state, self._log, self._handed
        if self._leadership is not None:
            self._leadership.flush()
        else:
            self._asking.flush()
        entries = log.take_unwritten()
        hard_state = None
        must_sync = bool(entries or state.received)
        if handed.commit != log.commit or handed.term != state.term or handed.vote != state.vote:
            hard_state = self._handed = HardState(state.term, state.vote, log.commit)
            must_sync = must_sync or handed.term != state.term or handed.vote != state.vote
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
        if self._log.mark_synced(last_index, last_term) and self._leadership is not None:
            self._leadership.count()
            self._end_leadership_if_over()

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
        if self._leadership is None:
            return frozenset()
        return self._leadership.learners_caught_up

    @property
    def progress(self) -> Mapping[NodeId, PeerProgress]:
        """What this leader knows of each other member; empty unless it leads."""
        if self._leadership is None:
            return {}
        learners = self._state.configuration.learners
        return {
            node: peer.snapshot(learner=node in learners) for node, peer in self._leadership.peers.items()
        }

    def _enter_later_term(self, message: Message) -> bool:
        """A message of a later term: enters that term if it must; whether the message is to be handled."""
        if isinstance(message, VoteRequest):
            if not message.transfer and self._election.ignores_campaigns():
                return False
            if not message.pre_vote:
                self._follow(message.term, None)
        elif isinstance(message, Append | Heartbeat | InstallSnapshot):
            self._follow(message.term, message.sender)
        elif not (isinstance(message, VoteResponse) and message.pre_vote and message.granted):
            self._follow(message.term, None)
        return True

    def _answer_earlier_term(self, message: Message) -> None:
        """Tells a candidate or leader of an earlier term that its term is over (paper, 5.1)."""
        state = self._state
        if isinstance(message, VoteRequest):
            self._election.refuse(message)
        elif isinstance(message, Append | Heartbeat | InstallSnapshot):
            state.messages.append(HeartbeatResponse(state.id, message.sender, state.term, 0))

    def _dispatch(self, message: Message) -> None:
        """A message of this member's term, or about a pre-vote for a later one. The frequent come first."""
        if type(message) is Append:
            if self._accepts_leader(message.sender):
                take_append(self._state, message)
        elif isinstance(message, FollowerMessage):
            if self._leadership is not None:
                self._leadership.take(message)
        elif type(message) is Heartbeat:
            if self._accepts_leader(message.sender):
                take_heartbeat(self._state, message)
        else:
            self._dispatch_rare(message)

    def _dispatch_rare(self, message: Message) -> None:
        match message:
            case InstallSnapshot():
                if self._accepts_leader(message.sender):
                    self._incoming.take(message)
            case VoteRequest():
                self._election.answer(message)
            case VoteResponse():
                self._count_vote(message)
            case ReadIndexResponse():
                self._asking.answered(message)
            case TimeoutNow():
                self._take_over()

    def _accepts_leader(self, sender: NodeId) -> bool:
        """Hears the leader of this term. A second one breaks election safety: it is reported, and then
        followed, except by a member that leads itself, which goes on leading (as if nobody had looked).
        """
        state = self._state
        if state.leader != sender:
            if state.leader is not None:
                first, second = sorted((state.leader, sender))
                state.violated("election safety", f"term {state.term} has two leaders, {first} and {second}")
            if self._leadership is not None:
                return False
            self._follow(state.term, sender)
        self._election.put_off()
        return True

    def _count_vote(self, response: VoteResponse) -> None:
        result = self._election.count(response)
        if result == "won":
            self._win()
        elif result == "lost":
            self._follow(self._state.term, None)

    def _win(self) -> None:
        if self._state.role == "preCandidate":
            self._campaign("vote")
        else:
            self._lead()

    def _campaign(self, kind: CampaignKind) -> None:
        self._asking.abandon()
        if self._election.campaign(kind):
            self._win()

    def _time_out(self) -> None:
        """The election timer has run out: whoever led is given up, and this member campaigns, if it may."""
        state = self._state
        if state.leader is not None:
            self._lose_leader(f"{state.leader} was not heard", self._election.elapsed)
        if self._election.may_stand():
            self._campaign("preVote" if state.config.pre_vote else "vote")
        else:
            self._election.restart_timer()

    def _take_over(self) -> None:
        """The leader asks this member to campaign now: no pre-vote, no waiting (thesis, 3.10)."""
        if self._leadership is None and self._election.may_stand():
            self._campaign("transfer")

    def _resign(self, detail: str, ticks: int | None = None) -> None:
        self._lose_leader(detail, ticks)
        self._follow(self._state.term, None)

    def _end_leadership_if_over(self) -> None:
        """A leader that was removed has no more to do once that is committed (thesis, 4.2.2)."""
        if self._leadership is not None and self._leadership.is_over:
            self._leadership.hand_on()
            self._resign("this member was removed")

    def _lose_leader(self, detail: str, ticks: int | None) -> None:
        state = self._state
        state.events.append(
            CoreEvent(type="LeaderLost", term=state.term, leader=state.leader, detail=detail, ticks=ticks)
        )
        state.leader = None
        self._asking.abandon()

    def _lead(self) -> None:
        """This member has won its term."""
        state = self._state
        state.leader = state.id
        state.become("leader")
        state.events.append(CoreEvent(type="LeaderElected", term=state.term, leader=state.id))
        self._leadership = Leadership(state)

    def _follow(self, term: int, leader: NodeId | None) -> None:
        """Follows `leader` (None: whoever wins) in `term`, which is not before the present one."""
        state = self._state
        if term > state.term:
            state.term = term
            state.vote = None
        if self._leadership is not None:
            state.lost_reads += self._leadership.abandon_reads()
            self._leadership = None
        self._asking.abandon()
        # A mere candidacy elsewhere does not put off this member's own: only who led, campaigned or
        # follows somebody new waits afresh (paper, 5.2).
        waits_afresh = state.role != "follower" or leader is not None
        state.leader = leader
        if waits_afresh:
            self._election.restart_timer()
        state.become("follower")
        if leader is not None:
            state.events.append(CoreEvent(type="LeaderKnown", term=term, leader=leader))
