"""The configurations in a member's log: a truncation goes back to the one before (thesis, 4.1)."""

from collections.abc import Iterable

from .configuration import Configuration


class ConfigurationHistory:
    """The configuration of the snapshot, and those of the entries behind it, oldest first."""

    __slots__ = ("_known",)

    def __init__(self, index: int, configuration: Configuration) -> None:
        self._known = [(index, configuration)]

    @property
    def latest(self) -> Configuration:
        """The one in force."""
        return self._known[-1][1]

    @property
    def latest_index(self) -> int:
        """The index of its entry, or of the snapshot that holds it."""
        return self._known[-1][0]

    @property
    def base(self) -> Configuration:
        """The snapshot's."""
        return self._known[0][1]

    def extend(self, configurations: Iterable[tuple[int, Configuration]]) -> None:
        """Entries with these indexes were appended."""
        self._known += configurations

    def truncate(self, last: int) -> None:
        """The log ends at `last` now."""
        known = self._known
        while len(known) > 1 and known[-1][0] > last:
            known.pop()

    def compact(self, index: int) -> None:
        """The log up to `index` is in a snapshot now."""
        known = self._known
        while len(known) > 1 and known[1][0] <= index:
            del known[0]

    def at(self, index: int) -> Configuration:
        """The latest up to `index`; raises ValueError for an index before the snapshot."""
        for known, configuration in reversed(self._known):
            if known <= index:
                return configuration
        raise ValueError(
            f"the configuration at {index} is compacted; known are those from {self._known[0][0]} on"
        )

    def since(self, index: int) -> list[Configuration]:
        """The latest up to `index`, and those that came after it."""
        later = [configuration for at, configuration in self._known if at > index]
        return [self.at(max(index, self._known[0][0])), *later]
