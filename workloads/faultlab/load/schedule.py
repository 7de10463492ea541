"""When operations start.

At a constant rate arrivals stand on a schedule that replies do not slow (an open system), and each
is handed to the next user that is free: a user stuck behind a cut takes nobody else's turn away.
Latency counts from the scheduled time, so a stall is not hidden by the operations that it kept
from starting (coordinated omission).
"""

from faultlab.contract.load import Arrival

MISSED_AFTER_NS = 1_000_000_000
"""A scheduled operation that nobody was free to start this long after its time is given up."""


class Schedule:
    """Hands out intended start times in nanoseconds on the clock that the caller uses throughout.

    The schedule begins when the first operation is asked for, not when the process started.
    """

    def __init__(self, arrival: Arrival, *, workers: int) -> None:
        self._interval_ns: float | None = None
        if arrival.mode == "constantRate" and arrival.operations_per_second:
            self._interval_ns = 1e9 * workers / arrival.operations_per_second
        self._start_ns: int | None = None
        self._next = 0
        self.missed = 0
        """Arrivals given up."""

    def take(self, now_ns: int) -> int | None:
        """The intended time of the caller's next operation; None: now, at the caller's own pace."""
        if self._interval_ns is None:
            return None
        if self._start_ns is None:
            self._start_ns = now_ns
        overdue = int((now_ns - MISSED_AFTER_NS - self._start_ns) / self._interval_ns)
        if overdue > self._next:
            self.missed += overdue - self._next
            self._next = overdue
        intended = self._start_ns + int(self._next * self._interval_ns)
        self._next += 1
        return intended
