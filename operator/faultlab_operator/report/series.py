"""What the charts draw, as plain numbers: operations in buckets, members' roles as stretches. Pure.

Buckets are by completion: an operation belongs to the moment at which its client knew the outcome.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from faultlab.contract.run import RunEvent
from faultlab_operator.scenario.operations import Operation
from faultlab_operator.scenario.times import NS_PER_MS, NS_PER_S

BUCKET_MS = 250
MAX_BUCKETS = 14_400
"""An hour; what comes later is not drawn."""


@dataclass(slots=True)
class Bucket:
    """A quarter of a second; latencies are of answered operations, from the intended start."""

    reads: int = 0
    """Answered reads, and cas that found another value."""
    writes: int = 0
    """Writes, and cas that swapped."""
    refused: int = 0
    """Certainly did not happen."""
    unknown: int = 0
    """Nobody knows whether they happened."""
    latencies_ns: list[int] = field(default_factory=list)

    def percentile_ms(self, fraction: float) -> float | None:
        """The latency that this fraction of the operations stayed within; None without operations."""
        if not self.latencies_ns:
            return None
        rank = max(0, math.ceil(fraction * len(self.latencies_ns)) - 1)
        return sorted(self.latencies_ns)[rank] / NS_PER_MS


@dataclass(frozen=True)
class Buckets:
    """Consecutive buckets from `start_s` on, in seconds on the history's clock."""

    start_s: float
    buckets: tuple[Bucket, ...]

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.buckets) * BUCKET_MS / 1000

    def middle_s(self, index: int) -> float:
        return self.start_s + (index + 0.5) * BUCKET_MS / 1000


def bucketed(operations: Sequence[Operation]) -> Buckets:
    """All operations from the first invocation to the last completion."""
    if not operations:
        return Buckets(0.0, ())
    width = BUCKET_MS * NS_PER_MS
    start = operations[0].invoked_ns // NS_PER_S * NS_PER_S
    end = max(op.completed_ns or op.invoked_ns for op in operations)
    count = min(MAX_BUCKETS, (end - start) // width + 1)
    buckets = tuple(Bucket() for _ in range(count))
    for operation in operations:
        if operation.completed_ns is None:
            continue
        index = (operation.completed_ns - start) // width
        if index < count:
            _count(buckets[index], operation)
    return Buckets(start / NS_PER_S, buckets)


def _count(bucket: Bucket, operation: Operation) -> None:
    answered = operation.outcome == "ok" or is_unequal_cas(operation)
    if answered:
        if operation.is_write and operation.outcome == "ok":
            bucket.writes += 1
        else:
            bucket.reads += 1
        latency = operation.latency_ns
        assert latency is not None
        bucket.latencies_ns.append(latency)
    elif operation.outcome == "fail":
        bucket.refused += 1
    else:
        bucket.unknown += 1


def is_unequal_cas(operation: Operation) -> bool:
    """A cas that was answered, and found another value: a leader's term came with the answer."""
    return operation.f == "cas" and operation.outcome == "fail" and operation.term is not None


@dataclass(frozen=True)
class Stretch:
    """A member in one role for a while; times in seconds on the history's clock."""

    start_s: float
    end_s: float
    role: str
    term: int | None


def role_lanes(
    events: Sequence[RunEvent], members: Sequence[str], start_s: float, end_s: float
) -> dict[str, list[Stretch]]:
    """Each member's roles between the two times, from its own events."""
    lanes: dict[str, list[Stretch]] = {}
    for member in members:
        said = [
            (event.time_ns / NS_PER_S, _role(event), event.term)
            for event in events
            if event.source == "member"
            and event.subject == member
            and event.time_ns is not None
            and _role(event)
        ]
        lanes[member] = _stretches(sorted(said, key=lambda each: each[0]), start_s, end_s)
    return lanes


def _role(event: RunEvent) -> str:
    if event.type == "LeaderElected":
        return "leader"
    if event.type == "Started":
        return "follower"  # what every member is until it says otherwise
    return event.role or "" if event.type == "RoleChanged" else ""


def _stretches(said: Sequence[tuple[float, str, int | None]], start_s: float, end_s: float) -> list[Stretch]:
    stretches: list[Stretch] = []
    for index, (at, role, term) in enumerate(said):
        until = said[index + 1][0] if index + 1 < len(said) else end_s
        begin, end = max(at, start_s), min(until, end_s)
        if end <= begin:
            continue
        last = stretches[-1] if stretches else None
        if last is not None and (last.role, last.term) == (role, term):
            stretches[-1] = Stretch(last.start_s, end, role, term)
        else:
            stretches.append(Stretch(begin, end, role, term))
    return stretches
