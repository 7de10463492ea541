"""The phases of a scenario as a pure state machine: what was reached and what is seen in, what to do out.

    Pending -> Deploy -> Healthy -> WarmUp -> Fault -> Heal -> Settle -> FinalRead -> Check -> Done

Each phase has a timeout. Whatever goes wrong before Heal leads to Heal, with a reason that makes the run
Inconclusive: nothing ends while a fault may stand. After a failure Settle is skipped, and what history
there is still gets judged, since a violation is proof also in a run that went wrong elsewhere.

`plan` is called again and again, with time passing in between, until the phase is Done. It asks for an
action again until it is observed to be done.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from faultlab.contract.run import Phase, PhaseRecord, Verdict
from faultlab_operator.api import ScenarioSpec
from faultlab_operator.scenario.times import format_time, parse_time
from faultlab_operator.scenario.world import (
    Action,
    ApplyLoad,
    ApplySystem,
    Cleanup,
    CollectHistory,
    CreateFault,
    FaultSeen,
    FinishLoad,
    HealFault,
    Judge,
    Observation,
)

DEPLOY_TIMEOUT_S = 45.0
HEALTHY_TIMEOUT_S = 60.0
LOAD_START_TIMEOUT_S = 30.0
WARM_UP_PATIENCE_S = 15.0
"""How much longer a warm-up may last until the load reaches its minimum."""
FAULT_SLACK_S = 15.0
"""Beyond the last fault's end, for its injection and its heal."""
HEAL_TIMEOUT_S = 20.0
FINAL_READ_TIMEOUT_S = 45.0
LAST_COLLECT_S = 5.0
"""How long the history of a load that failed, or does not end, is asked for; its pod may be gone."""
CHECK_TIMEOUT_S = 90.0
LOOK_S = 0.25
"""Between two looks while nothing is known to be due."""
MAX_REASONS = 16
"""Further ones are dropped: the first say why."""


@dataclass(frozen=True)
class Progress:
    """How far a run is. Survives the operator: it is what the resource's status holds."""

    phase: Phase = "Pending"
    phases: tuple[PhaseRecord, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why the run does not count."""
    refused: str = ""
    """Why it was not begun at all."""
    broken_off: bool = False
    """The rest is only healed, collected and judged."""

    def started_at(self, phase: Phase) -> datetime | None:
        record = next((each for each in self.phases if each.name == phase), None)
        return None if record is None else parse_time(record.started_at)

    def because(self, reason: str) -> "Progress":
        """With a further reason; a reason is given once."""
        if not reason or reason in self.reasons or len(self.reasons) >= MAX_REASONS:
            return self
        return replace(self, reasons=(*self.reasons, reason))

    def enter(self, phase: Phase, now: datetime) -> "Progress":
        moment = format_time(now)
        done = tuple(
            each if each.ended_at else PhaseRecord(each.name, each.started_at, moment) for each in self.phases
        )
        entered = (*done, PhaseRecord(phase, moment, moment if phase == "Done" else None))
        return replace(self, phase=phase, phases=entered)

    def break_off(self, reason: str, now: datetime) -> "Progress":
        """On to Heal, whatever phase this is."""
        return replace(self.because(reason), broken_off=True).enter("Heal", now)


@dataclass(frozen=True)
class Step:
    """What comes next."""

    progress: Progress
    actions: tuple[Action, ...] = ()
    look_after_s: float | None = LOOK_S
    """None: never again."""


def plan(name: str, spec: ScenarioSpec, progress: Progress, seen: Observation, now: datetime) -> Step:
    """One look at the run of the scenario `name`."""
    if progress.phase == "Done":
        return Step(progress, look_after_s=None)
    for fault in seen.faults.values():
        progress = progress.because(fault.interrupted)
    progress = progress.because(seen.lost)
    if progress.phase in _BEFORE_HEAL:
        ended = _must_break_off(spec, progress, seen, now)
        if ended:
            return Step(progress.break_off(ended, now), look_after_s=0.0)
    return _PHASES[progress.phase](_Look(name, spec, progress, seen, now))


def fault_name(scenario: str, index: int) -> str:
    """The name of the resource that entry `index` of the timeline becomes."""
    return f"{scenario}-fault-{index + 1}"


def expected_ms(spec: ScenarioSpec) -> int:
    """How long the run takes if nothing goes wrong, roughly."""
    return int(12_000 + spec.warm_up.duration.ms + timeline_ms(spec) + spec.settle.ms + 8_000)


def timeline_ms(spec: ScenarioSpec) -> float:
    """From the start of the Fault phase to the planned end of the last fault."""
    return max((entry.at.ms + entry.fault.spec.duration.ms for entry in spec.timeline), default=0.0)


@dataclass(frozen=True)
class _Look:
    name: str
    spec: ScenarioSpec
    progress: Progress
    seen: Observation
    now: datetime

    def seconds_in(self, phase: Phase) -> float:
        started = self.progress.started_at(phase)
        assert started is not None, f"phase {phase} was never entered"
        return (self.now - started).total_seconds()

    def on_to(self, phase: Phase, *reasons: str) -> Step:
        progress = self.progress
        for reason in reasons:
            progress = progress.because(reason)
        return Step(progress.enter(phase, self.now), look_after_s=0.0)

    def wait(self, *actions: Action, look_after_s: float = LOOK_S) -> Step:
        return Step(self.progress, actions, look_after_s)

    def break_off(self, reason: str) -> Step:
        return Step(self.progress.break_off(reason, self.now), look_after_s=0.0)


def _must_break_off(spec: ScenarioSpec, progress: Progress, seen: Observation, now: datetime) -> str:
    """Why the run cannot go on to further faults; empty when it can."""
    started = parse_time(progress.phases[0].started_at) if progress.phases else now
    if now - started > timedelta(milliseconds=spec.timeout.ms):
        return f"the run took longer than its timeout of {spec.timeout}"
    if seen.load.failed:
        return f"the load failed: {seen.load.failed}"
    return ""


def _pending(look: _Look) -> Step:
    foreign = [each.foreign for each in look.seen.systems.values() if each.foreign]
    if look.seen.load.foreign:
        foreign.append(look.seen.load.foreign)
    if foreign:
        refused = replace(look.progress, refused=foreign[0], reasons=(foreign[0],))
        return Step(refused.enter("Done", look.now), look_after_s=None)
    return look.on_to("Deploy")


def _deploy(look: _Look) -> Step:
    missing = [
        system.metadata.name
        for system in look.spec.systems
        if not look.seen.systems[system.metadata.name].exists
    ]
    if not missing:
        return look.on_to("Healthy")
    foreign = [each.foreign for each in look.seen.systems.values() if each.foreign]
    if foreign:
        return look.break_off(foreign[0])
    if look.seconds_in("Deploy") > DEPLOY_TIMEOUT_S:
        return look.break_off(f"{', '.join(missing)} could not be created within {DEPLOY_TIMEOUT_S:.0f} s")
    return look.wait(*(ApplySystem(name) for name in missing))


def _healthy(look: _Look) -> Step:
    unready = {name: each for name, each in look.seen.systems.items() if not each.ready}
    if not unready:
        return look.on_to("WarmUp")
    if look.seconds_in("Healthy") > HEALTHY_TIMEOUT_S:
        why = "; ".join(f"{name}: {each.message or 'no status yet'}" for name, each in unready.items())
        return look.break_off(f"not healthy within {HEALTHY_TIMEOUT_S:.0f} s: {why}")
    gone = [name for name, each in unready.items() if not each.exists]
    return look.wait(*(ApplySystem(name) for name in gone))


def _warm_up(look: _Look) -> Step:
    """The load's first `duration`, and longer while it is below the minimum, within WARM_UP_PATIENCE_S.

    Whether it was fast enough in the end is judged from the history.
    """
    seen, spec = look.seen, look.spec
    if seen.load.foreign:
        return look.break_off(seen.load.foreign)
    running = seen.load.status is not None and seen.load.status.phase == "running"
    if not running:
        if look.seconds_in("WarmUp") > LOAD_START_TIMEOUT_S:
            return look.break_off(f"the load did not start within {LOAD_START_TIMEOUT_S:.0f} s")
        return look.wait(*(() if seen.load.exists else (ApplyLoad(),)))
    assert seen.load.status is not None
    status = seen.load.status
    since_ns = status.running_since_monotonic_ns
    warmed_ms = 0.0 if since_ns is None else (status.monotonic_ns - since_ns) / 1e6
    # The status is some hundred milliseconds old; waiting that much longer does no harm.
    left_s = (spec.warm_up.duration.ms - warmed_ms) / 1000
    patient = look.seconds_in("WarmUp") < spec.warm_up.duration.seconds + WARM_UP_PATIENCE_S
    too_slow = status.window.ok < spec.warm_up.minimum_operations_per_second
    if left_s > 0 or (too_slow and patient):
        return look.wait(look_after_s=min(max(left_s, 0.1), LOOK_S))
    return look.on_to("Fault")


def _fault(look: _Look) -> Step:
    elapsed = look.seconds_in("Fault")
    actions: list[Action] = []
    waits = [LOOK_S]
    all_over = True
    for index, entry in enumerate(look.spec.timeline):
        name = fault_name(look.name, index)
        due_in = entry.at.seconds - elapsed
        fault = look.seen.faults.get(name)
        if fault is None:
            all_over = False
            if due_in <= 0:
                actions.append(CreateFault(index, name))
            else:
                waits.append(due_in)
        elif fault.refused:
            return look.break_off(f"{name} was refused: {fault.refused}")
        else:
            all_over = all_over and fault.over
    if all_over:
        return look.on_to("Heal")
    if elapsed > timeline_ms(look.spec) / 1000 + FAULT_SLACK_S:
        return look.break_off("the timeline did not end in time")
    return look.wait(*actions, look_after_s=min(waits))


def _heal(look: _Look) -> Step:
    standing = {name: fault for name, fault in look.seen.faults.items() if not fault.closed}
    if not standing:
        if not look.progress.broken_off:
            return look.on_to("Settle")
        return look.on_to("FinalRead" if look.seen.load.exists else "Check")
    if look.seconds_in("Heal") > HEAL_TIMEOUT_S:
        broken = replace(look, progress=replace(look.progress, broken_off=True))
        reasons = [f"the heal of {name} was not verified in time" for name in standing]
        return broken.on_to("FinalRead" if look.seen.load.exists else "Check", *reasons)
    return look.wait(*(HealFault(name) for name, fault in standing.items() if _needs_heal(fault)))


def _needs_heal(fault: FaultSeen) -> bool:
    return not fault.over


def _settle(look: _Look) -> Step:
    left = look.spec.settle.seconds - look.seconds_in("Settle")
    if look.seen.load.failed:
        return look.on_to("FinalRead", f"the load failed: {look.seen.load.failed}")
    return look.wait(look_after_s=min(left, LOOK_S)) if left > 0 else look.on_to("FinalRead")


def _final_read(look: _Look) -> Step:
    """Has the load end itself; of a load that does not, the history so far is better than none."""
    seen, elapsed_s = look.seen, look.seconds_in("FinalRead")
    limit_s = FINAL_READ_TIMEOUT_S
    late = () if elapsed_s <= limit_s else (f"the final read took longer than {limit_s:.0f} s",)
    if seen.history_collected:
        return look.on_to("Check", *late, *_unread(seen))
    if seen.history_refused:
        return look.on_to("Check", *late, seen.history_refused)
    patience_s = LAST_COLLECT_S + (0.0 if seen.load.failed else limit_s)
    if elapsed_s > patience_s:
        return look.on_to("Check", *late, "the load's history could not be had")
    phase = seen.load.status.phase if seen.load.status is not None else None
    if phase == "finished" or seen.load.failed or late:
        return look.wait(CollectHistory())
    return look.wait() if phase == "finishing" else look.wait(FinishLoad())


def _unread(seen: Observation) -> tuple[str, ...]:
    """A write that was acknowledged and lost might have been among what nobody read again."""
    unread = seen.load.status.unread if seen.load.status is not None else 0
    return (f"the final read did not come to {unread} of the keys",) if unread else ()


def _check(look: _Look) -> Step:
    seen = look.seen
    if seen.verdict is not None:
        return _done(look.on_to("Done"), cleans_up(look.spec, seen.verdict))
    if seen.judge_error or look.seconds_in("Check") > CHECK_TIMEOUT_S:
        reason = seen.judge_error or f"the judge took longer than {CHECK_TIMEOUT_S:.0f} s"
        return _done(look.on_to("Done", reason), cleans_up(look.spec, None))
    return look.wait(Judge())


def _done(step: Step, clean: bool) -> Step:
    return replace(step, actions=(Cleanup(),) if clean else (), look_after_s=None)


def cleans_up(spec: ScenarioSpec, verdict: Verdict | None) -> bool:
    """Whether systems and load go after this verdict."""
    return spec.cleanup == "always" or (spec.cleanup == "onPass" and verdict == "Pass")


_BEFORE_HEAL = frozenset({"Deploy", "Healthy", "WarmUp", "Fault"})

_PHASES: dict[Phase, Callable[[_Look], Step]] = {
    "Pending": _pending,
    "Deploy": _deploy,
    "Healthy": _healthy,
    "WarmUp": _warm_up,
    "Fault": _fault,
    "Heal": _heal,
    "Settle": _settle,
    "FinalRead": _final_read,
    "Check": _check,
}
