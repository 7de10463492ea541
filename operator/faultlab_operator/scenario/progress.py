"""A run's progress to and from the resource's status, which is where it survives the operator."""

from faultlab.contract.run import PhaseRecord, VerdictDocument
from faultlab_operator.api import ScenarioStatus
from faultlab_operator.api.scenario import ScenarioCheck, ScenarioFault, ScenarioPhase
from faultlab_operator.scenario.machine import Progress
from faultlab_operator.scenario.record import ARTIFACTS, REPORT_FILE
from faultlab_operator.scenario.world import Observation

TEXT_LIMIT = 1000
"""Characters of one reason or message in the status; verdict.json has the whole."""


def progress_of(status: ScenarioStatus) -> Progress:
    """The inverse of `set_progress`."""
    return Progress(
        phase=status.phase or "Pending",
        phases=tuple(PhaseRecord(each.name, each.started_at, each.ended_at) for each in status.phases),
        reasons=tuple(status.reasons),
        broken_off=bool(status.broken_off),
    )


def set_progress(status: ScenarioStatus, progress: Progress, seen: Observation) -> None:
    status.phase = progress.phase
    status.phases = [
        ScenarioPhase(name=each.name, started_at=each.started_at, ended_at=each.ended_at)
        for each in progress.phases
    ]
    status.reasons = [reason[:TEXT_LIMIT] for reason in progress.reasons]
    status.broken_off = progress.broken_off or None
    if progress.phases:
        status.started_at = progress.phases[0].started_at
    if seen.faults:
        status.faults = [
            ScenarioFault(
                name=fault.record.name,
                kind=fault.record.kind,
                injected_at=fault.record.injected_at,
                observed_at=fault.record.observed_at,
                healed_at=fault.record.healed_at,
                heal_verified_at=fault.record.heal_verified_at,
                cut_off=list(fault.record.cut_off),
            )
            for fault in seen.faults.values()
        ]


def set_verdict(status: ScenarioStatus, progress: Progress, document: VerdictDocument | None) -> None:
    """The judge's verdict; without one the run is Inconclusive for the reasons that it has."""
    status.ended_at = progress.phases[-1].started_at
    if document is None:
        status.verdict = "Inconclusive"
        return
    status.verdict = document.verdict
    status.reasons = [reason[:TEXT_LIMIT] for reason in document.reasons][:32]
    status.failover_ms = document.failover_ms
    status.failover = None if document.failover_ms is None else f"{document.failover_ms:.0f}ms"
    status.unavailability_ms = document.unavailability_ms
    status.leader_before, status.leader_after = document.leader_before, document.leader_after
    operations = document.operations
    status.operations = {"ok": operations.ok, "fail": operations.fail, "info": operations.info}
    status.checks = [
        ScenarioCheck(
            name=check.name,
            result=check.result,
            message=check.message[:TEXT_LIMIT],
            operations=check.operations,
            time_ms=check.time_ms,
        )
        for check in document.checks
    ]
    status.artifacts = list(ARTIFACTS)


def report_url(pages_url: str, uid: str, document: VerdictDocument | None) -> str | None:
    """Where a browser finds the run's report; None without a report, or where no browser gets."""
    return (
        f"{pages_url}/v1/runs/{uid}/artifacts/{REPORT_FILE}" if pages_url and document is not None else None
    )
