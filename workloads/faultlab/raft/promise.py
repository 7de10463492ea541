"""A voter's promise to its leader, which leases rest on (lease.py): no vote for anybody for a while.

A member says with each answer to a heartbeat how long it keeps silent towards candidates from when that came:
its own election timeout with leases on, nothing with leases off. Members need not agree on that, so a setting
may be changed in one member after another.

A promise outlives the process that made it. So the longest that may still bind is part of the hard state: it
is synced before the first answer that carries it goes out, and whoever starts keeps silent for that long, not
knowing when it was made last, whatever its settings say by now. Once that is over, what it promises now is
the longest.
"""

from collections.abc import Callable

from .config import CoreConfig


class Promise:
    """One member's, on its own monotonic clock. Where leases are off, and were, it looks at no clock."""

    __slots__ = ("_before_until_ns", "_clock_ns", "_until_ns", "length_ns", "longest_ns", "synced")

    def __init__(self, config: CoreConfig, kept_ns: int, clock_ns: Callable[[], int]) -> None:
        """A member starts now; `kept_ns` is the longest that it may have promised before."""
        self._clock_ns = clock_ns
        self.length_ns = config.election_ticks * config.tick_ns if config.lease else 0
        """What it promises from now on; 0: nothing."""
        self.longest_ns = max(kept_ns, self.length_ns)
        """For the hard state."""
        self.synced = kept_ns >= self.length_ns
        """Whether the hard state on disk covers `length_ns`."""
        self._until_ns = clock_ns() + self.longest_ns if self.longest_ns else 0
        self._before_until_ns = self._until_ns

    @property
    def binds(self) -> bool:
        """Whether this member must keep silent now."""
        return self._until_ns > 0 and self._clock_ns() < self._until_ns

    def renew(self) -> None:
        """The leader is heard."""
        if self.length_ns:
            self._until_ns = max(self._until_ns, self._clock_ns() + self.length_ns)

    def outlive(self) -> None:
        """Forgets what was promised before the start, once that is over."""
        if self.longest_ns > self.length_ns and self._clock_ns() >= self._before_until_ns:
            self.longest_ns = self.length_ns
