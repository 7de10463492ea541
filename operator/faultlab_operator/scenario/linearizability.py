"""The checker's answer about a history, as a check record with its evidence."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from faultlab.contract.run import CheckRecord
from faultlab.history.events import Event

from faultlab_operator.scenario.operations import Operation
from faultlab_operator.scenario.promises import invented_read, without_reads

MODEL = "cas-register"
CHECK = "linearizable"

STALE_NOTE = (
    "judged by what reads: stale promises, not as linearizable (writes and cas have one order; every read "
    "returned a value that was once written): "
)


@dataclass(frozen=True)
class Finding:
    """What the checker found."""

    result: Literal["valid", "invalid", "unknown"]
    operations: int
    message: str = ""
    key: str | None = None
    """Where it is invalid."""
    window: tuple[Operation, ...] = ()
    """The fewest operations of that key that have no order."""


Checker = Callable[[Sequence[Event], str, float], Finding]
"""Events, model, time limit in seconds -> finding."""


def check_linearizable(events: Sequence[Event], checker: Checker, deadline: float) -> CheckRecord:
    """Every operation, key by key, against a register with compare-and-set.

    `deadline` is of `time.monotonic()`; out of time or memory is `unknown`, never a guess.
    """
    started = time.perf_counter()
    return _record(checker(events, MODEL, _remaining(deadline)), started, "")


def check_stale_promise(
    events: Sequence[Event], operations: Sequence[Operation], checker: Checker, deadline: float
) -> CheckRecord:
    """What `reads: stale` promises: writes and cas linearizable, reads of nothing but what was written."""
    started = time.perf_counter()
    invented = invented_read(operations)
    if invented is not None:
        message = f"a read of {invented.key} returned {invented.read.result!r}, which nobody had written"
        finding = Finding("invalid", len(operations), message, invented.key, (invented.read,))
    else:
        finding = checker(list(without_reads(events)), MODEL, _remaining(deadline))
    return _record(finding, started, STALE_NOTE)


def evidence_of(operation: Operation) -> dict[str, Any]:
    """One guilty operation in full, as `verdict.json` and the report show it."""
    return {
        "process": operation.process,
        "f": operation.f,
        "key": operation.key,
        "value": operation.value,
        "outcome": operation.outcome,
        "result": operation.result,
        "invokedNs": operation.invoked_ns,
        "completedNs": operation.completed_ns,
        "member": operation.member,
        "term": operation.term,
        "error": operation.error,
    }


def _record(finding: Finding, started: float, note: str) -> CheckRecord:
    elapsed_ms = (time.perf_counter() - started) * 1000
    if finding.result == "valid":
        message = f"{note}all {finding.operations} operations fit one order"
        return CheckRecord(CHECK, "pass", finding.operations, elapsed_ms, message)
    if finding.result == "unknown":
        message = note + (finding.message or "the checker could not decide")
        return CheckRecord(CHECK, "unknown", finding.operations, elapsed_ms, message)
    message = note + (finding.message or f"{len(finding.window)} operations on {finding.key} have no order")
    evidence = {"key": finding.key, "window": [evidence_of(operation) for operation in finding.window]}
    return CheckRecord(CHECK, "fail", finding.operations, elapsed_ms, message, evidence)


def _remaining(deadline: float) -> float:
    return max(0.1, deadline - time.monotonic())
