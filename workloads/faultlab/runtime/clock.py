"""Time, as an object: whatever needs it is handed one, so that a simulator can hand it another."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Reads two clocks that need not agree."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never run backwards; CLOCK_MONOTONIC, shared by all processes of one kernel."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970, UTC; may jump, in either direction."""
        ...

    def wall_time(self) -> str:
        """The same as RFC 3339 with microseconds: `2026-01-02T03:04:05.000006Z`."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def wall_time(self) -> str:
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
