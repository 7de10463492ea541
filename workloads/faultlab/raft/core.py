"""Raft without I/O: messages and ticks in; a `Ready` out (Ongaro and Ousterhout 2014; Ongaro's thesis).

The host's loop, in the manner of etcd/raft:

    raft.step(message) | raft.tick() | raft.propose(payloads) | raft.read_index(context)
    while raft.has_ready():
        ready = raft.ready()       # see Ready for what the host owes it
        ...
        raft.persisted(index, term)   # once synced

The core never blocks, never looks at a clock and draws from the generator it was given, so the same
calls in the same order give the same Readys. It is not thread-safe. Messages may be lost, repeated
and reordered. Batching is the host's to win: everything between two calls of `ready` goes out as one
append per follower, one read round, one write.

Snapshots, membership change and leadership transfer come with a later issue: a snapshot replaces the
log's prefix (log.py), a membership the voters (quorum.py), a transfer adds a message (messages.py).
"""

import random
from collections.abc import Mapping

from faultlab.contract.member import PeerProgress, RaftRole

from .config import CoreConfig
from .election import Election
from .errors import BadState, MalformedMessage, NotLeader
from .follower import take_append, take_heartbeat
from .log import RaftLog
from .messages import (
    Append,
    AppendResponse,
    Entry,
    HardState,
    Heartbeat,
    HeartbeatResponse,
    Message,
    NodeId,
    VoteRequest,
    VoteResponse,
)
from .ready import CoreEvent, Ready
from .replication import Leadership
from .state import State


class Raft:
    """One member's protocol state."""

    __slots__ = ("_election", "_handed", "_leadership", "_log", "_state")

    def __init__(
        self, config: CoreConfig, hard_state: HardState, entries: list[Entry], rng: random.Random
    ) -> None:
        """A member as it starts, or comes back with what it persisted: a follower that knows no leader.

        `entries` is the whole log from index 1 (kept, not copied). The first Readys hand out all
        committed entries again: the host's state starts empty. Raises BadState when `hard_state`
        and `entries` contradict each other.
        """
        self._log = RaftLog(entries, hard_state.commit)
        if self._log.last_term > hard_state.term:
            raise BadState(
                f"the log ends with term {self._log.last_term} but the hard state knows only term"
                f" {hard_state.term}; expected it synced before any entry of that term"
            )
        self._state = State(config, hard_state, self._log)
        self._election = Election(self._state, rng)
        self._leadership: Leadership | None = None
        self._handed = hard_state

    def tick(self) -> None:
        """One tick of time has passed."""
        if self._leadership is not None:
            if not self._leadership.tick():
                self._resign()
        elif self._election.tick():
            self._time_out()

    def step(self, message: Message) -> None:
        """Takes in a message; raises MalformedMessage if it is not for this member or not from a voter."""
        state = self._state
        if message.to != state.id or message.sender not in state.peers:
            raise MalformedMessage(
                f"a message from {message.sender!r} to {message.to!r} reached {state.id!r}, whose peers are"
                f" {list(state.peers)}"
            )
        if message.term > state.term:
            if not self._enter_later_term(message):
                return
        elif message.term < state.term:
            self._answer_earlier_term(message)
            return
        self._dispatch(message)

    def propose(self, payloads: list[bytes]) -> tuple[int, int]:
        """Appends one entry a payload (none of them empty) and returns (first index, term).

        A payload is chosen once the entry `committed` at its index has this term, and lost once
        another has it. Raises NotLeader, or Busy over max_uncommitted_bytes; then nothing happened.
        """
        if self._leadership is None:
            raise NotLeader(self._state.leader)
        if not payloads or not all(payloads):
            raise ValueError("propose at least one payload and none that is empty; empty ones mark no-ops")
        return self._leadership.propose(payloads), self._state.term

    def read_index(self, context: int) -> None:
        """Asks for an index at which a read is linearizable (thesis, 6.4); `context` comes back with it.

        The answer is in a later Ready's `read_states` or `lost_reads`. Raises NotLeader, or Busy when
        max_waiting_reads wait; then nothing happened. A leader cut off answers neither until it steps
        down, so give each read a deadline. Reads asked for before the leader has committed an entry
        of its own term wait for that.
        """
        if self._leadership is None:
            raise NotLeader(self._state.leader)
        self._leadership.ask_read(context)

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
            or (self._leadership is not None and self._leadership.has_work)
            or self._handed.commit != log.commit
            or self._handed.term != state.term
            or self._handed.vote != state.vote
        )

    def ready(self) -> Ready:
        """Everything to be done since the last call. Never the same work twice."""
        state, log, handed = self._state, self._log, self._handed
        if self._leadership is not None:
            self._leadership.flush()
        entries = log.take_unwritten()
        hard_state = None
        must_sync = bool(entries)
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

    @property
    def role(self) -> RaftRole:
        """What this member is at the moment."""
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
    def last_index(self) -> int:
        """The end of this member's log, synced or not; 0 if empty."""
        return self._log.last_index

    @property
    def progress(self) -> Mapping[NodeId, PeerProgress]:
        """What this leader knows of each other voter; empty unless it leads."""
        if self._leadership is None:
            return {}
        return {node: peer.snapshot() for node, peer in self._leadership.peers.items()}

    def _enter_later_term(self, message: Message) -> bool:
        """A message of a later term: enters that term if it must; whether the message is to be handled."""
        if isinstance(message, VoteRequest):
            if self._election.ignores_campaigns():
                return False
            if not message.pre_vote:
                self._follow(message.term, None)
        elif isinstance(message, Append | Heartbeat):
            self._follow(message.term, message.sender)
        elif not (isinstance(message, VoteResponse) and message.pre_vote and message.granted):
            self._follow(message.term, None)
        return True

    def _answer_earlier_term(self, message: Message) -> None:
        """Tells a candidate or leader of an earlier term that its term is over (paper, 5.1)."""
        state = self._state
        if isinstance(message, VoteRequest):
            self._election.refuse(message)
        elif isinstance(message, Append | Heartbeat):
            state.messages.append(HeartbeatResponse(state.id, message.sender, state.term, 0))

    def _dispatch(self, message: Message) -> None:
        """A message of this member's term, or about a pre-vote for a later one."""
        leadership = self._leadership
        match message:
            case AppendResponse():
                if leadership is not None:
                    leadership.take_append_response(message)
            case HeartbeatResponse():
                if leadership is not None:
                    leadership.take_heartbeat_response(message)
            case Append():
                if self._accepts_leader(message.sender):
                    take_append(self._state, message)
            case Heartbeat():
                if self._accepts_leader(message.sender):
                    take_heartbeat(self._state, message)
            case VoteRequest():
                self._election.answer(message)
            case VoteResponse():
                self._count_vote(message)

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
            if self._election.campaign(pre_vote=False):
                self._lead()
        else:
            self._lead()

    def _time_out(self) -> None:
        """The election timer has run out: whoever led is given up, and this member campaigns."""
        state = self._state
        if state.leader is not None:
            self._lose_leader(f"{state.leader} was not heard", self._election.elapsed)
        if self._election.campaign(pre_vote=state.config.pre_vote):
            self._win()

    def _resign(self) -> None:
        self._lose_leader("no majority was heard", self._state.config.election_ticks)
        self._follow(self._state.term, None)

    def _lose_leader(self, detail: str, ticks: int) -> None:
        state = self._state
        state.events.append(
            CoreEvent(type="LeaderLost", term=state.term, leader=state.leader, detail=detail, ticks=ticks)
        )
        state.leader = None

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
        # A mere candidacy elsewhere does not put off this member's own: only who led, campaigned or
        # follows somebody new waits afresh (paper, 5.2).
        if state.role != "follower" or leader is not None:
            self._election.restart_timer()
        state.leader = leader
        state.become("follower")
        if leader is not None:
            state.events.append(CoreEvent(type="LeaderKnown", term=term, leader=leader))
