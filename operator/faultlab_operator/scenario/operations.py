"""A history's events paired into operations, as measures and charts want them.

The checker pairs for itself: what it judges and what is drawn share the file, not the code.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from faultlab.history.events import Event

Outcome = Literal["ok", "fail", "info"]

MUTATIONS = frozenset({"write", "cas", "put", "append", "incr", "set", "del"})
"""What counts as a write for failover, unavailability and offered load."""


@dataclass(slots=True)
class Operation:
    """One request of one client. Times in nanoseconds on the history's clock."""

    process: int
    f: str
    key: str | None
    value: Any
    """What was asked: None for a read, `[expected, new]` for a cas."""
    invoked_ns: int
    due_ns: int
    """The intended start at a constant rate; else the invocation. Latency counts from here."""
    outcome: Outcome = "info"
    """`info` also where the history ends before the answer came."""
    completed_ns: int | None = None
    """When `ok`, `fail` or `info` was recorded; None where the history ends before."""
    result: Any = None
    """What an ok read returned."""
    term: int | None = None
    member: str | None = None
    error: str | None = None

    @property
    def is_write(self) -> bool:
        return self.f in MUTATIONS

    @property
    def latency_ns(self) -> int | None:
        return None if self.completed_ns is None else self.completed_ns - self.due_ns


def pair(events: Iterable[Event]) -> list[Operation]:
    """The operations in the order of their invocation; processes that are not integers are passed over."""
    operations: list[Operation] = []
    open_by_process: dict[int, Operation] = {}
    for event in events:
        process = event.process
        if not isinstance(process, int):
            continue
        if event.type == "invoke":
            due = event.time if event.intended is None else min(event.intended, event.time)
            operation = Operation(
                process, event.f, event.key, event.value, event.time, due, member=event.member
            )
            operations.append(operation)
            open_by_process[process] = operation
            continue
        started = open_by_process.pop(process, None)
        if started is not None:
            _complete(started, event)
    operations.sort(key=lambda operation: operation.invoked_ns)
    return operations


def _complete(operation: Operation, event: Event) -> None:
    assert event.type != "invoke"
    operation.outcome = event.type
    operation.completed_ns = event.time
    operation.term = event.term
    operation.member = event.member or operation.member
    operation.error = event.error
    if event.type == "ok" and not operation.is_write:
        operation.result = event.value
