"""What a search has seen: Lowe's memoisation, with the info operations that were used up weighed.

Two configurations that agree in everything but the info operations they have put in are not equal: the one
that used fewer can do all that the other can. So of each only the least sets are kept, as bit masks.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Visited(Generic[K]):
    """Configurations by key, each with the least sets of used info operations that reached it."""

    __slots__ = ("_least",)

    def __init__(self) -> None:
        self._least: dict[K, int | list[int]] = {}

    def __len__(self) -> int:
        return len(self._least)

    def seen(self, key: K, used: int) -> bool:
        """Whether a configuration at least as good was visited; if not, this one is remembered."""
        before = self._least.get(key)
        if before is None:
            self._least[key] = used
            return False
        if isinstance(before, int):
            if before & used == before:
                return True
            before = [before]
        for other in before:
            if other & used == other:
                return True
        self._least[key] = [*(other for other in before if used & other != used), used]
        return False
