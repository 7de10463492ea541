"""Turns time into ticks, without letting a stall of the process become a burst of them.

A core counts time in ticks. When the loop comes late, the ticks missed are caught up with, but never
more than `max_catch_up` at once: the rest is forgotten. So a process that was stopped (SIGSTOP, a
swapped-out VM) for ten seconds wakes to a few ticks, reads what its peers sent meanwhile, and does not
depose a healthy leader. The price is that its own timeouts stretch by the length of the stall.
"""

import asyncio
from collections.abc import Callable

_EARLY_S = 0.001
"""libuv's clock counts whole milliseconds: a timer that fires so much early is on time."""


class Ticker:
    """Calls `on_ticks(count)` about every `tick_s` seconds, with how many ticks have passed."""

    def __init__(self, tick_s: float, max_catch_up: int, on_ticks: Callable[[int], None]) -> None:
        if tick_s <= 0 or max_catch_up < 1:
            raise ValueError(f"tick_s {tick_s} must be positive and max_catch_up {max_catch_up} at least 1")
        self._tick_s = tick_s
        self._max_catch_up = max_catch_up
        self._on_ticks = on_ticks
        self._next_at = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self.forgotten = 0
        """Ticks that stalls have swallowed since the start."""

    def start(self) -> None:
        """Begins to tick on the running loop."""
        loop = asyncio.get_running_loop()
        self._next_at = loop.time() + self._tick_s
        self._handle = loop.call_at(self._next_at, self._fire, loop)

    def stop(self) -> None:
        """No tick comes after this."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        count = self.due(now_s)
        self._handle = loop.call_at(max(self._next_at, now_s + _EARLY_S), self._fire, loop)
        if count:
            self._on_ticks(count)

    def due(self, now_s: float) -> int:
        """How many ticks to give at `now_s`, on the loop's clock; moves the schedule on."""
        late_s = now_s - self._next_at
        if late_s < -min(_EARLY_S, self._tick_s / 2):
            return 0
        passed = 1 + int(max(late_s, 0.0) / self._tick_s)
        self._next_at += passed * self._tick_s
        count = min(passed, self._max_catch_up)
        self.forgotten += passed - count
        return count
