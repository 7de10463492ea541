"""The real-time order of one partition's operations, as a search needs it.

A search walks over the *returns* of the operations that certainly happened, numbered 0..n-1 in the
order in which they returned. At frontier f all operations before f are in the order already, and f
must be the next that is made to fit. Those that may come next are the operations open at f: invoked
no later than f returned (equal times are concurrent), and not yet in the order.

Lowe's memoisation remembers (set of operations in the order, state). Since everything before f is in
and everything that is not open at f is out, (f, which of the open ones are in) says the same; each
open operation holds a slot, one bit of a small mask, from its invocation to its return. So the bitset
is as wide as the concurrency, not as the history.
"""

import heapq
from bisect import bisect_left
from collections.abc import Sequence


class Timeline:
    """Slots and open sets for operations given by their starts and ends (ends in ascending order).

    `infos` are the starts of the operations that may take effect at any later time or never: they hold no
    slot; `info_from[i]` is the first frontier at which the i-th may be used (n if there is none).
    """

    def __init__(self, starts: Sequence[int], ends: Sequence[int], infos: Sequence[int]) -> None:
        count = len(starts)
        self.count = count
        self.opens = [bisect_left(ends, start) for start in starts]
        """For each operation, the first frontier at which it is open."""
        self.info_from = [bisect_left(ends, start) for start in infos]
        self.bits = [0] * count
        self.open: list[tuple[int, ...]] = []
        """For each frontier, the operations that are open there, earliest return first."""
        self.width = 0
        self._assign(starts)

    def _assign(self, starts: Sequence[int]) -> None:
        arrivals = sorted(range(self.count), key=lambda index: (self.opens[index], starts[index], index))
        slots = [0] * self.count
        free: list[int] = []
        position = 0
        present: list[int] = []
        for frontier in range(self.count):
            while position < self.count and self.opens[arrivals[position]] <= frontier:
                index = arrivals[position]
                position += 1
                if free:
                    slots[index] = heapq.heappop(free)
                else:
                    slots[index] = self.width
                    self.width += 1
                self.bits[index] = 1 << slots[index]
                present.append(index)
            present.sort()
            self.open.append(tuple(present))
            present.remove(frontier)
            heapq.heappush(free, slots[frontier])

    @property
    def memory_bytes(self) -> int:
        """What the open sets take, roughly."""
        return 150 * self.count + 8 * sum(map(len, self.open))
