"""Whether a run counts: why a run that broke nothing may still have proven nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from faultlab.contract.run import FaultRecord, PhaseRecord
from faultlab_operator.api.duration import Duration
from faultlab_operator.scenario.measure import Window, too_little_load
from faultlab_operator.scenario.operations import Operation
from faultlab_operator.scenario.record import RunRecord
from faultlab_operator.scenario.times import NS_PER_S, wall_ns

STEADY_NS = 5 * NS_PER_S
"""How much of the time before a fault is looked at: the load's own start is not held against it."""


@dataclass(frozen=True)
class FaultWindow:
    """One fault on the history's clock, from its injection to its heal."""

    name: str
    window: Window


def history_ns(record: RunRecord, wall_time: str) -> int:
    """A wall time on the history's clock; the load must have started."""
    assert record.load_started_at is not None
    return wall_ns(wall_time) - wall_ns(record.load_started_at)


def fault_windows(record: RunRecord) -> list[FaultWindow]:
    """The faults that were injected and healed; without a load there is no clock to place them on."""
    if record.load_started_at is None:
        return []
    windows = []
    for fault in record.faults:
        if fault.injected_at is not None and fault.healed_at is not None:
            start, end = history_ns(record, fault.injected_at), history_ns(record, fault.healed_at)
            windows.append(FaultWindow(fault.name, Window(start, end)))
    return sorted(windows, key=lambda fault: fault.window.start_ns)


def steady_window(windows: Sequence[FaultWindow], operations: Sequence[Operation]) -> Window:
    """The last seconds in which the load ran undisturbed: those before the first fault."""
    if not operations:
        return Window(0, 0)
    start = operations[0].invoked_ns
    end = windows[0].window.start_ns if windows else operations[-1].invoked_ns
    return Window(max(start, end - STEADY_NS), end)


def reasons_not_to_count(
    record: RunRecord, operations: Sequence[Operation], windows: Sequence[FaultWindow]
) -> list[str]:
    """Every reason, in the order of the run; empty when the run counts."""
    reasons = list(record.reasons)
    if not operations:
        reasons.append("no operation was recorded")
    elif not record.history_complete:
        reasons.append("the history is not complete: the load did not finish, or it could not be fetched")
    reasons += _warm_up(record, operations)
    for fault in record.faults:
        reasons += _unproven(fault)
    for fault_window in windows:
        sides = [frozenset(side) for side in record.client_sides.get(fault_window.name, ())]
        reasons += too_little_load(operations, fault_window.window, sides, fault_window.name)
    missing = len(record.spec.get("timeline") or ()) - len(record.faults)
    if missing > 0:
        reasons.append(f"{missing} of the timeline's faults never came to be")
    return list(dict.fromkeys(reasons))


def _unproven(fault: FaultRecord) -> list[str]:
    because = f": {fault.message}" if fault.message else ""
    if fault.injected_at is None:
        return [f"{fault.name} was never injected{because}"]
    if fault.observed_at is None:
        return [f"{fault.name} was injected, and probes did not see it take effect{because}"]
    if fault.healed_at is None or fault.heal_verified_at is None:
        return [f"the heal of {fault.name} was not verified{because}"]
    return []


def _warm_up(record: RunRecord, operations: Sequence[Operation]) -> list[str]:
    wanted = record.spec.get("warmUp") or {}
    minimum = float(wanted.get("minimumOperationsPerSecond") or 0)
    phase = _phase(record.phases, "WarmUp")
    if phase is None or phase.ended_at is None or record.load_started_at is None:
        return ["the load never warmed up"]
    if not minimum:
        return []
    end = history_ns(record, phase.ended_at)
    length = int(Duration(str(wanted.get("duration", "5s"))).ms * 1_000_000)
    window = Window(max(0, end - length), end)
    done = sum(
        1
        for op in operations
        if op.outcome == "ok" and op.completed_ns is not None and window.holds(op.completed_ns)
    )
    rate = done / window.seconds if window.end_ns > window.start_ns else 0.0
    if rate >= minimum:
        return []
    return [f"only {rate:.0f} operations/s succeeded while warming up; at least {minimum:.0f} are needed"]


def _phase(phases: Sequence[PhaseRecord], name: str) -> PhaseRecord | None:
    return next((phase for phase in phases if phase.name == name), None)
