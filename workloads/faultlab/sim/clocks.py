"""The two clocks of a machine: a monotonic one that drifts, and a wall clock that jumps as well."""

from datetime import UTC, datetime, timedelta

from .loop import MS, Loop

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_EPOCH_MS = int(_EPOCH.timestamp() * 1000)


class MachineClock:
    """`runtime/clock.py`'s Clock in virtual time, and a scheduler's `time`."""

    __slots__ = ("_loop", "_offset_ns", "_since_ns", "_then_ns", "rate")

    def __init__(self, loop: Loop, rate: float, started_ns: int, offset_ns: int) -> None:
        """`rate`: how many of its seconds pass in one of the world's; `started_ns`: where it stands now."""
        self._loop = loop
        self._since_ns = loop.now
        self._then_ns = started_ns
        self._offset_ns = offset_ns
        self.rate = rate

    def monotonic_ns(self) -> int:
        """Never runs backwards, whatever the drift."""
        return self._then_ns + int((self._loop.now - self._since_ns) * self.rate)

    def wall_ms(self) -> int:
        """Milliseconds since 1970 as this machine believes."""
        return _EPOCH_MS + (self.monotonic_ns() + self._offset_ns) // MS

    def wall_time(self) -> str:
        """RFC 3339, UTC."""
        moment = _EPOCH + timedelta(microseconds=(self.monotonic_ns() + self._offset_ns) // 1000)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def drift(self, rate: float) -> None:
        """Runs at another speed from now on."""
        self._then_ns = self.monotonic_ns()
        self._since_ns = self._loop.now
        self.rate = rate

    def jump(self, by_ns: int) -> None:
        """The wall clock is set; the monotonic one is not."""
        self._offset_ns += by_ns

    def world_ns(self, local_ns: float) -> int:
        """How long so much of this clock's time takes in the world."""
        return int(local_ns / self.rate)
