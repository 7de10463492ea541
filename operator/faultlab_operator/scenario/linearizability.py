"""The checker's answer about a history, as a check record with its evidence."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from faultlab.contract.run import CheckRecord
from faultlab.history.events import Event

from faultlab_operator.scenario.operations import Operation
from faultlab_operator.scenario.promises import invented_read, without_reads

MODEL = "cas-register"

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


@dataclass
class HistoryChecks:
    """The clients' history against what the system promises; each check is made once, when first asked for.

    `deadline` is of `time.monotonic()`; out of time or memory is `unknown`, never a guess.
    """

    events: Sequence[Event]
    operations: Sequence[Operation]
    stale_reads: bool
    """Whether the system promises only `reads: stale`."""
    checker: Checker
    deadline: float

    @cached_property
    def linearizable(self) -> CheckRecord:
        """Every operation, key by key, against a register with compare-and-set."""
        started = time.perf_counter()
        return _record("linearizable", self._ask(self.events), started, "")

    @cached_property
    def promised(self) -> CheckRecord:
        """`linearizable`, or with `reads: stale` that the writes are, and that no read was made up."""
        if not self.stale_reads:
            return self.linearizable
        started = time.perf_counter()
        invented = invented_read(self.operations)
        if invented is None:
            finding = self._ask(list(without_reads(self.events)))
        else:
            message = f"a read of {invented.key} returned {invented.result!r}, which nobody had written"
            finding = Finding("invalid", len(self.operations), message, invented.key, (invented,))
        return _record("promisedReads", finding, started, STALE_NOTE)

    def _ask(self, events: Sequence[Event]) -> Finding:
        return self.checker(events, MODEL, max(0.1, self.deadline - time.monotonic()))


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


def _record(name: str, finding: Finding, started: float, note: str) -> CheckRecord:
    elapsed_ms = (time.perf_counter() - started) * 1000
    if finding.result == "valid":
        message = f"{note}all {finding.operations} operations fit one order"
        return CheckRecord(name, "pass", finding.operations, elapsed_ms, message)
    if finding.result == "unknown":
        message = note + (finding.message or "the checker could not decide")
        return CheckRecord(name, "unknown", finding.operations, elapsed_ms, message)
    message = note + (finding.message or f"{len(finding.window)} operations on {finding.key} have no order")
    evidence = {"key": finding.key, "window": [evidence_of(operation) for operation in finding.window]}
    return CheckRecord(name, "fail", finding.operations, elapsed_ms, message, evidence)
