"""The verdict on a run, as a pure function of what the run's directory holds.

- Fail: a safety property was violated (that is proof, whatever else went wrong), or the run counts and
  an expectation was not met.
- Inconclusive: the run does not count (the fault did not take effect, too little load, ...), or a check
  could not be decided.
- Pass: everything expected is proven.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from faultlab.contract.run import CheckRecord, OperationCounts, RunEvent, Verdict, VerdictDocument
from faultlab.history.events import Event, HistoryError, read_events
from faultlab_operator.scenario import measure
from faultlab_operator.scenario.counting import (
    FaultWindow,
    fault_windows,
    reasons_not_to_count,
    steady_window,
)
from faultlab_operator.scenario.errors import RecordError
from faultlab_operator.scenario.expectations import Findings, check_expectations
from faultlab_operator.scenario.invariants import check_invariants
from faultlab_operator.scenario.linearizability import Checker, HistoryChecks
from faultlab_operator.scenario.measure import Measure
from faultlab_operator.scenario.operations import Operation, pair
from faultlab_operator.scenario.record import HISTORY_FILE, RunRecord, read_record, read_run_events
from faultlab_operator.scenario.times import format_time, wall_ns

SAFETY = frozenset({"linearizable", "promisedReads", "electionSafety", "logMatching", "memberInvariants"})
"""Checks whose failure is proof, also in a run that does not count otherwise."""


@dataclass(frozen=True)
class Run:
    """What the directory holds."""

    record: RunRecord
    history: list[Event]
    operations: list[Operation]
    events: list[RunEvent]


def load_run(directory: Path) -> Run:
    """Raises RecordError where the directory is not a run's."""
    record = read_record(directory)
    path = directory / HISTORY_FILE
    try:
        history = list(read_events(path)) if path.exists() else []
    except HistoryError as error:
        raise RecordError(str(error)) from error
    return Run(record, history, pair(history), read_run_events(directory))


def judge(run: Run, checker: Checker, deadline: float) -> VerdictDocument:
    """The verdict. `deadline` is of `time.monotonic()`, for the checks.

    Raises SpecError for an expectation that is not known.
    """
    record = run.record
    windows = fault_windows(record)
    elections = tuple(
        event for event in run.events if event.type == "LeaderElected" and event.term is not None
    )
    failover, unavailability = _measures(run, windows)
    injected_ns = min((wall_ns(f.injected_at) for f in record.faults if f.injected_at), default=None)
    findings = Findings(
        history=HistoryChecks(run.history, run.operations, reads_stale(record), checker, deadline),
        invariants=tuple(check_invariants(run.events)),
        failover=failover,
        unavailability=unavailability,
        injected_ns=injected_ns,
        leader_before=_leader_at(elections, injected_ns),
        elections=elections,
    )
    checks = check_expectations(record.spec.get("expect") or (), findings)
    not_counting = reasons_not_to_count(record, run.operations, windows)
    verdict, reasons = decide(checks, not_counting)
    return VerdictDocument(
        verdict=verdict,
        reasons=tuple(reasons),
        scenario=record.scenario,
        namespace=record.namespace,
        world=record.world,
        seed=record.seed,
        operations=_counts(run.operations),
        failover_ms=failover.ms,
        unavailability_ms=unavailability.ms,
        leader_before=findings.leader_before,
        leader_after=_leader_at(elections, None),
        terms=tuple(dict.fromkeys(event.term for event in elections if event.term is not None)),
        faults=record.faults,
        checks=tuple(checks),
        started_at=record.started_at,
        ended_at=format_time(datetime.now(UTC)),
        versions=record.versions,
        settings=record.spec,
    )


def decide(checks: Sequence[CheckRecord], not_counting: Sequence[str]) -> tuple[Verdict, list[str]]:
    """The verdict and its reasons, the deciding ones first."""
    violated = [f"{check.name}: {check.message}" for check in checks if check.result == "fail"]
    proof = [check for check in checks if check.result == "fail" and check.name in SAFETY]
    undecided = [f"{check.name} is unknown: {check.message}" for check in checks if check.result == "unknown"]
    if proof or (violated and not not_counting):
        return "Fail", [*violated, *not_counting, *undecided]
    if not_counting or undecided:
        return "Inconclusive", [*not_counting, *undecided, *violated]
    return "Pass", []


def _measures(run: Run, windows: Sequence[FaultWindow]) -> tuple[Measure, Measure]:
    """Failover and unavailability: the longest over the run's faults, or why they cannot be stated."""
    if not windows:
        nothing = Measure(None, "no fault was injected and healed while the load ran")
        return nothing, nothing
    sparse = measure.offered_enough(run.operations, steady_window(windows, run.operations))
    if sparse is not None:
        return Measure(None, sparse), Measure(None, sparse)
    return (
        _longest([measure.failover(run.operations, fault.window.start_ns) for fault in windows]),
        _longest([measure.unavailability(run.operations, fault.window) for fault in windows]),
    )


def _longest(measures: Sequence[Measure]) -> Measure:
    stated = [(each.ms, each) for each in measures if each.ms is not None]
    return max(stated, key=lambda pair: pair[0])[1] if stated else measures[0]


def reads_stale(record: RunRecord) -> bool:
    """Whether the system under load promises only `reads: stale`."""
    under_load = (record.spec.get("load") or {}).get("system", {}).get("name")
    for manifest in record.spec.get("systems") or ():
        if (manifest.get("metadata") or {}).get("name") == under_load:
            return (manifest.get("spec") or {}).get("reads") == "stale"
    return False


def _leader_at(elections: Sequence[RunEvent], before_ns: int | None) -> str | None:
    """The last to be elected before this wall time; without a time, the last of all."""
    elected = [event for event in elections if before_ns is None or wall_ns(event.wall_time) < before_ns]
    return max(elected, key=lambda event: event.term or 0).subject if elected else None


def _counts(operations: Sequence[Operation]) -> OperationCounts:
    counted = {"ok": 0, "fail": 0, "info": 0}
    for operation in operations:
        counted[operation.outcome] += 1
    return OperationCounts(**counted)
