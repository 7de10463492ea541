"""Says in words where the orders of a small window end: Wing and Gong's search, keeping the way it went."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from faultlab.checker.models import Model
from faultlab.history.operations import Operation

_MOST_OPERATIONS = 60
_MOST_CONFIGURATIONS = 20_000


class Attempt(NamedTuple):
    """The longest order found, the state it leads to, and the operation that must follow and cannot."""

    order: tuple[Operation, ...]
    state: Hashable
    stuck: Operation | None


def longest_order(model: Model, window: Sequence[Operation]) -> Attempt | None:
    """The longest order of a window from the initial state; None where the window is too large to try."""
    if len(window) > _MOST_OPERATIONS:
        return None
    initial = model.initial()
    best: tuple[int, tuple[int, ...], Hashable] = (-1, (), initial)
    seen: set[tuple[frozenset[int], Hashable]] = set()
    stack: list[tuple[tuple[int, ...], Hashable]] = [((), initial)]
    while stack and len(seen) < _MOST_CONFIGURATIONS:
        order, state = stack.pop()
        placed = frozenset(order)
        if (placed, state) in seen:
            continue
        seen.add((placed, state))
        certain = sum(window[place].end is not None for place in order)
        if certain > best[0]:
            best = (certain, order, state)
        left = [place for place in range(len(window)) if place not in placed]
        horizon = min((end for place in left if (end := window[place].end) is not None), default=None)
        for place in reversed(left):
            if horizon is not None and window[place].start > horizon:
                continue
            after = model.step(state, window[place])
            if after is not None:
                stack.append(((*order, place), after))
    left_out = [op for place, op in enumerate(window) if place not in best[1] and op.end is not None]
    stuck = min(left_out, key=lambda op: op.end or 0, default=None)
    return Attempt(tuple(window[place] for place in best[1]), best[2], stuck)


def in_words(operation: Operation) -> str:
    """What the operation asked and was told, in a few words: `write 3`, `read -> null`, `cas 1 -> 2`."""
    value, result = operation.value, operation.result
    if operation.f == "cas" and isinstance(value, list) and len(value) == 2:
        return f"cas {'null' if value[0] is None else value[0]} -> {value[1]}"
    words = operation.f if value is None else f"{operation.f} {value}"
    if (
        operation.outcome == "ok"
        and (value is None or result not in (value, None))
        and operation.f not in _SILENT
    ):
        words += f" -> {'null' if result is None else result}"
    return words


_SILENT = ("write", "put", "append", "acquire", "release")


def operations_of(count: int) -> str:
    """`1 operation`, `2 operations`."""
    return f"{count} operation{'s' * (count != 1)}"


def explain(
    model: Model, name: str, window: Sequence[Operation], *, from_start: bool
) -> tuple[str, Attempt | None]:
    """One sentence on why the window has no order, and the attempt it speaks of."""
    first = f"{operations_of(len(window))} on {name} {'has' if len(window) == 1 else 'have'} no order"
    if not from_start:
        return f"{first}, whatever the state before them was", None
    attempt = longest_order(model, window)
    if attempt is None:
        return first, None
    if attempt.stuck is None:
        reads = ", ".join(f"{in_words(op)} (event {op.index})" for op in window if op.f == "read")
        return f"{first}: a read returned what nobody had begun to write by then: {reads}", attempt
    what = f"{in_words(attempt.stuck)} (process {attempt.stuck.process}, event {attempt.stuck.index})"
    if not attempt.order:
        return f"{first}: {what} cannot happen from the initial state, {model.show(attempt.state)}", attempt
    shown = [in_words(operation) for operation in attempt.order]
    if len(shown) > 6:
        shown = [*shown[:2], "...", *shown[-3:]]
    led = f"after {', '.join(shown)} the state is {model.show(attempt.state)}"
    return f"{first}: {led}, where {what} cannot follow", attempt
