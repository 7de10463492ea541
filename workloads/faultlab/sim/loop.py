"""Virtual time: what is to happen, and when, in one heap.

Nothing here waits. Time is an integer count of nanoseconds since the run began and jumps from one event
to the next; events of the same instant happen in the order in which they were asked for.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

MS = 1_000_000
"""Nanoseconds in a millisecond."""


class Loop:
    """The agenda of one simulation."""

    __slots__ = ("_agenda", "_order", "now", "steps", "stopped")

    def __init__(self) -> None:
        self.now = 0
        """Nanoseconds since the beginning."""
        self.steps = 0
        """Events that have happened."""
        self.stopped = False
        """Set by whoever has seen enough: `run` returns after the present event."""
        self._agenda: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = 0

    def at(self, when_ns: int, action: Callable[..., object], *args: Any) -> None:
        """Calls `action(*args)` at `when_ns`, or next if that has passed. Nothing is ever taken back:
        an action that may have become pointless looks for itself."""
        self._order += 1
        heappush(self._agenda, (when_ns, self._order, action, args))

    def after(self, delay_ns: int, action: Callable[..., object], *args: Any) -> None:
        """As `at`, counted from now."""
        self._order += 1
        heappush(self._agenda, (self.now + delay_ns, self._order, action, args))

    def run(self, until_ns: int) -> None:
        """Lets things happen up to and including `until_ns`, or until one of them sets `stopped`."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= until_ns:
            when, _, action, args = heappop(agenda)
            if when > self.now:
                self.now = when
            self.steps += 1
            action(*args)
            if self.stopped:
                return
        self.now = max(self.now, until_ns)
