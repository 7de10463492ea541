"""Elections: the randomised timer, campaigns with and without pre-vote, and the granting of votes.

Paper, 5.2 and 5.4.1; thesis, 4.2.3 (ignoring campaigns while the leader is heard) and 9.6 (pre-vote).
At most one member wins a term: each member votes once a term, its vote is synced before the grant goes
out, and two majorities share a member.

A vote is granted whoever asks, in the voter's configuration or not: the candidate's may be the later one
(thesis, 4.1).
"""

import random
from typing import Literal

from .configuration import name_of
from .messages import NodeId, VoteRequest, VoteResponse
from .ready import CoreEvent
from .state import State

MAX_HURRIED_CAMPAIGNS = 3
"""In a row, after the leader's process was seen to end; then the timer is the usual one again."""
_MAX_RANKS_WAITED = 2

CampaignKind = Literal["preVote", "vote", "transfer"]


class Election:
    """The timer and the ballot box of one member."""

    __slots__ = (
        "_elapsed",
        "_hurried",
        "_last_leader",
        "_rng",
        "_state",
        "_timeout",
        "_votes",
    )

    def __init__(self, state: State, rng: random.Random) -> None:
        self._state = state
        self._rng = rng
        self._votes: dict[NodeId, bool] = {}
        self._hurried = 0
        self._last_leader: NodeId | None = None
        self.restart_timer()

    def restart_timer(self) -> None:
        """Waits anew, for a random number of ticks in [election_ticks, 2 * election_ticks).

        Members of lower priority wait longer, so that those of a higher one come first.
        """
        config = self._state.config
        ticks = config.election_ticks
        self._elapsed = 0
        if self._hurried:
            self._hurried -= 1
            ticks = 2 * config.heartbeat_ticks
            self._timeout = 1 + self._rng.randrange(ticks)
        else:
            self._timeout = ticks + self._rng.randrange(ticks)
        if config.priorities:
            self._timeout += self._rank() * ticks

    def hurry(self) -> None:
        """The leader's process has ended: campaigns within a few ticks, and a few times if need be."""
        self._hurried = MAX_HURRIED_CAMPAIGNS
        self.restart_timer()

    def put_off(self) -> None:
        """The leader is alive: the timer starts again with the timeout it has."""
        self._state.promise.renew()
        self._wait()

    def tick(self) -> bool:
        """One tick without leading; whether it is time to give the leader up, and to campaign."""
        self._elapsed += 1
        return self._elapsed >= self._timeout and not self._state.promise.binds

    @property
    def elapsed(self) -> int:
        """Ticks since the leader was heard, a vote granted or a campaign begun."""
        return self._elapsed

    def ignores_campaigns(self) -> bool:
        """Whether a later term's campaign is none of this member's business: it has a leader it hears."""
        state = self._state
        config = state.config
        if state.promise.binds:
            return True
        return (
            (config.pre_vote or config.check_quorum)
            and state.leader is not None
            and (state.leader == state.id or self._elapsed < config.election_ticks)
        )

    def campaign(self, kind: CampaignKind) -> bool:
        """Asks for votes in the next term (as preVote without entering it); whether that wins at once."""
        state = self._state
        pre_vote = kind == "preVote"
        if pre_vote:
            term = state.term + 1
            state.become("preCandidate")
        else:
            state.term += 1
            state.vote = state.id
            term = state.term
            state.become("candidate")
        state.leader = None
        self.restart_timer()
        self._votes = {state.id: True}
        state.events.append(CoreEvent(type="ElectionStarted", term=term, detail=kind))
        outbox = state.messages if pre_vote else state.after_persist
        log, transfer = state.log, kind == "transfer"
        for peer in dict.fromkeys((*state.configuration.voters, *state.configuration.outgoing)):
            if peer != state.id:
                outbox.append(
                    VoteRequest(state.id, peer, term, log.last_index, log.last_term, pre_vote, transfer)
                )
        won = state.quorum.outcome(self._votes) == "won"
        if won and not pre_vote:
            # A sole voter has nobody to wait for but its own disk: a vote that a crash took back would let
            # its next life lead the same term with other entries. Its own answer comes once it is synced.
            self._votes = {}
            state.after_persist.append(VoteResponse(state.id, state.id, term, True, False))
            return False
        return won

    def count(self, response: VoteResponse) -> Literal["won", "lost", "open"]:
        """Takes an answer to this member's campaign; one to an earlier campaign changes nothing."""
        state = self._state
        if response.pre_vote:
            current = state.role == "preCandidate" and (
                not response.granted or response.term == state.term + 1
            )
        else:
            current = state.role == "candidate"
        if not current:
            return "open"
        self._votes.setdefault(response.sender, response.granted)
        return state.quorum.outcome(self._votes)

    def answer(self, request: VoteRequest) -> None:
        """Grants or refuses; a vote's request has this member's term, a pre-vote's that or a later one."""
        state = self._state
        if not (state.config.votes_unconfigured or state.configuration.voters):
            # It waits to be added, or is one that was added, and has lost what it had promised.
            self.refuse(request)
        elif state.promise.binds and not request.transfer:
            # This term may have come with a message of somebody who never heard the leader with the lease.
            self.refuse(request)
        elif request.pre_vote:
            self._answer_pre_vote(request)
        else:
            self._answer_vote(request)

    def refuse(self, request: VoteRequest) -> None:
        """Refuses, with this member's own term so that a candidate behind it catches up."""
        state = self._state
        state.messages.append(VoteResponse(state.id, request.sender, state.term, False, request.pre_vote))

    def may_stand(self) -> bool:
        """Whether this member may lead: it votes in its configuration, or in one that is not yet over.

        The latter as it may be the only one that can commit the configuration without it (thesis, 4.2.2).
        """
        state = self._state
        if state.configuration.has_vote(state.id):
            return True
        log = state.log
        return log.history.latest_index > log.commit and any(
            configuration.has_vote(state.id) for configuration in log.history.since(log.commit)
        )

    def _wait(self) -> None:
        """There is a leader, or will be one: no hurry any more."""
        self._elapsed = 0
        if self._hurried:
            self._hurried = 0
            self.restart_timer()

    def _rank(self) -> int:
        """How many higher priorities are waited for; not for that of the leader, which was lost."""
        state = self._state
        self._last_leader = state.leader or self._last_leader
        priorities = state.config.priorities
        mine = priorities.get(name_of(state.id), 0)
        higher = {
            priorities.get(name_of(voter), 0)
            for voter in state.configuration.voters
            if voter != self._last_leader
        }
        return min(sum([priority > mine for priority in higher]), _MAX_RANKS_WAITED)

    def _answer_vote(self, request: VoteRequest) -> None:
        state = self._state
        if not self._may_grant(request):
            self.refuse(request)
            return
        state.vote = request.sender
        self._wait()
        state.after_persist.append(VoteResponse(state.id, request.sender, state.term, True, False))

    def _may_grant(self, request: VoteRequest) -> bool:
        """RequestVote's rule 2 (paper, figure 2): one vote a term, and only for a log that lacks nothing.

        This is the guard that forgetVote switches off, whole: with the log still compared, the first
        winner's no-op would hide the forgotten vote from all but candidates of the same instant.
        """
        state = self._state
        if state.config.break_rule == "forgetVote":
            return True
        return state.vote in (None, request.sender) and self._is_up_to_date(request)

    def _is_up_to_date(self, request: VoteRequest) -> bool:
        """The restriction of 5.4.1, which electStale switches off."""
        state = self._state
        return state.config.break_rule == "electStale" or state.log.is_up_to_date(
            request.last_index, request.last_term
        )

    def _answer_pre_vote(self, request: VoteRequest) -> None:
        state = self._state
        if request.term > state.term and self._is_up_to_date(request):
            state.messages.append(VoteResponse(state.id, request.sender, request.term, True, True))
        else:
            self.refuse(request)
