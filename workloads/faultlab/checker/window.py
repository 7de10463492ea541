"""Of a history that has no order, a few operations that have none either.

Every cut below is fair: it turns no history that has an order into one that has none, so a window that
has none convicts the whole. In this order:

1. *The end.* Operations after some return are left out; those then still open become info. An
   order of the whole, up to that return's place, is one of the prefix. The shortest prefix without an order
   is taken.
2. *Leaving out.* Reads may be left out, and writes whose value nobody left needs (`Model.unseen` says why).
   All but the last few to return are tried first, then halves, quarters, ... and single operations, until
   none can go.
3. *The beginning.* Where that leaves many: operations that returned before some moment are left out, with
   whatever state they led to as the start: none at all may do. Operations open at that moment may have taken
   effect before it, so their updates become info and their reads go. Then again 2.

Where the first step takes too long, short stretches of the history are tried one after another, cut at
both ends as in 1 and 3.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from faultlab.checker.models import Model
from faultlab.history.operations import Operation

_CHECK_BUDGET = 100_000
_SMALL = 8
_STRETCHES = (32, 128, 512)


def until(model: Model, part: Sequence[Operation], moment: int) -> list[Operation]:
    """What was invoked up to `moment`; what returned after it becomes info, and goes if it only reads.

    Fair: an order of the whole, up to that moment, is one of this.
    """
    result = []
    for operation in part:
        if operation.end is not None and operation.end <= moment:
            result.append(operation)
        elif operation.start <= moment:
            result.extend(_open_ended(model, operation))
    return result


def since(model: Model, part: Sequence[Operation], moment: int) -> list[Operation]:
    """What returned after `moment`; what was invoked up to then becomes info, and goes if it only reads.

    Fair where any state may be the first: an order of the whole, from the last that had returned on, is one
    of this, with those left out that took effect before.
    """
    result = []
    for operation in part:
        if operation.end is None or operation.start > moment:
            result.append(operation)
        elif operation.end > moment:
            result.extend(_open_ended(model, operation))
    return result


def _open_ended(model: Model, operation: Operation) -> list[Operation]:
    if model.reads_only(operation):
        return []
    return [msgspec.structs.replace(operation, outcome="info", end=None, result=None)]


class Window(NamedTuple):
    """Operations without an order, as they were searched: those open at the end or start are info."""

    operations: list[Operation]
    from_start: bool
    """False: there is no order from any state."""
    minimal: bool
    """Whether leaving out any more (fairly) was found to give an order; False when time ran out."""


def find_window(model: Model, part: Sequence[Operation], furthest: int, deadline: float) -> Window:
    """A window of `part`, which has no order; `furthest` returns are known to have one.

    Out of time gives a larger window, never a wrong one: each was found to have no order.
    """
    shrink = _Shrink(model, deadline)
    prefix, shortest = shrink.cut_end(list(part), furthest)
    if not shortest:
        stretch = shrink.sweep(list(part), furthest)
        if stretch is not None:
            kept, minimal = shrink.leave_out(stretch, from_start=False, until_s=deadline)
            return Window(kept, False, minimal)
    best = Window(prefix, True, False)
    now = time.monotonic()
    kept, minimal = shrink.leave_out(prefix, from_start=True, until_s=now + (deadline - now) / 4)
    best = Window(kept, True, minimal)
    if len(kept) > _SMALL:
        tail = shrink.cut_beginning(prefix)
        if tail is not None:
            other, minimal = shrink.leave_out(tail, from_start=False, until_s=deadline)
            if len(other) < len(kept):
                best = Window(other, False, minimal)
    return best


class _Shrink:
    def __init__(self, model: Model, deadline: float) -> None:
        self._model = model
        self._deadline = deadline

    def _has_order(self, operations: Sequence[Operation]) -> bool | None:
        """Whether they have one from the initial state; None: it would take too long to say."""
        return self._model.search(operations).run(_CHECK_BUDGET, self._deadline)

    def _has_none(self, operations: Sequence[Operation], *, from_start: bool = True) -> bool:
        """Whether it is certain that the operations have no order."""
        if from_start:
            return self._has_order(operations) is False
        searches = self._model.searches_from_any(operations)
        return searches is not None and all(
            search.run(_CHECK_BUDGET, self._deadline) is False for search in searches
        )

    def cut_end(self, part: list[Operation], furthest: int) -> tuple[list[Operation], bool]:
        """The shortest prefix without an order; (a longer one, False) where that is not quickly found."""
        ends = sorted(operation.end for operation in part if operation.end is not None)
        low, high = furthest, len(ends)
        best = part
        middle = low + 1
        now = time.monotonic()
        quickly = now + (self._deadline - now) / 3
        while low + 1 < high and time.monotonic() < quickly:
            prefix = until(self._model, part, ends[middle - 1])
            found = self._has_order(prefix)
            if found is None:
                return best, False
            if found:
                low = middle
            else:
                high, best = middle, prefix
            middle = (low + high) // 2
        return best, low + 1 >= high

    def sweep(self, part: list[Operation], furthest: int) -> list[Operation] | None:
        """A short stretch of the history that no state leads through, anywhere after `furthest` returns."""
        if self._model.searches_from_any(()) is None:
            return None
        ends = sorted(operation.end for operation in part if operation.end is not None)
        for size in _STRETCHES:
            for last in range(furthest + 1, len(ends) + size // 2, size // 2):
                if time.monotonic() > self._deadline:
                    return None
                prefix = until(self._model, part, ends[min(last, len(ends)) - 1])
                stretch = since(self._model, prefix, ends[last - size - 1]) if last > size else prefix
                if self._has_none(stretch, from_start=False):
                    return stretch
        return None

    def cut_beginning(self, prefix: list[Operation]) -> list[Operation] | None:
        """The latest beginning from which no state leads on; None where none was found."""
        if self._model.searches_from_any(()) is None:
            return None
        ends = sorted(operation.end for operation in prefix if operation.end is not None)
        low, high, best = -1, len(ends), None
        step = 2
        while low + 1 < high and time.monotonic() < self._deadline:
            # From the end in growing steps until a tail has no order, then halfway between.
            middle = max(0, len(ends) - step) if best is None else (low + high) // 2
            tail = since(self._model, prefix, ends[middle - 1]) if middle else prefix
            if self._has_none(tail, from_start=False):
                low, best = middle, tail
            else:
                high, step = middle, 2 * step
        return best

    def _last_ones(self, operations: list[Operation], *, from_start: bool, until_s: float) -> list[Operation]:
        """The last 1, 2, 4, ... to return with what must stay for them, as soon as they have no order.

        The last to return is always among the guilty; and operations that only stay because of each other
        would not be found one by one.
        """
        by_end = sorted(
            (place for place in range(len(operations)) if operations[place].end is not None),
            key=lambda place: -(operations[place].end or 0),
        )
        count = 1
        while count < len(by_end) and time.monotonic() < until_s:
            kept = set(by_end[:count])
            kept |= self._model.unseen(operations, kept)
            trial = [operations[place] for place in sorted(kept)]
            if len(trial) < len(operations) and self._has_none(trial, from_start=from_start):
                return trial
            count *= 2
        return operations

    def leave_out(
        self, operations: list[Operation], *, from_start: bool, until_s: float
    ) -> tuple[list[Operation], bool]:
        """What is left when no more can be left out fairly, and whether there was time for all of it."""
        kept = self._last_ones(operations, from_start=from_start, until_s=until_s)
        chunk = max(1, len(kept) // 2)
        while True:
            changed = False
            position = 0
            while position < len(kept):
                if time.monotonic() > until_s:
                    return kept, False
                left = set(range(len(kept))) - set(range(position, position + chunk))
                left |= self._model.unseen(kept, left)
                trial = [kept[place] for place in sorted(left)]
                if len(trial) < len(kept) and self._has_none(trial, from_start=from_start):
                    kept, changed = trial, True
                else:
                    position += chunk
            if chunk == 1 and not changed:
                return kept, True
            chunk = max(1, chunk // 2)
