"""Numbers that a history says about an outage: failover, unavailability, the load that was offered.

All functions are pure. A measure that cannot be stated is None, and its reason says why: a wrong
number would be believed.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from faultlab_operator.scenario.operations import Operation
from faultlab_operator.scenario.times import NS_PER_MS, NS_PER_S

MINIMUM_WRITES_PER_S = 200.0
"""Below this, the gaps between writes are too coarse for a failover or an unavailability in ms."""

MINIMUM_OPERATIONS_UNDER_FAULT = 500


@dataclass(frozen=True)
class Window:
    """A stretch of the run on the history's clock, in nanoseconds; the end does not belong to it."""

    start_ns: int
    end_ns: int

    def holds(self, time_ns: int) -> bool:
        return self.start_ns <= time_ns < self.end_ns

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / NS_PER_S


@dataclass(frozen=True)
class Measure:
    """A number in milliseconds, or the reason why there is none."""

    ms: float | None
    reason: str


def offered_writes_per_s(operations: Sequence[Operation], window: Window) -> float:
    """Writes (cas among them) that were due within the window, a second."""
    if window.end_ns <= window.start_ns:
        return 0.0
    due = sum(1 for operation in operations if operation.is_write and window.holds(operation.due_ns))
    return due / window.seconds


def offered_enough(operations: Sequence[Operation], steady: Window) -> str | None:
    """Why nothing can be measured in milliseconds, or None when the load was dense enough.

    `steady` is the stretch before the first fault: during a fault clients wait, and offer less.
    """
    offered = offered_writes_per_s(operations, steady)
    if offered >= MINIMUM_WRITES_PER_S:
        return None
    return (
        f"{offered:.0f} writes/s were offered before the fault; below {MINIMUM_WRITES_PER_S:.0f} writes/s "
        "the gaps between writes are too coarse to state milliseconds"
    )


def failover(operations: Sequence[Operation], injected_ns: int) -> Measure:
    """From the completion of the old leader's last ok write to that of a later leader's first.

    Who proposed a write is known by its term. The old leader is the one of the highest term among the
    writes completed ok before the fault.
    """
    writes = [op for op in operations if op.is_write and op.outcome == "ok" and op.term is not None]
    before = [_term(op) for op in writes if _completed(op) < injected_ns]
    if not before:
        return Measure(None, "no write with a known term succeeded before the fault")
    old_term = max(before)
    last = max(_completed(op) for op in writes if _term(op) == old_term)
    later = [_completed(op) for op in writes if _term(op) > old_term]
    if not later:
        return Measure(None, f"no write succeeded under a leader later than that of term {old_term}")
    first = min(later)
    if first < last:
        return Measure(
            None,
            f"writes of the leader of term {old_term} still succeeded {(last - first) / NS_PER_MS:.0f} ms "
            "after the first of a later leader: there was no moment at which one took over",
        )
    return Measure(
        (first - last) / NS_PER_MS, f"from the last ok write of term {old_term} to the first after"
    )


def unavailability(operations: Sequence[Operation], fault: Window) -> Measure:
    """The longest stretch overlapping the fault in which no write succeeded.

    It counts whole, also where it began before the fault or ended after it.
    """
    writes = [op for op in operations if op.is_write]
    if not writes:
        return Measure(None, "no writes were offered")
    succeeded = sorted(_completed(op) for op in writes if op.outcome == "ok")
    first, last = writes[0].invoked_ns, max(op.invoked_ns for op in writes)
    marks = [min(first, *succeeded[:1]), *succeeded, max(last, *succeeded[-1:])]
    longest = 0
    for start, end in pairwise(marks):
        if end > fault.start_ns and start < fault.end_ns:
            longest = max(longest, end - start)
    return Measure(longest / NS_PER_MS, "the longest stretch around the fault without a write that succeeded")


def invoked_within(operations: Sequence[Operation], window: Window) -> Sequence[Operation]:
    """The operations invoked within the window; `operations` are in the order of their invocation."""
    invoked = [op.invoked_ns for op in operations]
    return operations[bisect_left(invoked, window.start_ns) : bisect_left(invoked, window.end_ns)]


def too_little_load(
    operations: Sequence[Operation], fault: Window, sides: Sequence[frozenset[str]], name: str
) -> list[str]:
    """Why the load during the fault proves nothing, or nothing at all.

    `sides` are the sets of members that each must have had clients; a side none of whose members a
    client was connected to got no operation.
    """
    during = invoked_within(operations, fault)
    reasons = []
    if len(during) < MINIMUM_OPERATIONS_UNDER_FAULT:
        reasons.append(
            f"only {len(during)} operations were invoked during {name}; "
            f"at least {MINIMUM_OPERATIONS_UNDER_FAULT} are needed to say anything"
        )
    reached = {op.member for op in during}
    reasons += [
        f"no operation was invoked during {name} at the side {', '.join(sorted(side))}"
        for side in sides
        if side and not side & reached
    ]
    return reasons


def _completed(operation: Operation) -> int:
    assert operation.completed_ns is not None, "an ok operation has been completed"
    return operation.completed_ns


def _term(operation: Operation) -> int:
    assert operation.term is not None
    return operation.term
