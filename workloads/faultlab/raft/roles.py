"""Which role a member has, and how one leads to another: follower, (pre-)candidate, leader.

Paper, 5.1 and 5.2; thesis, 3.10 (asked to take over), 4.2.2 (removed), 6.2 (resigning) and 9.6 (pre-vote).
All changes of term, role and leader are here.
"""

import random

from .election import CampaignKind, Election
from .errors import NotLeader
from .messages import (
    Append,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    Message,
    NodeId,
    VoteRequest,
    VoteResponse,
)
from .reads import FollowerReads
from .ready import CoreEvent
from .replication import Leadership
from .state import State


class Roles:
    """One member's role: what it does besides keeping its log."""

    __slots__ = ("_state", "asking", "election", "leadership")

    def __init__(self, state: State, rng: random.Random) -> None:
        """A follower that knows no leader."""
        self._state = state
        self.election = Election(state, rng)
        self.asking = FollowerReads(state, rng)
        """The reads of a member that does not lead."""
        self.leadership: Leadership | None = None
        """What it has while it leads."""

    def must_lead(self) -> Leadership:
        """The leadership; raises NotLeader when there is none."""
        if self.leadership is None:
            raise NotLeader(self._state.leader)
        return self.leadership

    def tick(self) -> None:
        """One tick of time has passed."""
        self._state.promise.outlive()
        if self.leadership is not None:
            if not self.leadership.tick():
                self._resign("no majority was heard", self._state.config.election_ticks)
            return
        self.asking.tick()
        if self.election.tick():
            self._time_out()

    def leader_gone(self) -> None:
        """As `Raft.leader_gone`."""
        state = self._state
        config = state.config
        if self.leadership is None and state.leader is not None and config.pre_vote and not config.lease:
            self._lose_leader(f"{state.leader} has closed its connection", self.election.elapsed)
            self.election.hurry()

    def enter_later_term(self, message: Message) -> bool:
        """A message of a later term: enters that term if it must; whether the message is to be handled."""
        if isinstance(message, VoteRequest):
            if not message.transfer and self.election.ignores_campaigns():
                return False
            if not message.pre_vote:
                self._follow(message.term, None)
        elif isinstance(message, Append | Heartbeat | InstallSnapshot):
            self._follow(message.term, message.sender)
        elif not (isinstance(message, VoteResponse) and message.pre_vote and message.granted):
            self._follow(message.term, None)
        return True

    def answer_earlier_term(self, message: Message) -> None:
        """Tells a candidate or leader of an earlier term that its term is over (paper, 5.1)."""
        state = self._state
        if isinstance(message, VoteRequest):
            self.election.refuse(message)
        elif isinstance(message, Append | Heartbeat | InstallSnapshot):
            state.messages.append(HeartbeatResponse(state.id, message.sender, state.term, 0))

    def accepts_leader(self, sender: NodeId) -> bool:
        """Hears the leader of this term. A second one breaks election safety: it is reported, and then
        followed, except by a member that leads itself, which goes on leading (as if nobody had looked).
        """
        state = self._state
        if state.leader != sender:
            if state.leader is not None:
                first, second = sorted((state.leader, sender))
                state.violated("election safety", f"term {state.term} has two leaders, {first} and {second}")
            if self.leadership is not None:
                return False
            self._follow(state.term, sender)
        self.election.put_off()
        return True

    def count_vote(self, response: VoteResponse) -> None:
        result = self.election.count(response)
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
        self.asking.abandon()
        if self.election.campaign(kind):
            self._win()

    def _time_out(self) -> None:
        """The election timer has run out: whoever led is given up, and this member campaigns, if it may."""
        state = self._state
        if state.leader is not None:
            self._lose_leader(f"{state.leader} was not heard", self.election.elapsed)
        if self.election.may_stand():
            self._campaign("preVote" if state.config.pre_vote else "vote")
        else:
            self.election.restart_timer()

    def take_over(self) -> None:
        """The leader asks this member to campaign now: no pre-vote, no waiting (thesis, 3.10)."""
        if self.leadership is None and self.election.may_stand():
            self._campaign("transfer")

    def _resign(self, detail: str, ticks: int | None = None) -> None:
        self._lose_leader(detail, ticks)
        self._follow(self._state.term, None)

    def end_leadership_if_over(self) -> None:
        """A leader that was removed has no more to do once that is committed (thesis, 4.2.2)."""
        if self.leadership is not None and self.leadership.is_over:
            self.leadership.hand_on()
            self._resign("this member was removed")

    def _lose_leader(self, detail: str, ticks: int | None) -> None:
        state = self._state
        state.events.append(
            CoreEvent(type="LeaderLost", term=state.term, leader=state.leader, detail=detail, ticks=ticks)
        )
        state.leader = None
        self.asking.abandon()

    def _lead(self) -> None:
        """This member has won its term."""
        state = self._state
        state.leader = state.id
        state.become("leader")
        state.events.append(CoreEvent(type="LeaderElected", term=state.term, leader=state.id))
        self.leadership = Leadership(state)

    def _follow(self, term: int, leader: NodeId | None) -> None:
        """Follows `leader` (None: whoever wins) in `term`, which is not before the present one."""
        state = self._state
        if term > state.term:
            state.term = term
            state.vote = None
        if self.leadership is not None:
            state.lost_reads += self.leadership.abandon_reads()
            self.leadership = None
        self.asking.abandon()
        # A mere candidacy elsewhere does not put off this member's own: only who led, campaigned or
        # follows somebody new waits afresh (paper, 5.2).
        waits_afresh = state.role != "follower" or leader is not None
        state.leader = leader
        if waits_afresh:
            self.election.restart_timer()
        state.become("follower")
        if leader is not None:
            state.events.append(CoreEvent(type="LeaderKnown", term=term, leader=leader))
