"""The phases of a scenario under virtual time, in a World of a few lines."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from faultlab.contract.load import LoadStatus, LoadWindow
from faultlab.contract.run import FaultRecord
from faultlab_operator.api import ScenarioSpec
from faultlab_operator.scenario.machine import WARM_UP_PATIENCE_S, Progress, plan
from faultlab_operator.scenario.observing import see_fault
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
    LoadSeen,
    Observation,
    SystemSeen,
)

EPOCH = datetime(2026, 1, 31, tzinfo=UTC)
WAYS = ("Deploy", "Healthy", "WarmUp", "Fault", "Heal", "Settle", "FinalRead", "Check", "Done")


def spec(**changes: Any) -> ScenarioSpec:
    partition = {"topology": {"type": "minority"}, "duration": "10s"}
    whole = {
        "systems": [{"kind": "RaftCluster", "metadata": {"name": "demo"}}],
        "load": {"system": {"kind": "RaftCluster", "name": "demo"}},
        "warmUp": {"duration": "5s"},
        "timeline": [{"at": "2s", "fault": {"kind": "NetworkPartition", "spec": partition}}],
        "settle": "3s",
        "expect": [{"check": "linearizable"}],
        **changes,
    }
    return ScenarioSpec.model_validate(whole)


def nothing(_world: "SimulatedWorld") -> None:
    """Bends nothing."""


@dataclass
class SimulatedWorld:
    """Everything takes a moment and works; tests bend it."""

    scenario: ScenarioSpec = field(default_factory=spec)
    now: datetime = EPOCH
    seen: Observation = field(default_factory=lambda: Observation(systems={"demo": SystemSeen()}))
    progress: Progress = field(default_factory=Progress)
    done: list[tuple[str, Action]] = field(default_factory=list)
    fault_at: dict[str, datetime] = field(default_factory=dict)
    bend: Callable[["SimulatedWorld"], None] = nothing

    def run(self, limit_s: float = 600) -> "SimulatedWorld":
        while self.progress.phase != "Done":
            assert self.now < EPOCH + timedelta(seconds=limit_s), f"stuck in {self.progress.phase}"
            self._pass_time()
            self.bend(self)
            step = plan("run", self.scenario, self.progress, self.seen, self.now)
            self.progress = step.progress
            for action in step.actions:
                self.done.append((self.progress.phase, action))
                self._do(action)
            self.now += timedelta(seconds=max(0.01, step.look_after_s or 0.01))
        return self

    def phases(self) -> tuple[str, ...]:
        return tuple(record.name for record in self.progress.phases)

    def actions(self, kind: type) -> list[Any]:
        return [action for _, action in self.done if isinstance(action, kind)]

    def _pass_time(self) -> None:
        load = self.seen.load
        if load.status is not None:
            elapsed = int((self.now - self._load_from).total_seconds() * 1e9)
            load = replace(load, status=load_status(load.status.phase, elapsed))
        faults = {}
        for name, fault in self.seen.faults.items():
            ended = self.now - self.fault_at[name] > timedelta(seconds=10)
            faults[name] = replace(fault, over=fault.over or ended, closed=fault.closed or ended)
        self.seen = replace(self.seen, load=load, faults=faults)

    def _do(self, action: Action) -> None:
        match action:
            case ApplySystem(name):
                self._see(systems={name: SystemSeen(exists=True, ready=True)})
            case ApplyLoad():
                self._load_from = self.now
                self._see(load=LoadSeen(exists=True, status=load_status("running", 0)))
            case CreateFault(_, name):
                self.fault_at.setdefault(name, self.now)
                record = FaultRecord(name, "NetworkPartition", None, None, None, None)
                self._see(faults={**self.seen.faults, name: FaultSeen(record)})
            case HealFault(name):
                healed = replace(self.seen.faults[name], over=True, closed=True)
                self._see(faults={**self.seen.faults, name: healed})
            case FinishLoad():
                self._see(load=replace(self.seen.load, status=load_status("finished", 0)))
            case CollectHistory():
                self._see(history_collected=True)
            case Judge():
                self._see(verdict="Pass")
            case Cleanup():
                pass

    def _see(self, **changes: Any) -> None:
        self.seen = replace(self.seen, **changes)


def load_status(phase: Any, elapsed_ns: int) -> LoadStatus:
    window = LoadWindow(600, 300, 600, 0, 0, 1.0, 2.0)
    return LoadStatus("demo", phase, 0, 0, 0, 0, 20, window, elapsed_ns, format_time(EPOCH), 0, 0)


def test_a_run_goes_through_all_phases_in_order_and_cleans_up() -> None:
    world = SimulatedWorld().run()
    assert world.phases() == WAYS
    assert world.progress.reasons == ()
    assert len(world.actions(Cleanup)) == 1
    assert [record.ended_at is not None for record in world.progress.phases] == [True] * len(WAYS)


def test_the_fault_comes_at_its_time_and_the_load_goes_on_until_it_settled() -> None:
    world = SimulatedWorld().run()
    started = {name: world.progress.started_at(name) for name in WAYS}  # type: ignore[arg-type]
    fault = world.fault_at["run-fault-1"]
    assert 2.0 <= (fault - started["Fault"]).total_seconds() < 2.3
    assert (started["FinalRead"] - started["Settle"]).total_seconds() >= 3.0
    assert (started["Fault"] - started["WarmUp"]).total_seconds() >= 5.0
    assert {phase for phase, action in world.done if isinstance(action, FinishLoad)} == {"FinalRead"}


def never_ready(world: SimulatedWorld) -> None:
    world.seen = replace(
        world.seen, systems={"demo": SystemSeen(exists=bool(world.done), message="2 of 5 members are ready")}
    )


def load_dies(world: SimulatedWorld) -> None:
    if world.progress.phase == "Fault" and world.fault_at:
        world.seen = replace(world.seen, load=replace(world.seen.load, failed="its pod ended"))


def fault_refused(world: SimulatedWorld) -> None:
    faults = {
        name: replace(fault, refused="no", over=True, closed=True)
        for name, fault in world.seen.faults.items()
    }
    world.seen = replace(world.seen, faults=faults)


def never_heals(world: SimulatedWorld) -> None:
    faults = {name: replace(fault, closed=False) for name, fault in world.seen.faults.items()}
    world.seen = replace(world.seen, faults=faults)


def never_finishes(world: SimulatedWorld) -> None:
    if world.seen.load.status is not None:
        running = load_status("running", world.seen.load.status.monotonic_ns)
        world.seen = replace(world.seen, load=replace(world.seen.load, status=running))


def history_cannot_be_had(world: SimulatedWorld) -> None:
    world.seen = replace(world.seen, history_collected=False)


def judge_fails(world: SimulatedWorld) -> None:
    world.seen = replace(world.seen, verdict=None, judge_error="the judge ended with code 2")


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (never_ready, "not healthy within 60 s: demo: 2 of 5 members are ready"),
        (load_dies, "the load failed: its pod ended"),
        (fault_refused, "run-fault-1 was refused: no"),
        (never_heals, "the heal of run-fault-1 was not verified in time"),
        (never_finishes, "the final read took longer than 45 s"),
        (history_cannot_be_had, "the load's history could not be had"),
        (judge_fails, "the judge ended with code 2"),
    ],
)
def test_whatever_goes_wrong_is_healed_and_ends_with_its_reason(
    bend: Callable[[SimulatedWorld], None], reason: str
) -> None:
    world = SimulatedWorld(bend=bend).run()
    assert reason in world.progress.reasons
    assert "Heal" in world.phases()
    assert "Check" in world.phases()
    assert world.phases()[-1] == "Done"


def test_a_load_that_fails_under_a_fault_has_the_fault_healed_at_once() -> None:
    world = SimulatedWorld(bend=load_dies).run()
    assert world.actions(HealFault)
    healed_in = world.progress.started_at("FinalRead")
    assert healed_in is not None
    assert healed_in - world.fault_at["run-fault-1"] < timedelta(seconds=1)
    assert "Settle" not in world.phases()


def test_a_run_beyond_its_timeout_is_broken_off() -> None:
    world = SimulatedWorld(scenario=spec(timeout="10s")).run()
    assert world.progress.reasons == ("the run took longer than its timeout of 10s",)
    assert "Settle" not in world.phases()


def test_a_system_in_use_is_left_alone_and_the_scenario_refused() -> None:
    world = SimulatedWorld()
    world.seen = Observation(systems={"demo": SystemSeen(foreign="RaftCluster demo is in use by other")})
    world.run()
    assert world.phases() == ("Done",)
    assert world.progress.refused == "RaftCluster demo is in use by other"
    assert world.done == []


def test_an_interrupted_fault_gives_a_reason_once_and_the_run_goes_on() -> None:
    def interrupted(world: SimulatedWorld) -> None:
        faults = {
            name: replace(fault, interrupted="the operator was away")
            for name, fault in world.seen.faults.items()
        }
        world.seen = replace(world.seen, faults=faults)

    world = SimulatedWorld(bend=interrupted).run()
    assert world.progress.reasons == ("the operator was away",)
    assert world.phases() == WAYS


def test_keys_that_the_final_read_did_not_come_to_are_a_reason() -> None:
    def slow_to_read(world: SimulatedWorld) -> None:
        status = world.seen.load.status
        if status is not None and status.phase == "finished":
            unread = replace(world.seen.load, status=msgspec.structs.replace(status, unread=17))
            world.seen = replace(world.seen, load=unread)

    world = SimulatedWorld(bend=slow_to_read).run()
    assert world.progress.reasons == ("the final read did not come to 17 of the keys",)
    assert world.phases() == WAYS


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"EffectObserved": "True"}, ""),
        ({"EffectObserved": "Unknown"}, ""),
        ({"EffectObserved": "False"}, "cut was seen to take effect, and later not any more: not cut: a to b"),
        ({"Interrupted": "True"}, "cut was interrupted: not cut: a to b"),
    ],
)
def test_a_fault_that_did_not_stand_throughout_says_so(conditions: dict[str, str], reason: str) -> None:
    listed = [{"type": kind, "status": is_, "message": "not cut: a to b"} for kind, is_ in conditions.items()]
    status = {"observedAt": format_time(EPOCH), "conditions": listed}
    cut = {"kind": "NetworkPartition", "metadata": {"name": "cut"}, "status": status}
    assert see_fault(cut).interrupted == reason


@pytest.mark.parametrize(
    ("policy", "verdict", "cleans"),
    [
        ("always", "Fail", True),
        ("onPass", "Pass", True),
        ("onPass", "Fail", False),
        ("never", "Pass", False),
    ],
)
def test_cleanup_follows_its_policy(policy: str, verdict: str, cleans: bool) -> None:
    def verdict_is(world: SimulatedWorld) -> None:
        if world.seen.verdict is not None:
            world.seen = replace(world.seen, verdict=verdict)  # type: ignore[arg-type]

    world = SimulatedWorld(scenario=spec(cleanup=policy), bend=verdict_is).run()
    assert bool(world.actions(Cleanup)) == cleans


def test_a_run_goes_on_from_what_its_status_holds() -> None:
    """A fresh operator has nothing but the progress: each phase is taken up in its middle."""
    whole = SimulatedWorld().run()

    def forget(world: SimulatedWorld) -> None:
        world.progress = Progress(
            phase=world.progress.phase,
            phases=world.progress.phases,
            reasons=world.progress.reasons,
            broken_off=world.progress.broken_off,
        )

    assert SimulatedWorld(bend=forget).run().phases() == whole.phases()


def test_a_scenario_without_faults_goes_straight_on() -> None:
    assert SimulatedWorld(scenario=spec(timeline=[])).run().phases() == WAYS


def test_the_warm_up_waits_for_a_slow_load_but_not_for_ever() -> None:
    slow = SimulatedWorld(spec(warmUp={"duration": "5s", "minimumOperationsPerSecond": 200}))

    def starve(world: SimulatedWorld) -> None:
        if world.seen.load.status is not None:
            window = LoadWindow(20, 10, 20, 0, 0, 1.0, 2.0)
            status = msgspec.structs.replace(world.seen.load.status, window=window)
            world.seen = replace(world.seen, load=replace(world.seen.load, status=status))

    slow.bend = starve
    slow.run()
    (warm_up,) = [record for record in slow.progress.phases if record.name == "WarmUp"]
    lasted_s = (parse_time(warm_up.ended_at or "") - parse_time(warm_up.started_at)).total_seconds()
    wanted_s = slow.scenario.warm_up.duration.seconds
    assert wanted_s + WARM_UP_PATIENCE_S <= lasted_s <= wanted_s + WARM_UP_PATIENCE_S + 2
