"""The search for histories of any object that a step function describes: strings, several keys at once.

The same search as in `registers`, with states of any kind (interned, so that configurations stay small
integers) and transitions computed once for each (state, kind of operation). Of that module's
arguments 1 (reads at once), 3 (twins) and 4 (dominance) hold for every object and are used here; 2
becomes: an info operation is placed only where the next one would end otherwise (fail, or leave another
state) without it, else it can be left out. Models may add `doomed`: states from which no order can go on.
"""

import sys
import time
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from faultlab.checker.timeline import Timeline
from faultlab.checker.visited import Visited

State = Hashable
StepFunction = Callable[[State, Hashable], State | None]
"""(state, kind) -> the state after, or None where that kind cannot happen. None is no state."""
DoomedFunction = Callable[[State, int, int], bool]
"""(state, frontier, mask) -> whether what is still out can certainly not be put in order."""

_IMPOSSIBLE = -1
_FREE = -1
_ENTRY_BYTES = 350


class Call(NamedTuple):
    """One operation: calls of one kind (arguments and answer) step alike.

    `reads` promises that the kind leaves every state as it is in which it can happen (states that stand for
    unknown ones excepted: there it may say which one it was).
    """

    kind: Hashable
    reads: bool
    start: int
    end: int | None


class StateSearch:
    """Looks for an order of `calls` from state `initial`; `run` may be called until it has an answer."""

    def __init__(self, calls: Sequence[Call], initial: State, step: StepFunction) -> None:
        certain = sorted(
            (call.end, call.start, number) for number, call in enumerate(calls) if call.end is not None
        )
        maybe = sorted((call.start, number) for number, call in enumerate(calls) if call.end is None)
        self.numbers = [number for _, _, number in certain]
        self.ends = [end for end, _, _ in certain if end is not None]
        self.timeline = Timeline([start for _, start, _ in certain], self.ends, [start for start, _ in maybe])
        self._step = step
        self._kinds: list[Hashable] = []
        numbers: dict[Hashable, int] = {}
        self._kind_of = [self._kind_number(calls[number].kind, numbers) for number in self.numbers]
        self._reads = [calls[number].reads for number in self.numbers]
        self._infos: dict[int, list[int]] = {}
        for number, (_, call) in enumerate(maybe):
            self._infos.setdefault(self._kind_number(calls[call].kind, numbers), []).append(number)
        self._transitions: list[dict[int, int]] = [{} for _ in self._kinds]
        self._states: list[State] = [initial]
        self._state_numbers: dict[State, int] = {initial: 0}
        self.doomed: DoomedFunction | None = None
        self.explored = 0
        self.furthest = 0
        self.state_bytes = 0
        self._visited: Visited[tuple[int, int, int, int]] = Visited()
        self._stack: list[tuple[int, int, int, int, int]] = [(0, 0, 0, _FREE, 0)]

    def _kind_number(self, kind: Hashable, numbers: dict[Hashable, int]) -> int:
        number = numbers.setdefault(kind, len(self._kinds))
        if number == len(self._kinds):
            self._kinds.append(kind)
        return number

    @property
    def memory_bytes(self) -> int:
        """What the configurations, states and transitions remembered take, estimated generously."""
        entries = len(self._visited) + len(self._stack)
        return (
            _ENTRY_BYTES * (entries + 2 * len(self._states)) + self.state_bytes + self.timeline.memory_bytes
        )

    def run(self, budget: int, deadline: float) -> bool | None:
        """Explores up to `budget` configurations more, until time.monotonic() is past `deadline`.

        True: there is an order. False: there is none. None: not known yet.
        """
        stack = self._stack
        limit = self.explored + budget
        while stack:
            if self.explored >= limit or (self.explored & 255 == 255 and time.monotonic() > deadline):
                return None
            self.explored += 1
            frontier, mask, state, before, used = stack.pop()
            frontier, mask, before = self._settle(frontier, mask, state, before)
            if frontier > self.furthest:
                self.furthest = frontier
            if frontier == self.timeline.count:
                return True
            if self.doomed is not None and self.doomed(self._states[state], frontier, mask):
                continue
            if not self._visited.seen((frontier, mask, state, before), used):
                self._push_successors(frontier, mask, state, before, used)
        return False

    def _next(self, state: int, kind: int) -> int:
        known = self._transitions[kind].get(state)
        if known is not None:
            return known
        after = self._step(self._states[state], self._kinds[kind])
        if after is None:
            number = _IMPOSSIBLE
        else:
            number = self._state_numbers.setdefault(after, len(self._states))
            if number == len(self._states):
                self._states.append(after)
                self.state_bytes += sys.getsizeof(after)
        self._transitions[kind][state] = number
        return number

    def _settle(self, frontier: int, mask: int, state: int, before: int) -> tuple[int, int, int]:
        """Moves the frontier over what is in the order, and puts in reads."""
        count, bits, kind_of = self.timeline.count, self.timeline.bits, self._kind_of
        reads = self._reads
        while True:
            while frontier < count and mask & bits[frontier]:
                mask ^= bits[frontier]
                frontier += 1
            if frontier == count:
                return frontier, 0, _FREE
            for index in self.timeline.open[frontier]:
                if reads[index] and not mask & bits[index] and self._next(state, kind_of[index]) == state:
                    mask |= bits[index]
                    before = _FREE
            if not mask & bits[frontier]:
                return frontier, mask, before

    def _push_successors(self, frontier: int, mask: int, state: int, before: int, used: int) -> None:
        """What may change the state next; the most promising last, for the stack to take it first.

        `before` is the state in which an info operation was just placed (_FREE: none was): then only
        operations may follow that end otherwise without it.
        """
        bits, kind_of = self.timeline.bits, self._kind_of
        wanted = kind_of[frontier]
        kinds: set[int] = set()
        certain: list[tuple[int, int, int, int, int]] = []
        for index in self.timeline.open[frontier]:
            kind = kind_of[index]
            if mask & bits[index] or kind in kinds:
                continue
            kinds.add(kind)
            after = self._next(state, kind)
            if after == state and self._reads[index]:
                continue
            if after != _IMPOSSIBLE and (before == _FREE or self._next(before, kind) != after):
                certain.append((frontier, mask | bits[index], after, _FREE, used))
        self._push_infos(frontier, mask, state, before, used, kinds)
        promising = next(
            (
                place
                for place, successor in enumerate(certain)
                if self._next(successor[2], wanted) != _IMPOSSIBLE
            ),
            None,
        )
        if promising is not None:
            certain.insert(0, certain.pop(promising))
        certain.reverse()
        self._stack.extend(certain)

    def _push_infos(
        self, frontier: int, mask: int, state: int, before: int, used: int, certain: set[int]
    ) -> None:
        """Info operations, those first that let the next return happen; none of `certain` kinds."""
        wanted = self._kind_of[frontier]
        promising: list[tuple[int, int, int, int, int]] = []
        for kind, numbers in self._infos.items():
            if kind in certain:
                continue
            number = next((number for number in numbers if not used >> number & 1), None)
            if number is None or self.timeline.info_from[number] > frontier:
                continue
            after = self._next(state, kind)
            if after in (_IMPOSSIBLE, state) or (before != _FREE and self._next(before, kind) == after):
                continue
            successor = (frontier, mask, after, state, used | 1 << number)
            if self._next(after, wanted) != _IMPOSSIBLE:
                promising.append(successor)
            else:
                self._stack.append(successor)
        self._stack.extend(promising)
