"""The model `append`: strings with get, put and append, empty at first (the Raft labs' key-value store).

A get shows everything that was appended since the last put, so it says in which order. Two things keep
the search short and small (`foresight`): all that matters of a string is of which answers it is the
beginning, so strings that no get ever showed are one state; and a state that does not lead to what the
next get shows is given up, where no put can come between.
"""

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from typing import Any, cast

from faultlab.checker.foresight import Beginnings, StringForesight
from faultlab.checker.models import Search, refuse
from faultlab.checker.states import Call, StateSearch
from faultlab.history.operations import Operation

_GETS = ("get", "read")
_PUTS = ("put", "write")
_MOST_STARTS = 200


class AppendModel:
    """get (or read) answers the string; put (or write) replaces it; append adds to its end."""

    name = "append"

    def keys(self, operation: Operation) -> Sequence[str | None]:
        """The one key; values are strings, a get may answer null for the empty one."""
        if operation.f in _GETS:
            if operation.outcome == "ok" and not isinstance(operation.result, str | None):
                raise refuse(
                    operation, f"the answer of {operation.f} is a string or null, not {operation.result!r}"
                )
        elif operation.f in (*_PUTS, "append"):
            if not isinstance(operation.value, str):
                raise refuse(operation, f"the value of {operation.f} is a string, not {operation.value!r}")
        else:
            raise refuse(operation, f"the model append knows get, put, append, not {operation.f}")
        return (operation.key,)

    def reads_only(self, operation: Operation) -> bool:
        """Whether it is a get."""
        return operation.f in _GETS

    def search(self, operations: Sequence[Operation]) -> Search:
        """From the empty string."""
        return self._search_from(operations, "")

    def searches_from_any(self, operations: Sequence[Operation]) -> list[Search] | None:
        """From each string that leads to some get's answer by appends, and from one that leads to none.

        The first get before any put shows the start and what was appended to it, so no other start can
        do better. None where that makes more than 200.
        """
        pieces = {operation.value for operation in operations if operation.f == "append" and operation.value}
        starts: set[str] = set()
        for operation in operations:
            if operation.f not in _GETS:
                continue
            pending = [operation.result or ""]
            while pending:
                text = pending.pop()
                if text in starts:
                    continue
                starts.add(text)
                if len(starts) > _MOST_STARTS:
                    return None
                pending.extend(text[: -len(piece)] for piece in pieces if text.endswith(piece))
        nowhere = "\0" + max((operation.result or "" for operation in operations), key=len, default="")
        return [self._search_from(operations, start) for start in [*sorted(starts), nowhere]]

    def _search_from(self, operations: Sequence[Operation], start: str) -> Search:
        beginnings = Beginnings(operation.result or "" for operation in operations if operation.f in _GETS)

        def step(state: Hashable, kind: Hashable) -> Hashable | None:
            place = cast(tuple[int, int], state)
            f, text = cast(tuple[str, str], kind)
            if f == "get":
                return place if place == beginnings.place(text) else None
            return beginnings.place(text) if f == "put" else beginnings.append(place, text)

        calls = [Call(_kind(op), op.f in _GETS, op.start, op.end) for op in operations]
        search = StateSearch(calls, beginnings.place(start), step)
        kinds = [_kind(operations[number]) for number in search.numbers]
        lost = [
            (bisect_left(search.ends, operation.start), operation.value)
            for operation in operations
            if operation.end is None and operation.f in _PUTS
        ]
        search.doomed = StringForesight(search.timeline, kinds, lost, beginnings).doomed
        return search

    def initial(self) -> Hashable:
        """The empty string."""
        return ""

    def step(self, state: Any, operation: Operation) -> Hashable | None:
        """States are the strings themselves."""
        f, text = _kind(operation)
        if f == "get":
            return state if state == text else None
        return text if f == "put" else state + text

    def show(self, state: Any) -> str:
        """The string in quotes, its middle left out where it is long."""
        text = str(state)
        return repr(text) if len(text) <= 60 else f"{text[:25]!r}...{text[-25:]!r} ({len(text)} characters)"

    def unseen(self, operations: Sequence[Operation], kept: set[int]) -> set[int]:
        """Appends that some kept get's answer contains, and puts that one begins with.

        All states between any other update and the next put are strings that no kept get shows, so no
        kept get comes there, and the put after it replaces whatever is there.
        """
        answers: list[str] = []
        for text in sorted({operations[k].result or "" for k in kept if operations[k].f in _GETS}, key=len):
            if answers and text.startswith(answers[-1]):
                answers[-1] = text  # what one contains or begins with, the longer one does
            else:
                answers.append(text)
        needed = set()
        for place, operation in enumerate(operations):
            text = operation.value
            if operation.f == "append" and any(text in answer for answer in answers):
                needed.add(place)
            if operation.f in _PUTS and any(answer.startswith(text) for answer in answers):
                needed.add(place)
        return needed - kept


def _kind(operation: Operation) -> tuple[str, str]:
    if operation.f in _GETS:
        return "get", operation.result or ""
    return ("append" if operation.f == "append" else "put"), operation.value
