"""The model `kv`: the Raft KV's own commands with Redis' answers, as `kv_kinds` lists them.

Beyond what every search does, two things are known of this object:

- *Unseen values.* A value that no answer shows, no cas expects and no counting starts from or passes, does
  not differ from any other such value: all of them are written as one number and one text. So
  operations that wrote them and are info become twins of each other.
- On one key, a state from which a value that is still needed cannot come back is given up
  (`foresight.ValueForesight`).
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from faultlab.checker.foresight import ValueForesight
from faultlab.checker.kv_kinds import (
    ANY,
    GETS,
    KNOWN,
    UNSEEN_NUMBER,
    UNSEEN_TEXT,
    Kind,
    Setting,
    changes_nothing,
    exposure,
    kind_of,
    named_keys,
    number,
    step,
)
from faultlab.checker.models import RegisterModel, Search, refuse
from faultlab.checker.states import Call, StateSearch
from faultlab.history.operations import Operation

_NEVER = 1 << 60


class KvModel:
    """Strings by key, absent at first. The state is a tuple of the partition's values."""

    name = "kv"

    def keys(self, operation: Operation) -> Sequence[str | None]:
        """All keys that it names. Refuses unknown commands and values of another shape than the table's."""
        if operation.f not in KNOWN:
            raise refuse(operation, f"the model kv knows {', '.join(KNOWN)}, not {operation.f}")
        keys = named_keys(operation)
        kind_of(operation, dict.fromkeys(keys, 0))
        return keys

    def reads_only(self, operation: Operation) -> bool:
        """Whether it is a get, exists or mget."""
        return operation.f in (*GETS, "exists", "mget")

    def search(self, operations: Sequence[Operation]) -> Search:
        """From nothing at all. One key with plain get, set and cas only is a register, searched as such."""
        register = _as_register(operations)
        return _search(operations, None) if register is None else _REGISTER.search(register)

    def searches_from_any(self, operations: Sequence[Operation]) -> list[Search] | None:
        """One search, from a state whose values nobody knows and which what happens first tells."""
        register = _as_register(operations)
        return [_search(operations, ANY)] if register is None else _REGISTER.searches_from_any(register)

    def initial(self) -> Hashable:
        """No keys."""
        return ()

    def step(self, state: Any, operation: Operation) -> Hashable | None:
        """States are sorted (key, value) pairs, since one operation does not know the partition's keys."""
        cells = dict(state)
        keys = list(dict.fromkeys(named_keys(operation)))
        kind = kind_of(operation, {key: place for place, key in enumerate(keys)})
        after = step(tuple(cells.get(key) for key in keys), kind)
        if after is None:
            return None
        cells.update(zip(keys, after, strict=True))
        return tuple(
            sorted((item for item in cells.items() if item[1] is not None), key=lambda item: str(item[0]))
        )

    def show(self, state: Any) -> str:
        """The keys and values that are there."""
        return ", ".join(f"{key}={value!r}" for key, value in state) or "that no key exists"

    def unseen(self, operations: Sequence[Operation], kept: set[int]) -> set[int]:
        """On one key, all that leave a value which somebody kept could see; on several, all that leave any.

        Leaving out an operation whose value no operation left can see: the next one that is left after it is
        one that overwrites, whatever was there, so the rest goes as before.
        """
        places = _places(operations)
        exposures = [exposure(kind_of(operation, places)) for operation in operations]
        if len(places) != 1:
            return {place for place, op in enumerate(operations) if not self.reads_only(op)} - kept
        makers: dict[str | None, list[int]] = {}
        for place, seen in enumerate(exposures):
            if seen.product is not None:
                makers.setdefault(seen.product[0], []).append(place)
        counting = [place for place, seen in enumerate(exposures) if seen.counts]
        pending = list(kept)
        added: set[int] = set()
        while pending:
            seen = exposures[pending.pop()]
            values: Iterable[str | None] = seen.exact
            if seen.everything:
                values = list(makers)
            elif seen.present:
                values = [value for value in makers if value is not None]
            fresh: list[int] = []
            for value in values:
                fresh += makers.pop(value, [])
            if seen.everything or seen.present or any(number(value) is not None for value in seen.exact):
                fresh += counting
                counting = []
            pending.extend(place for place in fresh if place not in kept)
            added.update(fresh)
        return added - kept


_REGISTER = RegisterModel("kv", cas=True)


def _as_register(operations: Sequence[Operation]) -> list[Operation] | None:
    """The operations as one register's, where they are nothing but that."""
    if len({operation.key for operation in operations}) > 1:
        return None
    result = []
    for operation in operations:
        kind = kind_of(operation, dict.fromkeys(named_keys(operation), 0))
        if kind.f == "get":
            result.append(_renamed(operation, "read", None, kind.answer))
        elif kind.f == "set" and kind.asked.plain:
            result.append(_renamed(operation, "write", kind.asked.value, None))
        elif kind.f == "cas" and kind.answer:
            result.append(_renamed(operation, "cas", list(kind.asked), None))
        else:
            return None
    return result


def _renamed(operation: Operation, f: str, value: Any, result: Any) -> Operation:
    return Operation(
        operation.index, operation.process, f, operation.key, value, result, operation.outcome,
        operation.start, operation.end,
    )  # fmt: skip


def _places(operations: Sequence[Operation]) -> dict[str | None, int]:
    names = {key for operation in operations for key in named_keys(operation)}
    return {key: place for place, key in enumerate(sorted(names, key=str))}


def _search(operations: Sequence[Operation], start: str | None) -> Search:
    places = _places(operations)
    kinds = [kind_of(operation, places) for operation in operations]
    # How far numbers may be moved by counting that nobody saw the answer of.
    hidden = [kind.asked for kind in kinds if kind.f == "incr" and not kind.answered]
    slack = sum(hidden) if all(amount > 0 for amount in hidden) else None
    if slack is not None:
        kinds = _without_unseen_values(kinds, slack)
    calls = [
        Call(kind, changes_nothing(kind), operation.start, operation.end)
        for kind, operation in zip(kinds, operations, strict=True)
    ]
    search = StateSearch(calls, (start,) * len(places), step)
    if len(places) == 1 and slack is not None:
        search.doomed = _foresight(search, kinds, slack).doomed
    return search


def _observed(kind: Kind) -> Iterable[str | None]:
    """The exact values that the command can tell from others."""
    if kind.f == "mget":
        return kind.answer  # type: ignore[no-any-return]
    if kind.f == "cas":
        return (kind.asked[0],)
    return () if kind.f == "mset" else exposure(kind).exact


def _without_unseen_values(kinds: Sequence[Kind], slack: int) -> list[Kind]:
    observed = {value for kind in kinds for value in _observed(kind) if value is not None}
    numbers = sorted({found for value in observed if (found := number(value)) is not None})

    def stand_in(value: str) -> str:
        if value in observed:
            return value
        written = number(value)
        if written is None:
            return UNSEEN_TEXT
        place = bisect_left(numbers, written)
        near = place < len(numbers) and numbers[place] <= written + slack
        return value if near else UNSEEN_NUMBER

    known: dict[str, str] = {}

    def written(value: str) -> str:
        if value not in known:
            known[value] = stand_in(value)
        return known[value]

    result = []
    for kind in kinds:
        asked = kind.asked
        if kind.f == "set":
            asked = Setting(written(asked.value), asked.nx, asked.xx, asked.get)
        elif kind.f == "cas":
            asked = (asked[0], written(asked[1]))
        elif kind.f == "mset":
            asked = tuple(map(written, asked))
        result.append(kind._replace(asked=asked))
    return result


def _foresight(search: StateSearch, kinds: Sequence[Kind], slack: int) -> ValueForesight:
    exposures = [exposure(kinds[place]) for place in search.numbers]
    makers: dict[str | None, int] = {}
    for index, seen in enumerate(exposures):
        if seen.product is not None:
            makers[seen.product[0]] = index
    certain = set(search.numbers)
    for place, kind in enumerate(kinds):
        if place in certain:
            continue
        product = kind.asked.value if kind.f == "set" else (exposure(kind).product or (None,))[0]
        if kind.f != "incr":
            makers[product] = _NEVER
    return ValueForesight(search.timeline, [seen.exact for seen in exposures], makers, slack)
