"""Writes the history as it happens, and counts what the last second held.

One recorder a process. Process numbers follow Jepsen: a client whose operation ended in `info`
goes on under a new number, because nobody knows whether the old one is still at it.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from faultlab.contract.load import LoadWindow
from faultlab.history.events import Event, EventType, encode_event
from faultlab.load.choice import ANSWERED_BY_VALUE, Operation

PROCESSES_PER_WORKER = 10_000_000
WINDOW_NS = 1_000_000_000


class Completion(NamedTuple):
    at_ns: int
    outcome: EventType
    latency_ms: float


class Recorder:
    """The history of one worker process, in a file of its own.

    `clock` returns nanoseconds (CLOCK_MONOTONIC, which all processes of one kernel share);
    `start_ns` is where the history's time is 0.
    """

    def __init__(self, path: Path | None, *, worker: int, start_ns: int, clock: Callable[[], int]) -> None:
        self._file = path.open("wb") if path else None
        self._clock = clock
        self._start_ns = start_ns
        self._first_process = worker * PROCESSES_PER_WORKER
        self._processes = 0
        self.open = 0
        """Operations invoked and not completed."""
        self.totals = {"ok": 0, "fail": 0, "info": 0}
        self.first_completion_ns: int | None = None
        self._completions: deque[Completion] = deque()
        self._writes_offered: deque[int] = deque()

    def new_process(self) -> int:
        """A number that no client of this run has had."""
        self._processes += 1
        return self._first_process + self._processes - 1

    def invoke(self, process: int, operation: Operation, member: str, intended_ns: int | None) -> int:
        """Records the invocation and returns its time on the clock."""
        now_ns = self._clock()
        self.open += 1
        if operation.f != "read":
            self._writes_offered.append(now_ns if intended_ns is None else intended_ns)
        self._write(
            Event(
                process=process,
                type="invoke",
                f=operation.f,
                key=operation.key,
                value=operation.value,
                time=now_ns - self._start_ns,
                member=member,
                intended=None if intended_ns is None else intended_ns - self._start_ns,
            )
        )
        return now_ns

    def complete(
        self,
        process: int,
        operation: Operation,
        outcome: EventType,
        *,
        since_ns: int,
        member: str,
        value: Any = None,
        term: int | None = None,
        error: str | None = None,
        attempts: int = 1,
    ) -> float:
        """Records the completion and returns its latency in milliseconds, counted from `since_ns`."""
        now_ns = self._clock()
        latency_ms = (now_ns - since_ns) / 1e6
        self.open -= 1
        self.totals[outcome] += 1
        if self.first_completion_ns is None:
            self.first_completion_ns = now_ns
        self._completions.append(Completion(now_ns, outcome, latency_ms))
        self._forget(now_ns)
        self._write(
            Event(
                process=process,
                type=outcome,
                f=operation.f,
                key=operation.key,
                value=value if operation.f in ANSWERED_BY_VALUE else operation.value,
                time=now_ns - self._start_ns,
                member=member,
                term=term,
                error=error,
                attempts=attempts,
            )
        )
        return latency_ms

    def window(self) -> LoadWindow:
        """The last second."""
        self._forget(self._clock())
        outcomes = [completion.outcome for completion in self._completions]
        latencies = sorted(c.latency_ms for c in self._completions if c.outcome == "ok")
        return LoadWindow(
            operations_per_second=float(len(outcomes)),
            writes_offered_per_second=float(len(self._writes_offered)),
            ok=outcomes.count("ok"),
            fail=outcomes.count("fail"),
            info=outcomes.count("info"),
            p50_ms=_percentile(latencies, 0.50),
            p99_ms=_percentile(latencies, 0.99),
        )

    def flush(self) -> None:
        if self._file:
            self._file.flush()

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _write(self, event: Event) -> None:
        if self._file:
            self._file.write(encode_event(event) + b"\n")

    def _forget(self, now_ns: int) -> None:
        oldest = now_ns - WINDOW_NS
        while self._completions and self._completions[0].at_ns < oldest:
            self._completions.popleft()
        while self._writes_offered and self._writes_offered[0] < oldest:
            self._writes_offered.popleft()


def _percentile(sorted_values: list[float], fraction: float) -> float | None:
    if not sorted_values:
        return None
    return round(sorted_values[min(int(len(sorted_values) * fraction), len(sorted_values) - 1)], 3)


def merge_windows(windows: list[LoadWindow]) -> LoadWindow:
    """The windows of several workers as one: counts add up, of percentiles the worst is kept."""
    p50s = [w.p50_ms for w in windows if w.p50_ms is not None]
    p99s = [w.p99_ms for w in windows if w.p99_ms is not None]
    return LoadWindow(
        operations_per_second=sum(w.operations_per_second for w in windows),
        writes_offered_per_second=sum(w.writes_offered_per_second for w in windows),
        ok=sum(w.ok for w in windows),
        fail=sum(w.fail for w in windows),
        info=sum(w.info for w in windows),
        p50_ms=max(p50s, default=None),
        p99_ms=max(p99s, default=None),
    )
