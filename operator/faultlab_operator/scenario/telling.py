"""A run's own events: phases that began, faults that came and went, the load's start and end.

Told from what is observed, not when something is done, so that an operator that starts again tells each
once and with the time at which it happened.
"""

from faultlab.contract.run import FaultRecord
from faultlab_operator.api import Scenario
from faultlab_operator.scenario.machine import Progress
from faultlab_operator.scenario.recorder import Recorder
from faultlab_operator.scenario.world import FaultSeen, Observation


def tell(
    recorder: Recorder, scenario: Scenario, before: Progress, after: Progress, seen: Observation, now: str
) -> None:
    """Records what is new; `now` is the time of what has none of its own."""
    for phase in after.phases:
        recorder.add("scenario", "PhaseChanged", f"phase {phase.name}", phase.started_at, subject=phase.name)
    for reason in after.reasons[len(before.reasons) :]:
        recorder.add("scenario", "NotCounting", reason, now, subject=scenario.metadata.name)
    for fault in seen.faults.values():
        _tell_fault(recorder, fault, now)
    status = seen.load.status
    if status is not None and status.phase != "starting":
        known = {"running": "LoadStarted", "finishing": "LoadFinishing", "finished": "LoadFinished"}
        if status.phase in known:
            said = f"the load is {status.phase}: {status.ok} ok, {status.fail} failed, {status.info} unknown"
            recorder.tell_once("load", known[status.phase], said, now, subject=status.name)
    if seen.load.failed:
        recorder.tell_once("load", "LoadFailed", seen.load.failed, now, subject=scenario.metadata.name)


def _tell_fault(recorder: Recorder, fault: FaultSeen, now: str) -> None:
    record = fault.record
    sides = ", ".join(record.cut_off) or "members from each other"
    edges = f"{len(record.cut_edges)} one-way edges"
    for type_, moment, said in (
        ("Selected", fault.selected_at, f"{record.name} chose {sides}"),
        ("Injected", record.injected_at, f"{record.name} cuts off {sides} ({edges})"),
        ("EffectObserved", record.observed_at, f"probes prove the cut of {sides}"),
        ("Healed", record.healed_at, f"{record.name} healed"),
        ("HealVerified", record.heal_verified_at, f"probes prove that {record.name} is healed"),
    ):
        if moment is not None:
            recorder.add("fault", type_, said, moment, subject=record.name, detail=_edges(type_, record))
    if fault.interrupted:
        recorder.tell_once("fault", "Interrupted", fault.interrupted, now, subject=record.name)
    if fault.refused:
        recorder.tell_once("fault", "Refused", fault.refused, now, subject=record.name)


def _edges(type_: str, record: FaultRecord) -> str | None:
    if type_ != "Injected":
        return None
    return ", ".join(f"{edge.source}→{edge.target}" for edge in record.cut_edges)
