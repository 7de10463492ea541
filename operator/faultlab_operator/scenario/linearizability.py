"""The clients' history against what the system promises: the checker's answers as check records."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from faultlab.checker import CheckResult, check
from faultlab.contract.run import CheckRecord
from faultlab.history.events import Event, HistoryError
from faultlab.history.operations import Operation as CheckedOperation
from faultlab_operator.scenario.operations import Operation

MODEL = "mixed"
"""What the load offers: each key a register with compare-and-set, a list or a counter."""
STALE_MODEL = "stale-reads"
"""What `reads: stale` promises, as the checker has it."""

STALE_NOTE = (
    "judged by what reads: stale promises, not as linearizable (writes have one order; every read "
    "returned a value that somebody had begun to write): "
)

MAX_EVIDENCE = 200
"""Operations of a guilty window that are written down; minimal windows are far smaller."""

Checker = Callable[[Sequence[Event], str, float], CheckResult]
"""Events, model, time limit in seconds. Out of time or memory is `unknown`."""


def faultlab_checker(events: Sequence[Event], model: str, time_limit_s: float) -> CheckResult:
    """The project's own checker."""
    return check(events, model, time_limit_s=time_limit_s)


@dataclass
class HistoryChecks:
    """Each check is made once, when first asked for.

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
        """Every operation, key by key, against a register with compare-and-set, a list or a counter."""
        return self._ask("linearizable", MODEL, "")

    @cached_property
    def promised(self) -> CheckRecord:
        """`linearizable`, or with `reads: stale` that the writes are, and that no read was made up."""
        if not self.stale_reads:
            return self.linearizable
        return self._ask("promisedReads", STALE_MODEL, STALE_NOTE)

    def _ask(self, name: str, model: str, note: str) -> CheckRecord:
        if not self.events:
            return CheckRecord(name, "unknown", 0, 0.0, f"{note}there is no history")
        started = time.perf_counter()
        try:
            found = self.checker(self.events, model, max(0.1, self.deadline - time.monotonic()))
        except HistoryError as error:
            message = f"{note}the history is not well formed: {error}"
            return CheckRecord(name, "unknown", 0, (time.perf_counter() - started) * 1000, message)
        elapsed_ms = (time.perf_counter() - started) * 1000
        message = note + found.message
        if found.result != "invalid":
            result = "pass" if found.result == "valid" else "unknown"
            return CheckRecord(name, result, found.operations, elapsed_ms, message)  # type: ignore[arg-type]
        return CheckRecord(name, "fail", found.operations, elapsed_ms, message, self._window(found))

    def _window(self, found: CheckResult) -> dict[str, Any]:
        """The guilty operations in full, with the terms that the checker does not look at."""
        terms = {(op.process, op.invoked_ns): op.term for op in self.operations if op.key == found.key}
        window = [_evidence(op, terms.get((op.process, op.start))) for op in found.window]
        return {
            "key": found.key,
            "window": window[:MAX_EVIDENCE],
            "fromStart": found.window_from_start,
            "longestOrder": list(found.order),
        }


def _evidence(operation: CheckedOperation, term: int | None) -> dict[str, Any]:
    return {
        "index": operation.index,
        "process": operation.process,
        "f": operation.f,
        "key": operation.key,
        "value": operation.value,
        "result": operation.result,
        "outcome": operation.outcome,
        "startNs": operation.start,
        "endNs": operation.end,
        "member": operation.member,
        "term": term,
        "error": operation.error,
    }
