"""What the operations still out will need, for a search to give up a state that cannot lead there.

Each of these only ever says "doomed" where no order can go on; saying nothing costs time, not truth.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import cast

from faultlab.checker.kv_kinds import ANY, UNSEEN_NUMBER, number
from faultlab.checker.timeline import Timeline

Beginning = tuple[int, int]
NOWHERE: Beginning = (-1, -1)
_MOST_ORPHANS = 3


class Beginnings:
    """Strings as places in the answers that gets gave: all that matters of a string is which it begins.

    A state is (number of the first answer in alphabetic order that begins with the string, its length), or
    NOWHERE, which stands for all strings that no answer begins with. No strings are kept for states.
    """

    def __init__(self, answers: Iterable[str]) -> None:
        self._answers = sorted(set(answers))

    def place(self, text: str) -> Beginning:
        """The state that stands for `text`."""
        number = bisect_left(self._answers, text)
        if number < len(self._answers) and self._answers[number].startswith(text):
            return number, len(text)
        return NOWHERE

    def append(self, state: Beginning, text: str) -> Beginning:
        """The state after `text` was appended."""
        number, length = state
        if state == NOWHERE:
            return NOWHERE
        if self._answers[number].startswith(text, length):
            return number, length + len(text)
        return self.place(self._answers[number][:length] + text)

    def leads_to(self, state: Beginning, answer: str) -> bool:
        """Whether `answer` begins with the string that the state stands for."""
        number, length = state
        return state != NOWHERE and answer[:length] == self._answers[number][:length]


class StringForesight:
    """For strings with put and append: what the next get to return will show.

    `kinds` are (f, text) of the certain operations by their returns, `lost_puts` (first frontier, text) of
    the puts that may take effect at any time.
    """

    def __init__(
        self,
        timeline: Timeline,
        kinds: Sequence[tuple[str, str]],
        lost_puts: Sequence[tuple[int, str]],
        beginnings: Beginnings,
    ) -> None:
        self._timeline = timeline
        self._beginnings = beginnings
        self._gets = [index for index, (f, _) in enumerate(kinds) if f == "get"]
        self._texts = {index: kinds[index][1] for index in self._gets}
        puts: dict[str, list[tuple[int, int]]] = {}
        for index, (f, text) in enumerate(kinds):
            if f == "put":
                puts.setdefault(text, []).append((timeline.opens[index], index))
        for opens, text in lost_puts:
            puts.setdefault(text, []).append((opens, len(kinds)))
        self._last_put = self._last_puts(puts)

    def _last_puts(self, puts: Mapping[str, list[tuple[int, int]]]) -> dict[int, int]:
        """For each get, the last return of the puts that may come before it and lead to its answer."""
        table = {}
        for text, found in puts.items():
            found.sort()
            table[text] = ([opens for opens, _ in found], list(accumulate((end for _, end in found), max)))
        lengths = sorted({len(text) for text in puts})
        result = {}
        for index in self._gets:
            last = -1
            for length in lengths:
                known = table.get(self._texts[index][:length])
                if known is not None and length <= len(self._texts[index]):
                    before = bisect_right(known[0], index)
                    last = max(last, known[1][before - 1] if before else -1)
            result[index] = last
        return result

    def doomed(self, state: Hashable, frontier: int, mask: int) -> bool:
        """Whether the state does not lead to what the next get shows, and no put can change that."""
        timeline = self._timeline
        for place in range(bisect_left(self._gets, frontier), len(self._gets)):
            index = self._gets[place]
            if timeline.opens[index] > frontier or not mask & timeline.bits[index]:
                return self._last_put[index] < frontier and not self._beginnings.leads_to(
                    cast(Beginning, state), self._texts[index]
                )
        return False


class ValueForesight:
    """For one cell of the KV: values that operations still out need, and that nothing still out can make.

    `needs` are, for each certain operation by its return, the values it may need (one, or it counts for
    nothing here); `last_makers` the last return of the operations that may make a value; `slack` how far
    numbers may be moved up by operations that may happen at any time.
    """

    def __init__(
        self,
        timeline: Timeline,
        needs: Sequence[tuple[str | None, ...]],
        last_makers: Mapping[str | None, int],
        slack: int,
    ) -> None:
        self._timeline = timeline
        self._slack = slack
        self._observers: dict[str | None, list[int]] = {}
        for index, need in enumerate(needs):
            if len(need) == 1:
                self._observers.setdefault(need[0], []).append(index)
        self._last_makers = last_makers
        self._made_numbers: dict[int, int] = {}
        for value, last in last_makers.items() if slack else ():
            made = number(value)
            if made is not None:
                self._made_numbers[made] = max(last, self._made_numbers.get(made, -1))
        self._sorted_numbers = sorted(self._made_numbers)
        self._orphans = self._sweep()

    def _last_maker(self, value: str | None) -> int:
        last = self._last_makers.get(value, -1)
        needed = number(value)
        if self._slack and value is not None and needed is not None:
            low = bisect_left(self._sorted_numbers, needed - self._slack)
            high = bisect_right(self._sorted_numbers, needed)
            near = self._sorted_numbers[low:high]
            last = max(last, max((self._made_numbers[made] for made in near), default=-1))
        return last

    def _sweep(self) -> list[tuple[str | None, ...]]:
        """For each frontier some of the values that are needed from there on and cannot be made any more."""
        intervals = sorted(
            (last + 1, -observers[-1], place, value)
            for place, (value, observers) in enumerate(self._observers.items())
            if observers[-1] > (last := self._last_maker(value))
        )
        result: list[tuple[str | None, ...]] = []
        active: list[tuple[int, int, str | None]] = []
        position = 0
        for frontier in range(self._timeline.count):
            while position < len(intervals) and intervals[position][0] <= frontier:
                _, end, place, value = intervals[position]
                heapq.heappush(active, (end, place, value))
                position += 1
            while active and -active[0][0] < frontier:
                heapq.heappop(active)
            result.append(tuple(value for _, _, value in active[:_MOST_ORPHANS]))
        return result

    def doomed(self, state: Hashable, frontier: int, mask: int) -> bool:
        """Whether some operation still out needs a value that is neither there nor can come back."""
        assert isinstance(state, tuple)
        there = state[0]
        return there != ANY and any(
            value != there and not self._reaches(there, value) and self._still_needed(value, frontier, mask)
            for value in self._orphans[frontier]
        )

    def _reaches(self, there: str | None, value: str | None) -> bool:
        """Whether unseen counting may lead from one to the other."""
        if not self._slack or value is None:
            return False
        low, high = number(there), number(value)
        return there == UNSEEN_NUMBER or (
            low is not None and high is not None and low <= high <= low + self._slack
        )

    def _still_needed(self, value: str | None, frontier: int, mask: int) -> bool:
        timeline = self._timeline
        for index in reversed(self._observers[value]):
            if index < frontier:
                return False
            if timeline.opens[index] > frontier or not mask & timeline.bits[index]:
                return True
        return False
