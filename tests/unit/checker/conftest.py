"""What the checker's tests share: a checker that tries every order, and short ways to write histories."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from faultlab.history import Event, Operation

Apply = Callable[[Any, Operation], tuple[Any] | None]
"""(state, operation) -> the state after in a tuple, or None where the operation cannot happen."""


def apply_register(state: Any, op: Operation) -> tuple[Any] | None:
    if op.f == "read":
        return (state,) if op.result == state else None
    if op.f == "write":
        return (op.value,)
    return (op.value[1],) if state == op.value[0] else None


def apply_append(state: str, op: Operation) -> tuple[Any] | None:
    if op.f == "get":
        return (state,) if (op.result or "") == state else None
    return (op.value,) if op.f == "put" else (state + op.value,)


def apply_mutex(state: bool, op: Operation) -> tuple[Any] | None:
    if op.f == "acquire":
        return None if state else (True,)
    return (False,) if state else None


def apply_kv(state: dict[str, str], op: Operation) -> tuple[Any] | None:
    state = dict(state)
    key, value, result, ok = op.key, op.value, op.result, op.outcome == "ok"
    assert key is None or isinstance(key, str)
    present = state.get(key) if key else None
    keys = value if isinstance(value, list) else [key]
    if op.f == "get":
        return (state,) if present == result else None
    if op.f == "mget":
        return (state,) if [state.get(name) for name in keys] == result else None
    if op.f == "mset":
        return ({**state, **value},)
    if op.f == "exists":
        return (state,) if not ok or sum(name in state for name in keys) == result else None
    if op.f == "del":
        gone = {name for name in keys if name in state}
        return None if ok and len(gone) != result else ({k: v for k, v in state.items() if k not in gone},)
    if op.f == "incr":
        after = int(present or 0) + 1
        return None if ok and after != result else ({**state, key: str(after)},)
    if op.f == "cas":
        if ok and result == 0:
            return (state,) if present != value[0] else None
        return ({**state, key: value[1]},) if present == value[0] else None
    options = value if isinstance(value, dict) else {"value": value}
    applies = not (options.get("nx") and present is not None) and not (options.get("xx") and present is None)
    if ok and options.get("get") and result != present:
        return None
    if ok and not options.get("get") and ("nx" in options or "xx" in options) and (result == "OK") != applies:
        return None
    return ({**state, key: options["value"]} if applies else state,)


MODELS: dict[str, tuple[Apply, Any]] = {
    "register": (apply_register, None),
    "cas-register": (apply_register, None),
    "append": (apply_append, ""),
    "mutex": (apply_mutex, False),
    "kv": (apply_kv, {}),
}


def tries_every_order(model: str, operations: Sequence[Operation]) -> bool:
    """Whether some order of some of the info and all ok operations fits: by trying all of them."""
    apply, initial = MODELS[model]
    reads = ("read", "get", "mget", "exists")
    matter = [op for op in operations if op.outcome == "ok" or (op.outcome == "info" and op.f not in reads)]

    def fits(left: list[Operation], state: Any) -> bool:
        if all(op.outcome == "info" for op in left):
            return True
        for op in left:
            if any(other.end is not None and other.end < op.start for other in left if other is not op):
                continue
            after = apply(state, op)
            if after is not None and fits([other for other in left if other is not op], after[0]):
                return True
        return False

    return fits(matter, initial)


@pytest.fixture(scope="session")
def brute_force() -> Callable[[str, Sequence[Operation]], bool]:
    return tries_every_order


Row = tuple[Any, ...]


def history_of(*rows: Row) -> list[Event]:
    """Events of rows (process, f, value, start, end, outcome = "ok", result = value, key = "k")."""
    timed: list[tuple[int, int, int, Event]] = []
    for number, row in enumerate(rows):
        process, f, value, start, end, outcome, result, key = (*row, *("ok", ..., "k")[len(row) - 5 :])
        asked = None if f in ("read", "get", "incr", "del") else value
        timed.append((start, 0, number, Event(process, "invoke", f, key, asked, start)))
        if outcome != "open":
            answer = value if result is ... else result
            timed.append((end, 1, number, Event(process, outcome, f, key, answer, end)))
    return [event for _, _, _, event in sorted(timed, key=lambda item: item[:3])]


@pytest.fixture(scope="session")
def history() -> Callable[..., list[Event]]:
    return history_of
