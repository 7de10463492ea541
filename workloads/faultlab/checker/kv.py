"""The model `kv`: the Raft KV's own commands, with Redis' answers.

| f | value of the invocation | value of the ok |
|---|---|---|
| get, read | null | the value, null where there is none |
| set, write, put | the value, or {"value": v, "nx": true, "xx": true, "get": true} (each optional) | nx, xx: "OK" or null (not set); get: the value before; else anything |
| cas | [expected, new] | 1 or null: swapped (0 is recorded as fail, but is understood) |
| incr | null, or how much | the number after |
| del, exists | null with a key, or a list of keys without | how many there were; null: not looked at |
| mget | list of keys, no key | list of values |
| mset | {key: value}, no key | anything |

Values are strings; integers stand for their decimal strings.
"""  # noqa: E501

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from faultlab.checker.models import RegisterModel, Search, refuse
from faultlab.checker.states import Call, StateSearch
from faultlab.history.operations import Operation

_GETS = ("get", "read")
_SETS = ("set", "write", "put")
_COUNTS = ("del", "exists")
_KNOWN = (*_GETS, *_SETS, "cas", "incr", *_COUNTS, "mget", "mset")

_Cells = tuple[str | None, ...]


class _Kind(NamedTuple):
    """An operation without its times: on which cells of the state, what was asked and what was answered."""

    f: str
    cells: tuple[int, ...]
    asked: Hashable
    answer: Hashable
    answered: bool


class _Set(NamedTuple):
    value: str
    nx: bool
    xx: bool
    get: bool

    @property
    def plain(self) -> bool:
        """Whether neither its effect nor its answer depends on what was there."""
        return not (self.nx or self.xx or self.get)


class KvModel:
    """Strings by key, absent at first. The state is a tuple of the partition's values."""

    name = "kv"

    def keys(self, operation: Operation) -> Sequence[str | None]:
        """All keys that it names. Refuses unknown commands and values of another shape than the table's."""
        f, value = operation.f, operation.value
        if f not in _KNOWN:
            raise refuse(operation, f"the model kv knows {', '.join(_KNOWN)}, not {f}")
        keys = _named_keys(operation)
        if f == "cas" and not (isinstance(value, list) and len(value) == 2):
            raise refuse(operation, f"the value of cas is [expected, new], not {value!r}")
        if f == "incr" and operation.outcome == "ok" and not isinstance(operation.result, int):
            raise refuse(operation, f"the answer of incr is a number, not {operation.result!r}")
        if f == "mget" and operation.outcome == "ok":
            answers = operation.result
            if not isinstance(answers, list) or len(answers) != len(keys):
                raise refuse(
                    operation, f"the answer of mget is a list of {len(keys)} values, not {answers!r}"
                )
        _kind(operation, dict.fromkeys(keys, 0))  # refuses values that are no strings
        return keys

    def reads_only(self, operation: Operation) -> bool:
        """Whether it is a get, exists or mget."""
        return operation.f in (*_GETS, "exists", "mget")

    def search(self, operations: Sequence[Operation]) -> Search:
        """From nothing at all. One key with plain get, set and cas only is a register, searched as such."""
        register = _as_register(operations)
        if register is not None:
            return _REGISTER.search(register)
        places = _places(operations)
        calls = []
        for operation in operations:
            kind = _kind(operation, places)
            calls.append(Call(kind, _changes_nothing(kind), operation.start, operation.end))
        return StateSearch(calls, (None,) * len(places), _step)

    def searches_from_any(self, operations: Sequence[Operation]) -> list[Search] | None:
        """Only for what is a register."""
        register = _as_register(operations)
        return None if register is None else _REGISTER.searches_from_any(register)

    def initial(self) -> Hashable:
        """No keys."""
        return ()

    def step(self, state: Any, operation: Operation) -> Hashable | None:
        """States are sorted (key, value) pairs, since one operation does not know the partition's keys."""
        cells = dict(state)
        keys = list(dict.fromkeys(_named_keys(operation)))
        after = _step(
            tuple(cells.get(key) for key in keys), _kind(operation, {key: n for n, key in enumerate(keys)})
        )
        if after is None:
            return None
        cells.update(zip(keys, after, strict=True))
        return tuple(
            sorted((pair for pair in cells.items() if pair[1] is not None), key=lambda pair: str(pair[0]))
        )

    def show(self, state: Any) -> str:
        """The keys and values that are there."""
        return ", ".join(f"{key}={value!r}" for key, value in state) or "no key"

    def unseen(self, operations: Sequence[Operation], kept: set[int]) -> set[int]:
        """For one register, its rule; else everything that may change a state."""
        register = _as_register(operations)
        if register is not None:
            return _REGISTER.unseen(register, kept)
        return {place for place, operation in enumerate(operations) if not self.reads_only(operation)} - kept


_REGISTER = RegisterModel("kv", cas=True)


def _as_register(operations: Sequence[Operation]) -> list[Operation] | None:
    """The operations as one register's, where they are nothing but that."""
    if len({operation.key for operation in operations}) > 1:
        return None
    result = []
    for operation in operations:
        kind = _kind(operation, dict.fromkeys(_named_keys(operation), 0))
        if kind.f == "get":
            result.append(_renamed(operation, "read", None, kind.answer))
        elif isinstance(kind.asked, _Set) and kind.asked.plain:
            result.append(_renamed(operation, "write", kind.asked.value, None))
        elif kind.f == "cas" and kind.answer == 1 and isinstance(kind.asked, tuple):
            result.append(_renamed(operation, "cas", list(kind.asked), None))
        else:
            return None
    return result


def _renamed(operation: Operation, f: str, value: Any, result: Any) -> Operation:
    return Operation(
        operation.index, operation.process, f, operation.key, value, result, operation.outcome,
        operation.start, operation.end,
    )  # fmt: skip


def _named_keys(operation: Operation) -> Sequence[str | None]:
    value = operation.value
    if operation.f == "mset":
        if not isinstance(value, dict) or not value:
            raise refuse(operation, f'the value of mset is {{"key": value}}, not {value!r}')
        return list(value)
    if operation.f == "mget" or (operation.f in _COUNTS and value is not None):
        if not isinstance(value, list) or not value or not all(isinstance(key, str) for key in value):
            raise refuse(operation, f"the value of {operation.f} is a list of keys, not {value!r}")
        return value
    return (operation.key,)


def _places(operations: Sequence[Operation]) -> dict[str | None, int]:
    names = {key for operation in operations for key in _named_keys(operation)}
    return {key: place for place, key in enumerate(sorted(names, key=str))}


def _text(operation: Operation, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise refuse(operation, f"the KV's values are strings or integers, not {value!r}")
    return str(value)


def _text_or_none(operation: Operation, value: Any) -> str | None:
    return None if value is None else _text(operation, value)


def _kind(operation: Operation, places: dict[str | None, int]) -> _Kind:
    f, value, result = operation.f, operation.value, operation.result
    answered = operation.outcome == "ok"
    cells = tuple(places[key] for key in _named_keys(operation))
    asked: Hashable = None
    answer: Hashable = None
    if f in _GETS:
        return _Kind("get", cells, None, _text_or_none(operation, result), answered)
    if f in _SETS:
        options = value if isinstance(value, dict) else {"value": value}
        flags = [options.get(name, False) is True for name in ("nx", "xx", "get")]
        asked = _Set(_text(operation, options.get("value")), *flags)
        if asked.get:
            answer = _text_or_none(operation, result)
        elif not asked.plain:
            answer = result not in (None, 0, False)
        return _Kind("set", cells, asked, answer, answered and not asked.plain)
    if f == "cas":
        asked = (_text_or_none(operation, value[0]), _text(operation, value[1]))
        answer = 0 if result is not None and not isinstance(result, list) and int(result) == 0 else 1
    elif f == "incr":
        asked, answer = (1 if value is None else int(_text(operation, value))), result
    elif f in _COUNTS:
        answer = result
        answered = answered and result is not None
    elif f == "mget":
        answer = tuple(_text_or_none(operation, item) for item in result) if answered else None
    else:
        asked = tuple(_text(operation, item) for item in value.values())
    return _Kind(f, cells, asked, answer, answered)


def _changes_nothing(kind: _Kind) -> bool:
    """Whether every state in which it can happen is left as it is."""
    if kind.f in ("get", "exists", "mget"):
        return True
    if kind.f == "cas":
        return kind.answer == 0
    if kind.f == "del":
        return kind.answered and kind.answer == 0
    return kind.f == "set" and kind.answered and kind.answer is False


def _step(state: Hashable, kind: Hashable) -> _Cells | None:
    assert isinstance(state, tuple)
    assert isinstance(kind, _Kind)
    before = [state[cell] for cell in kind.cells]
    after: Sequence[str | None] | None
    if kind.f == "get":
        after = before if before[0] == kind.answer else None
    elif kind.f == "mget":
        after = before if tuple(before) == kind.answer else None
    elif kind.f == "mset":
        assert isinstance(kind.asked, tuple)
        after = kind.asked
    elif kind.f in _COUNTS:
        there = len({cell for cell in kind.cells if state[cell] is not None}) if kind.f == "del" else 0
        there = there or (sum(value is not None for value in before) if kind.f == "exists" else 0)
        if kind.answered and there != kind.answer:
            return None
        after = before if kind.f == "exists" else [None] * len(before)
    else:
        changed = _CHANGES[kind.f](before[0], kind)
        after = None if changed is None else [changed[0]]
    if after is None:
        return None
    result = list(state)
    for cell, value in zip(kind.cells, after, strict=True):
        result[cell] = value
    return tuple(result)


def _set(value: str | None, kind: _Kind) -> tuple[str | None] | None:
    asked = kind.asked
    assert isinstance(asked, _Set)
    applies = not (asked.nx and value is not None) and not (asked.xx and value is None)
    if kind.answered and kind.answer != (value if asked.get else applies):
        return None
    return (asked.value,) if applies else (value,)


def _cas(value: str | None, kind: _Kind) -> tuple[str | None] | None:
    assert isinstance(kind.asked, tuple)
    expected, new = kind.asked
    if kind.answer == 0:
        return None if value == expected else (value,)
    return (new,) if value == expected else None


def _incr(value: str | None, kind: _Kind) -> tuple[str | None] | None:
    assert isinstance(kind.asked, int)
    try:
        after = int("0" if value is None else value) + kind.asked
    except ValueError:
        return None
    return None if kind.answered and kind.answer != after else (str(after),)


_CHANGES = {"set": _set, "cas": _cas, "incr": _incr}
