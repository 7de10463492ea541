"""The model `stale-reads`: what a store promises whose members answer reads from their own memory.

Writes go through the log, so without the reads each key must have an order as `mixed` has it: a register, a
list or a counter. A read may be late by any amount, so it is asked only that what it shows was there once, by
what was begun before it completed: a register's value that some write or cas offered, a list that the list's
later reads go on with and whose values were appended once each, a number that so many incr can make. (What
certainly failed offered nothing.)
"""

from collections.abc import Hashable, Sequence
from typing import Any

from faultlab.checker.mixed import MixedModel, model_of
from faultlab.checker.models import Search
from faultlab.checker.values import freeze
from faultlab.history.operations import Operation


class StaleReadsModel(MixedModel):
    """`mixed`, where reads may return anything that was ever there."""

    name = "stale-reads"

    def search(self, operations: Sequence[Operation]) -> Search:
        """The writes' search, where no read is from thin air."""
        updates = [operation for operation in operations if operation.f != "read"]
        reads = [
            operation
            for operation in operations
            if operation.f == "read" and operation.result is not None and operation.end is not None
        ]
        made_up = _CHECKS[model_of(operations).name]
        return _NoOrder() if made_up(updates, reads) else super().search(updates)

    def searches_from_any(self, _operations: Sequence[Operation]) -> list[Search] | None:
        """None: a read may be of any earlier time, so no window that starts later convicts it."""
        return None

    def step(self, state: Any, operation: Operation) -> Hashable | None:
        """Reads are not ordered; see `search`."""
        return state if operation.f == "read" else super().step(state, operation)


def _value_from_thin_air(updates: Sequence[Operation], reads: Sequence[Operation]) -> bool:
    first: dict[Hashable, int] = {}
    for operation in updates:
        value = freeze(operation.value if operation.f == "write" else operation.value[1])
        first[value] = min(first.get(value, operation.start), operation.start)
    return any(_begun_too_late(first.get(freeze(read.result)), read) for read in reads)


def _list_from_thin_air(updates: Sequence[Operation], reads: Sequence[Operation]) -> bool:
    begun = {operation.value: operation.start for operation in updates}
    shown = ""
    for read in sorted(reads, key=lambda read: len(str(read.result))):
        if not isinstance(read.result, str) or not read.result.startswith(shown):
            return True
        shown = read.result
        values = [f"{value}," for value in shown.split(",")[:-1]]
        if "".join(values) != shown or len(set(values)) < len(values):
            return True
        if any(_begun_too_late(begun.get(value), read) for value in values):
            return True
    return False


def _number_from_thin_air(updates: Sequence[Operation], reads: Sequence[Operation]) -> bool:
    for read in reads:
        most = sum(operation.start <= read.end for operation in updates if read.end is not None)
        if not str(read.result).isdigit() or int(read.result) > most:
            return True
    return False


_CHECKS = {"mixed": _value_from_thin_air, "append": _list_from_thin_air, "kv": _number_from_thin_air}
"""By the name of the model that judges the key."""


def _begun_too_late(start: int | None, read: Operation) -> bool:
    return start is None or (read.end is not None and start > read.end)


class _NoOrder:
    """The search that has already failed."""

    explored = 0
    furthest = 0
    memory_bytes = 0

    def run(self, _budget: int, _deadline: float) -> bool | None:
        return False
