"""The search for histories of one register: read, write, compare-and-set (a mutex is one as well).

Wing and Gong's search ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memoisation
("Testing for Linearizability", 2017): depth first over configurations (which operations are in the
order, state), each visited once. An operation is a pair (need, make): it happens only in state
`need` (NOTHING: in any) and leaves `make` (NOTHING: what was there). What is cut off, and why
nothing is lost:

1. *Reads at once.* A read that may come next and agrees with the state comes next, with no alternative:
   whatever order completes the history, moving the read to the front changes no state, and no
   operation that is still out returned before it was invoked. (This holds for reads only: a write of the
   value that is there already may be needed later, to make that value again.)
2. *Info last.* An operation that may never have happened need not be in the order. Where the next operation
   after it does not need the value it makes, it can be left out; so it is placed only where an
   operation that may come next needs that value.
3. *Twins.* Of open operations with the same need and make, the one that returns first goes first, and
   certain ones before info ones: in any order that does otherwise the two can be exchanged. Of info
   twins the earliest invoked is used first.
4. *Dominance.* A configuration that used a superset of another's info operations, all else being equal,
   reaches nothing that the other does not: info operations are never forced.
5. *The last chance to be read.* Where an operation that is still out needs the present value, and
   nothing that is still out can make it again, the value must not be overwritten before.
6. *Dead values.* A value that no operation still out needs is as good as any other such value (DEAD). Dead
   writes that may come next are put directly before the next overwriting, where nobody sees them.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from faultlab.checker.timeline import Timeline
from faultlab.checker.visited import Visited

NOTHING = -1
DEAD = 0
_NEVER = 1 << 60
_ENTRY_BYTES = 200


class Step(NamedTuple):
    """One operation of a register, its values numbered from 1."""

    need: int
    make: int
    start: int
    end: int | None
    """None: it may take effect at any time after `start`, or never."""


class RegisterSearch:
    """Looks for an order of `steps`; `run` may be called until it has an answer.

    It starts from value `initial`, or where that is None from any value at all: the search then begins in
    a state of its own, START, that any value which an operation needs may replace, and which never returns.
    """

    def __init__(self, steps: Sequence[Step], initial: int | None, values: int) -> None:
        certain = sorted(
            (step.end, step.start, number) for number, step in enumerate(steps) if step.end is not None
        )
        maybe = sorted((step.start, number) for number, step in enumerate(steps) if step.end is None)
        self.numbers = [number for _, _, number in certain]
        """For each return, the step's place in `steps`."""
        self.ends = [end for end, _, _ in certain if end is not None]
        self.timeline = Timeline([start for _, start, _ in certain], self.ends, [start for start, _ in maybe])
        self.needs: list[int] = []
        self.makes: list[int] = []
        for number in self.numbers:
            need, make = steps[number].need, steps[number].make
            self.needs.append(need)
            self.makes.append(NOTHING if make == need else make)
        self._start = values + 1
        self._states = values + 2
        self._study_infos([steps[number] for _, number in maybe])
        self._study_values(initial)
        self.explored = 0
        self.furthest = 0
        """The largest frontier reached: all returns before it can be put in order."""
        self._visited: Visited[int] = Visited()
        self._stack: list[tuple[int, int, int, int]] = [
            (0, 0, self._start if initial is None else initial, 0)
        ]

    def _study_infos(self, infos: list[Step]) -> None:
        self._info_by_make: dict[int, list[int]] = {}
        """For each class of info twins, keyed by what it makes: the class numbers."""
        self._info_classes: list[tuple[int, int, list[int]]] = []
        classes: dict[tuple[int, int], int] = {}
        for number, info in enumerate(infos):
            if info.make in (NOTHING, info.need):
                continue  # changes nothing, so never needed
            twin = classes.setdefault((info.need, info.make), len(self._info_classes))
            if twin == len(self._info_classes):
                self._info_classes.append((info.need, info.make, []))
                self._info_by_make.setdefault(info.make, []).append(twin)
            self._info_classes[twin][2].append(number)
        self._conditional = [twin for twin, (need, _, _) in enumerate(self._info_classes) if need != NOTHING]

    def _study_values(self, initial: int | None) -> None:
        makers = [int(initial is None or value == initial) for value in range(self._states)]
        last_maker = [-1] * self._states
        self._observers: list[list[int]] = [[] for _ in range(self._states)]
        for index, (need, make) in enumerate(zip(self.needs, self.makes, strict=True)):
            if need != NOTHING:
                self._observers[need].append(index)
            if make != NOTHING:
                makers[make] += 1
                last_maker[make] = index
        for _, make, numbers in self._info_classes:
            makers[make] += len(numbers)
            last_maker[make] = _NEVER
        # A value with one maker is never made again once it was there.
        self._last_maker = [
            -1 if count <= 1 else last for count, last in zip(makers, last_maker, strict=True)
        ]
        self._last_observer = [observers[-1] if observers else -1 for observers in self._observers]
        self._last_observer[self._start] = _NEVER
        for twin in self._conditional:
            self._last_observer[self._info_classes[twin][0]] = _NEVER

    @property
    def memory_bytes(self) -> int:
        """What the configurations remembered take, estimated generously."""
        return _ENTRY_BYTES * (len(self._visited) + len(self._stack)) + self.timeline.memory_bytes

    def run(self, budget: int, deadline: float) -> bool | None:
        """Explores up to `budget` configurations more, until time.monotonic() is past `deadline`.

        True: there is an order. False: there is none. None: not known yet.
        """
        stack = self._stack
        limit = self.explored + budget
        while stack:
            if self.explored >= limit or (self.explored & 1023 == 1023 and time.monotonic() > deadline):
                return None
            self.explored += 1
            settled = self._settle(*stack.pop())
            if settled is None:
                continue
            frontier, mask, state, used = settled
            if frontier > self.furthest:
                self.furthest = frontier
            if frontier == self.timeline.count:
                return True
            if self._visited.seen(((frontier * self._states + state) << self.timeline.width) | mask, used):
                continue
            stack.extend(self._successors(frontier, mask, state, used))
        return False

    def _settle(self, frontier: int, mask: int, state: int, used: int) -> tuple[int, int, int, int] | None:
        """Moves the frontier over what is in the order, and puts in reads and dead writes (1, 6)."""
        count, bits, opened = self.timeline.count, self.timeline.bits, self.timeline.open
        needs, makes, last_observer = self.needs, self.makes, self._last_observer
        while True:
            while frontier < count and mask & bits[frontier]:
                mask ^= bits[frontier]
                frontier += 1
            if frontier == count:
                return frontier, 0, DEAD, used
            if last_observer[state] < frontier:
                state = DEAD
            moved = False
            for index in opened[frontier]:
                if mask & bits[index]:
                    continue
                make = makes[index]
                if make == NOTHING:
                    harmless = needs[index] == state
                else:
                    harmless = state == DEAD and needs[index] == NOTHING and last_observer[make] < frontier
                if harmless:
                    mask |= bits[index]
                    moved = True
            if not moved or not mask & bits[frontier]:
                return frontier, mask, state, used

    def _successors(self, frontier: int, mask: int, state: int, used: int) -> list[tuple[int, int, int, int]]:
        """What may change the state next; the most promising last, for the stack to take it first."""
        bits, needs, makes = self.timeline.bits, self.needs, self.makes
        forced = self._forced(frontier, mask, state)
        if forced == _NEVER:
            return []
        waiting = [index for index in self.timeline.open[frontier] if not mask & bits[index]]
        if forced >= 0:
            return [(frontier, mask | bits[forced], makes[forced], used)] if forced in waiting else []
        dead = 0
        for index in waiting:
            if needs[index] == NOTHING and self._last_observer[makes[index]] < frontier:
                dead |= bits[index]
        result = self._placed_infos(frontier, mask, state, used, waiting, dead)
        wanted = needs[frontier]
        best: tuple[int, int, int, int] | None = None
        twins: set[tuple[int, int]] = set()
        candidates: list[tuple[int, int, int, int]] = []
        for index in waiting:
            need, make = needs[index], makes[index]
            if make == NOTHING or (need != NOTHING and need != state):
                continue
            if need == NOTHING and bits[index] & dead:
                make = DEAD
            if (need, make) in twins:
                continue
            twins.add((need, make))
            absorbed = dead if need == NOTHING else 0
            successor = (frontier, mask | bits[index] | absorbed, make, used)
            if make == wanted and best is None:
                best = successor
            else:
                candidates.append(successor)
        candidates.reverse()
        result.extend(candidates)
        if best is not None:
            result.append(best)
        return result

    def _forced(self, frontier: int, mask: int, state: int) -> int:
        """The only operation that may overwrite the state (5); -1: any may; _NEVER: none may."""
        if self._last_maker[state] >= frontier:
            return -1
        bits, opens = self.timeline.bits, self.timeline.opens
        found = -1
        for index in reversed(self._observers[state]):
            if index < frontier:
                break
            if opens[index] <= frontier and mask & bits[index]:
                continue
            if found >= 0 or self.makes[index] == NOTHING:
                return _NEVER
            found = index
        return found

    def _placed_infos(
        self, frontier: int, mask: int, state: int, used: int, waiting: list[int], dead: int
    ) -> list[tuple[int, int, int, int]]:
        """Info operations whose value something that may come next needs (2, 3)."""
        if not self._info_classes and state != self._start:
            return []
        wanted = {self.needs[index] for index in waiting}
        for twin in self._conditional:
            if self._next_info(twin, frontier, used) is not None:
                wanted.add(self._info_classes[twin][0])
        wanted -= {NOTHING, state}
        certain = {(self.needs[index], self.makes[index]) for index in waiting}
        result = []
        for value in sorted(wanted, key=lambda value: (value == self.needs[frontier], value)):
            if state == self._start:
                result.append((frontier, mask, value, used))
            for twin in self._info_by_make.get(value, ()):
                need = self._info_classes[twin][0]
                if need not in (NOTHING, state) or (need, value) in certain:
                    continue
                number = self._next_info(twin, frontier, used)
                if number is not None:
                    absorbed = dead if need == NOTHING else 0
                    result.append((frontier, mask | absorbed, value, used | 1 << number))
        return result

    def _next_info(self, twin: int, frontier: int, used: int) -> int | None:
        for number in self._info_classes[twin][2]:
            if not used >> number & 1:
                return number if self.timeline.info_from[number] <= frontier else None
        return None
