"""The leader's lease: reads without a round while no other leader can have been elected (thesis, 6.4.1).

A member that hears its leader grants no vote to anybody for as long as it says with its answer (promise.py).
So a promise of length p in the answer to a heartbeat that went out at time t holds until t + p at least, and
no other leader is elected before the promises of all but a minority have ended, unless this one asks for it
(a transfer drops the lease for the rest of the term). What the promises are is the voters' affair: they may
have other settings than the leader, as while a change of them is rolled out, or no leases at all.

The times are of two members' monotonic clocks. The assumption is that within an election timeout their rates
differ by at most `max_clock_drift_percent`, and that neither stands still while its process runs (a virtual
machine that is frozen and thawed has stopped its clock). Where that fails, a deposed leader may serve a stale
read; nothing else depends on it. A process that is merely stopped is safe: the clock runs on.

What makes it true at the voters' side: they measure their promises on their clocks too, not in ticks, and a
member that has just started grants no vote for as long as it may have promised before.
"""

from collections import deque

from .messages import NodeId
from .state import State


class Lease:
    """The lease of one leadership: when its heartbeats went out, and until when each voter is silent."""

    __slots__ = ("_dropped", "_end_ns", "_latest", "_length_ns", "_starts_ns", "_state", "_until_ns")

    def __init__(self, state: State) -> None:
        config = state.config
        self._state = state
        self._length_ns = config.election_ticks * config.tick_ns
        self._latest = 0
        self._starts_ns: deque[int] = deque()
        """Of the heartbeats up to `_latest`, without those that went out longer ago than an election
        timeout: they are worth nothing any more."""
        self._until_ns: dict[NodeId, int] = {}
        self._end_ns = 0
        self._dropped = not config.lease

    def beat(self, number: int) -> None:
        """Heartbeats with this number, one more than the last, go out now."""
        if self._dropped:
            return
        starts, now = self._starts_ns, self._state.clock_ns()
        while starts and now - starts[0] >= self._length_ns:
            starts.popleft()
        starts.append(now)
        self._latest = number

    def answered(self, voter: NodeId, number: int, promise_ns: int) -> None:
        """A member has answered heartbeat `number` with a promise of that length; beyond this leader's own
        election timeout it counts for no more than that."""
        age = self._latest - number
        if 0 <= age < len(self._starts_ns):
            until = self._starts_ns[-1 - age] + self._without_drift(min(promise_ns, self._length_ns))
            self._until_ns[voter] = max(until, self._until_ns.get(voter, 0))

    def count(self) -> None:
        """Another heartbeat went out or was answered: until when a quorum is silent."""
        if not self._dropped:
            self._end_ns = self._state.quorum.reached(self._until_of)

    def forget(self) -> None:
        """The voters have changed: the answers so far are not theirs."""
        self._until_ns.clear()
        self._end_ns = 0

    def drop(self) -> None:
        """Another member was asked to campaign, and may do so at any time in this term: no lease any more."""
        self._dropped = True
        self._starts_ns.clear()

    @property
    def valid(self) -> bool:
        """Whether no other leader can have been elected until now."""
        if self._dropped or not self._end_ns:
            return False
        if self._state.config.break_rule == "leaseForever":
            return True
        return self._state.clock_ns() < self._end_ns

    def _until_of(self, voter: NodeId) -> int:
        """The leader itself is silent while it leads."""
        if voter == self._state.id and self._starts_ns:
            return self._starts_ns[-1] + self._without_drift(self._length_ns)
        return self._until_ns.get(voter, 0)

    def _without_drift(self, promise_ns: int) -> int:
        return promise_ns * (100 - self._state.config.max_clock_drift_percent) // 100
