"""Elections: the randomised timer, campaigns with and without pre-vote, and the granting of votes.

Paper, 5.2 and 5.4.1; thesis, 4.2.3 (ignoring campaigns while the leader is heard) and 9.6 (pre-vote).
At most one member wins a term: each member votes once a term, its vote is synced before the grant goes
out, and two majorities share a member.
"""

import random
from typing import Literal

from .messages import NodeId, VoteRequest, VoteResponse
from .quorum import outcome
from .ready import CoreEvent
from .state import State


class Election:
    """The timer and the ballot box of one member."""

    __slots__ = ("_elapsed", "_rng", "_state", "_timeout", "_votes")

    def __init__(self, state: State, rng: random.Random) -> None:
        self._state = state
        self._rng = rng
        self._votes: dict[NodeId, bool] = {}
        self.restart_timer()

    def restart_timer(self) -> None:
        """Waits anew, for a random number of ticks in [election_ticks, 2 * election_ticks)."""
        ticks = self._state.config.election_ticks
        self._elapsed = 0
        self._timeout = ticks + self._rng.randrange(ticks)

    def put_off(self) -> None:
        """The leader is alive, or a vote was granted: the timer starts again with the timeout it has."""
        self._elapsed = 0

    def tick(self) -> bool:
        """One tick without leading; whether it is time to campaign."""
        self._elapsed += 1
        return self._elapsed >= self._timeout

    @property
    def elapsed(self) -> int:
        """Ticks since the leader was heard, a vote granted or a campaign begun."""
        return self._elapsed

    def ignores_campaigns(self) -> bool:
        """Whether a later term's campaign is none of this member's business: it has a leader it hears."""
        state = self._state
        config = state.config
        return (
            (config.pre_vote or config.check_quorum)
            and state.leader is not None
            and (state.leader == state.id or self._elapsed < config.election_ticks)
        )

    def campaign(self, *, pre_vote: bool) -> bool:
        """Asks for votes in the next term (as pre-vote without entering it); whether that wins at once."""
        state = self._state
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
        state.events.append(
            CoreEvent(type="ElectionStarted", term=term, detail="preVote" if pre_vote else "vote")
        )
        outbox = state.messages if pre_vote else state.after_persist
        log = state.log
        for peer in state.peers:
            outbox.append(VoteRequest(state.id, peer, term, log.last_index, log.last_term, pre_vote))
        return self._outcome() == "won"

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
        return self._outcome()

    def _outcome(self) -> Literal["won", "lost", "open"]:
        granted = sum(self._votes.values())
        return outcome(granted, len(self._votes) - granted, len(self._state.config.voters))

    def answer(self, request: VoteRequest) -> None:
        """Grants or refuses; a vote's request has this member's term, a pre-vote's that or a later one."""
        if request.pre_vote:
            self._answer_pre_vote(request)
        else:
            self._answer_vote(request)

    def _answer_vote(self, request: VoteRequest) -> None:
        state = self._state
        if not self._may_grant(request):
            self.refuse(request)
            return
        state.vote = request.sender
        self.put_off()
        state.after_persist.append(VoteResponse(state.id, request.sender, state.term, True, False))

    def _may_grant(self, request: VoteRequest) -> bool:
        """RequestVote's rule 2 (paper, figure 2): one vote a term, and only for a log that lacks nothing.

        This is the guard that forgetVote switches off, whole: with the log still compared, the first
        winner's no-op would hide the forgotten vote from all but candidates of the same instant.
        """
        state = self._state
        if state.config.break_rule == "forgetVote":
            return True
        return state.vote in (None, request.sender) and state.log.is_up_to_date(
            request.last_index, request.last_term
        )

    def _answer_pre_vote(self, request: VoteRequest) -> None:
        state = self._state
        if request.term > state.term and state.log.is_up_to_date(request.last_index, request.last_term):
            state.messages.append(VoteResponse(state.id, request.sender, request.term, True, True))
        else:
            self.refuse(request)

    def refuse(self, request: VoteRequest) -> None:
        """Refuses, with this member's own term so that a candidate behind it catches up."""
        state = self._state
        state.messages.append(VoteResponse(state.id, request.sender, state.term, False, request.pre_vote))
