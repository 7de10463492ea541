"""The Raft KV's commands as steps on cells: what each asks, answers, needs and makes.

| f | value of the invocation | value of the ok |
|---|---|---|
| get, read | null | the value, null where there is none |
| set, write, put | the value | anything |
| set | {"value": v, "nx": true} (or "xx") | "OK": set, null: not set |
| set | {"value": v, "get": true} (with nx or xx or not) | the value before, null where there was none |
| cas | [expected, new] | 0: not swapped (usually recorded as fail), else: swapped |
| incr | null, or how much | the number after |
| del, exists | null with a key, or a list of keys without | how many there were; null: not known |
| mget | list of keys, no key | list of values |
| mset | {key: value}, no key | anything |

Values are strings; integers stand for their decimal strings. A cell holds a string, or None where
there is no such key, or one of three stand-ins that no command can name: ANY (nobody knows what
is there: a history judged from its middle) and UNSEEN_NUMBER, UNSEEN_TEXT (see `kv`).
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from faultlab.checker.models import refuse
from faultlab.history.operations import Operation

GETS = ("get", "read")
SETS = ("set", "write", "put")
COUNTS = ("del", "exists")
KNOWN = (*GETS, *SETS, "cas", "incr", *COUNTS, "mget", "mset")

ANY = "\0any"
UNSEEN_NUMBER = "\0number"
UNSEEN_TEXT = "\0text"

Cells = tuple[str | None, ...]


class Setting(NamedTuple):
    """What a set asks."""

    value: str
    nx: bool
    xx: bool
    get: bool

    @property
    def plain(self) -> bool:
        """Whether neither its effect nor its answer depends on what was there."""
        return not (self.nx or self.xx or self.get)


class Kind(NamedTuple):
    """An operation without its times: on which cells of the state, what was asked and what was answered."""

    f: str
    cells: tuple[int, ...]
    asked: Any
    answer: Any
    answered: bool
    """Whether `answer` says anything; on cas it always does, since one that did not swap did nothing."""


def named_keys(operation: Operation) -> Sequence[str | None]:
    """The keys that the operation touches, in the order of its cells."""
    value = operation.value
    if operation.f == "mset":
        if not isinstance(value, dict) or not value:
            raise refuse(operation, f'the value of mset is {{"key": value}}, not {value!r}')
        return list(value)
    if operation.f == "mget" or (operation.f in COUNTS and value is not None):
        if not isinstance(value, list) or not value or not all(isinstance(key, str) for key in value):
            raise refuse(operation, f"the value of {operation.f} is a list of keys, not {value!r}")
        return value
    return (operation.key,)


def kind_of(operation: Operation, places: dict[str | None, int]) -> Kind:
    """The operation's kind, its keys at `places`. HistoryError where its value is not as in the table."""
    f, value, result = operation.f, operation.value, operation.result
    answered = operation.outcome == "ok"
    cells = tuple(places[key] for key in named_keys(operation))
    if f in GETS:
        return Kind("get", cells, None, _text_or_none(operation, result), answered)
    if f in SETS:
        return _setting(operation, cells)
    if f == "cas":
        if not isinstance(value, list) or len(value) != 2:
            raise refuse(operation, f"the value of cas is [expected, new], not {value!r}")
        swapped = result not in (0, "0") or result is False
        return Kind(f, cells, (_text_or_none(operation, value[0]), _text(operation, value[1])), swapped, True)
    if f == "incr":
        if answered and (isinstance(result, bool) or not isinstance(result, int)):
            raise refuse(operation, f"the answer of incr is a number, not {result!r}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise refuse(operation, f"the value of incr is null or a number, not {value!r}")
        return Kind(f, cells, 1 if value is None else value, result, answered)
    if f in COUNTS:
        if result is not None and (isinstance(result, bool) or not isinstance(result, int)):
            raise refuse(operation, f"the answer of {f} is a number or null, not {result!r}")
        return Kind(f, cells, None, result, answered and result is not None)
    if f == "mget":
        if answered and (not isinstance(result, list) or len(result) != len(cells)):
            raise refuse(operation, f"the answer of mget is a list of {len(cells)} values, not {result!r}")
        answers = tuple(_text_or_none(operation, item) for item in result) if answered else ()
        return Kind(f, cells, None, answers, answered)
    return Kind(f, cells, tuple(_text(operation, item) for item in value.values()), None, False)


def _setting(operation: Operation, cells: tuple[int, ...]) -> Kind:
    options = operation.value if isinstance(operation.value, dict) else {"value": operation.value}
    nx, xx, get = (options.get(name, False) is True for name in ("nx", "xx", "get"))
    asked = Setting(_text(operation, options.get("value")), nx, xx, get)
    answer: Hashable = operation.result is not None
    if get:
        answer = _text_or_none(operation, operation.result)
    return Kind("set", cells, asked, answer, operation.outcome == "ok" and not asked.plain)


def _text(operation: Operation, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise refuse(operation, f"the KV's values are strings or integers, not {value!r}")
    return str(value)


def _text_or_none(operation: Operation, value: Any) -> str | None:
    return None if value is None else _text(operation, value)


def changes_nothing(kind: Kind) -> bool:
    """Whether every state in which it can happen is left as it is."""
    if kind.f in ("get", "exists", "mget"):
        return True
    if kind.f == "cas":
        return not kind.answer
    if kind.f == "del":
        return bool(kind.answered and kind.answer == 0)
    return bool(kind.f == "set" and kind.answered and not kind.asked.get and not kind.answer)


def number(value: str | None) -> int | None:
    """The number that incr would find, None where it would refuse."""
    if value is None:
        return 0
    try:
        return int(value)
    except ValueError:
        return None


def step(state: Hashable, kind: Hashable) -> Cells | None:
    """The cells after the command; None where it cannot happen so."""
    assert isinstance(state, tuple)
    assert isinstance(kind, Kind)
    before = tuple(state[cell] for cell in kind.cells)
    after = _STEPS[kind.f](before, kind)
    if after is None or after is before:
        return None if after is None else state
    result = list(state)
    for cell, value in zip(kind.cells, after, strict=True):
        result[cell] = value
    return tuple(result)


def _read(before: Cells, kind: Kind) -> Cells | None:
    answers: Cells = kind.answer if kind.f == "mget" else (kind.answer,)
    for value, answer in zip(before, answers, strict=True):
        if value not in (answer, ANY):
            return None
    return answers


def _mset(_before: Cells, kind: Kind) -> Cells | None:
    values: Cells = kind.asked
    return values


def _count(before: Cells, kind: Kind) -> Cells | None:
    cells = dict(zip(kind.cells, before, strict=True)).values() if kind.f == "del" else before
    unknown = sum(value == ANY for value in cells)
    known = sum(value is not None for value in cells) - unknown
    if kind.answered and not known <= kind.answer <= known + unknown:
        return None
    return before if kind.f == "exists" else (None,) * len(before)


def _set(before: Cells, kind: Kind) -> Cells | None:
    asked: Setting = kind.asked
    value = before[0]
    if value == ANY and asked.plain:
        return (asked.value,)
    if value == ANY:
        if not kind.answered:
            return before
        there = kind.answer if asked.get else (None if asked.nx == kind.answer else ANY)
        value = there
    applies = not (asked.nx and value is not None) and not (asked.xx and value is None)
    if kind.answered and kind.answer != (value if asked.get else applies):
        return None
    return (asked.value,) if applies else (value,)


def _cas(before: Cells, kind: Kind) -> Cells | None:
    expected, new = kind.asked
    matches = before[0] == expected
    if not kind.answer:
        return None if matches else before
    return (new,) if matches or before[0] == ANY else None


def _incr(before: Cells, kind: Kind) -> Cells | None:
    value = before[0]
    if value == ANY:
        return (str(kind.answer),) if kind.answered else before
    if value == UNSEEN_NUMBER:
        return None if kind.answered else before
    present = number(value)
    if present is None or (kind.answered and kind.answer != present + kind.asked):
        return None
    return (str(present + kind.asked),)


_STEPS: dict[str, Callable[[Cells, Kind], Cells | None]] = {
    "get": _read, "mget": _read, "mset": _mset, "del": _count, "exists": _count,
    "set": _set, "cas": _cas, "incr": _incr,
}  # fmt: skip


class Exposure(NamedTuple):
    """Which states of its one cell a command can tell apart, and what it leaves there."""

    exact: tuple[str | None, ...] = ()
    """It needs one of these values (none where that says nothing)."""
    present: bool = False
    """It needs some value."""
    everything: bool = False
    """What it does or answers may depend on anything."""
    product: tuple[str | None] | None = None
    """The value that it leaves, where that is known beforehand."""
    counts: bool = False
    """It leaves some number, and nobody knows which."""


def exposure(kind: Kind) -> Exposure:
    """What a command on one cell needs and makes (of one on several cells: what it does to the first)."""
    if kind.f == "get":
        return Exposure((kind.answer,))
    if kind.f == "set":
        return _set_exposure(kind)
    if kind.f == "cas":
        expected, new = kind.asked
        return Exposure((expected,), product=(new,)) if kind.answer else Exposure(everything=True)
    if kind.f == "incr":
        if not kind.answered:
            return Exposure(everything=True, counts=True)
        before = kind.answer - kind.asked
        return Exposure((str(before), None) if before == 0 else (str(before),), product=(str(kind.answer),))
    if kind.f in COUNTS:
        product: tuple[str | None] | None = (None,) if kind.f == "del" and kind.answer != 0 else None
        if not kind.answered:
            return Exposure(product=product)
        return Exposure((None,)) if kind.answer == 0 else Exposure(present=True, product=product)
    if kind.f == "mset":
        return Exposure(product=(kind.asked[0],))
    return Exposure(kind.answer[:1])


def _set_exposure(kind: Kind) -> Exposure:
    asked: Setting = kind.asked
    product = (asked.value,)
    if asked.plain:
        return Exposure(product=product)
    if not kind.answered:
        return Exposure(everything=True, product=product)
    if asked.get:
        return Exposure((kind.answer,), product=product)
    if kind.answer == asked.nx:
        return Exposure((None,), product=product if kind.answer else None)
    return Exposure(present=True, product=product if kind.answer else None)
