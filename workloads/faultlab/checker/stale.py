"""The model `stale-reads`: what a store promises whose members answer reads from their own memory.

Writes and cas go through the log, so they must have an order as a cas-register's. A read may be late by
any amount, so it is asked only that its value is null or was made by a write or cas that did not
certainly fail and was invoked before the read completed.
"""

from collections.abc import Hashable, Sequence
from typing import Any

from faultlab.checker.models import RegisterModel, Search
from faultlab.checker.values import freeze
from faultlab.history.operations import Operation


class StaleReadsModel(RegisterModel):
    """A cas-register whose reads may return any value that was ever offered to it."""

    def __init__(self) -> None:
        super().__init__("stale-reads", cas=True)

    def search(self, operations: Sequence[Operation]) -> Search:
        """The writes' search, where no read is from thin air."""
        updates = super().search([operation for operation in operations if operation.f != "read"])
        return updates if not self._from_thin_air(operations) else _NoOrder()

    def _from_thin_air(self, operations: Sequence[Operation]) -> bool:
        first: dict[Hashable, int] = {}
        for operation in operations:
            if operation.f != "read":
                value = freeze(operation.value if operation.f == "write" else operation.value[1])
                first[value] = min(first.get(value, operation.start), operation.start)
        for operation in operations:
            if operation.f != "read" or operation.result is None or operation.end is None:
                continue
            offered = first.get(freeze(operation.result))
            if offered is None or offered > operation.end:
                return True
        return False

    def searches_from_any(self, _operations: Sequence[Operation]) -> list[Search] | None:
        """None: a read may be of any earlier time, so no window that starts later convicts it."""
        return None

    def step(self, state: Any, operation: Operation) -> Hashable | None:
        """Reads are not ordered; see `search`."""
        return (state or (freeze(None),)) if operation.f == "read" else super().step(state, operation)


class _NoOrder:
    """The search that has already failed."""

    explored = 0
    furthest = 0
    memory_bytes = 0

    def run(self, _budget: int, _deadline: float) -> bool | None:
        return False
