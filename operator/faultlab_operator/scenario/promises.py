"""What a cluster with `reads: stale` promises: less than linearizability, and this much is held against it.

Writes and cas are linearizable among themselves. A read may return any value that the key ever had or
could have had: one that some client began to write before the read ended, or none at all.
"""

from collections.abc import Iterable, Iterator, Sequence

from faultlab.history.events import Event
from faultlab_operator.scenario.operations import Operation

READS = frozenset({"read", "get"})


def without_reads(events: Iterable[Event]) -> Iterator[Event]:
    """The history of the operations that must be linearizable all the same."""
    return (event for event in events if event.f not in READS)


def invented_read(operations: Sequence[Operation]) -> Operation | None:
    """The first ok read whose value nobody had begun to write to its key by the time it was returned."""
    first_written: dict[tuple[str | None, str], int] = {}
    for op in operations:
        if op.is_write and op.outcome != "fail":
            known = first_written.setdefault((op.key, repr(written_value(op))), op.invoked_ns)
            assert known <= op.invoked_ns, "operations are in the order of their invocation"
    for op in operations:
        if op.f not in READS or op.outcome != "ok" or op.result is None or op.completed_ns is None:
            continue
        written = first_written.get((op.key, repr(op.result)))
        if written is None or written > op.completed_ns:
            return op
    return None


def written_value(operation: Operation) -> object:
    """What the key holds after this write."""
    return operation.value[1] if operation.f == "cas" else operation.value
