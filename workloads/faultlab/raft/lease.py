"""The leader's lease: reads without a round while no other leader can have been elected (thesis, 6.4.1).

A member that hears its leader grants no vote to anybody for an election timeout (election.py). So once a
majority has answered a heartbeat that went out at time t, no other leader is elected before
t + election timeout, unless this one asks for it (a transfer drops the lease for the rest of the term).

The times are of two members' monotonic clocks. The assumption is that within an election timeout their rates
differ by at most `max_clock_drift_percent`, and that neither stands still while its process runs (a virtual
machine that is frozen and thawed has stopped its clock). Where that fails, a deposed leader may serve a stale
read; nothing else depends on it. A process that is merely stopped is safe: the clock runs on.

What makes it true at the voters' side: they measure the timeout on their clocks too, not in ticks, and a
member that has just started grants no vote for one election timeout, since it does not know whom it heard.
"""

from collections import deque

from .state import State


class Lease:
    """The lease of one leadership: when its heartbeats went out, and which a majority has answered."""

    __slots__ = ("_beats", "_dropped", "_length_ns", "_start_ns", "_state")

    def __init__(self, state: State) -> None:
        config = state.config
        self._state = state
        timeout_ns = config.election_ticks * config.tick_ns
        self._length_ns = timeout_ns * (100 - config.max_clock_drift_percent) // 100
        self._beats: deque[tuple[int, int]] = deque()
        self._start_ns: int | None = None
        self._dropped = not config.lease

    def beat(self, number: int) -> None:
        """Heartbeats with this number go out now."""
        if not self._dropped:
            self._beats.append((number, self._state.clock_ns()))

    def reached(self, number: int) -> None:
        """A quorum has answered heartbeat `number`, and any before it.

        check_quorum bounds how many wait: a leader without answers for election_ticks leads no more.
        """
        beats = self._beats
        while beats and beats[0][0] <= number:
            self._start_ns = beats.popleft()[1]

    def forget(self) -> None:
        """The voters have changed: the answers so far are not theirs."""
        self._start_ns = None

    def drop(self) -> None:
        """Another member was asked to campaign, and may do so at any time in this term: no lease any more."""
        self._dropped = True
        self._beats.clear()

    @property
    def valid(self) -> bool:
        """Whether no other leader can have been elected until now."""
        if self._dropped or self._start_ns is None:
            return False
        if self._state.config.break_rule == "leaseForever":
            return True
        return self._state.clock_ns() - self._start_ns < self._length_ns
