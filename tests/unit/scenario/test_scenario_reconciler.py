"""A Scenario from its resource to its verdict, against controllers of a few lines and a real judge."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from faultlab.contract.load import LoadStatus, LoadWindow
from faultlab.contract.member import MemberEvent
from faultlab.contract.run import RunEvent, VerdictDocument
from faultlab.history.events import Event, write_events
from faultlab_operator.core import Cache, Key, Services, Settings, SystemClock, rfc3339
from faultlab_operator.errors import Unavailable
from faultlab_operator.http.live import LiveViews
from faultlab_operator.kube.merge import merge_patch
from faultlab_operator.scenario.reconciler import ScenarioReconciler
from faultlab_operator.scenario.store import RunStore
from faultlab_operator.scenario.times import format_time

NAMESPACE = "lab"


class FakeKube:
    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.deleted: list[tuple[str, str]] = []
        self.events: list[str] = []
        self._version = 0

    async def apply(self, obj: Mapping[str, Any], **_: Any) -> None:
        metadata = obj["metadata"]
        known = self.cache.get(obj["kind"], metadata["namespace"], metadata["name"]) or {}
        self.put({**known, **obj, "metadata": {**known.get("metadata", {}), **metadata}})

    async def patch(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any], **_: Any) -> None:
        known = self.cache.get(kind, namespace, name)
        assert known is not None
        self.put({**known, "metadata": {**known["metadata"], **patch["metadata"]}})

    async def patch_status(self, kind: str, namespace: str, name: str, status: Mapping[str, Any]) -> bool:
        known = self.cache.get(kind, namespace, name)
        if known is None or not merge_patch(known.get("status") or {}, status):
            return False
        self.put({**known, "status": dict(status)})
        return True

    async def delete(self, kind: str, namespace: str, name: str, **_: Any) -> bool:
        known = self.cache.get(kind, namespace, name)
        if known is not None:
            self.deleted.append((kind, name))
            self.cache.drop(known)
        return known is not None

    async def create_event(self, _involved: Any, _kind: str, reason: str, _message: str) -> None:
        self.events.append(reason)

    def put(self, obj: dict[str, Any]) -> None:
        self._version += 1
        metadata = {"uid": f"uid-{self._version}", "generation": 1, **obj["metadata"]}
        self.cache.put({**obj, "metadata": {**metadata, "resourceVersion": str(self._version)}})


class FakeHub:
    """Members and load at once; the load runs from when it was made until it is told to finish."""

    def __init__(self) -> None:
        self.phase: Any = None
        self.started = 0
        self.subscribers: list[Any] = []
        self.lost = 0

    def subscribe(self, _namespace: str, _name: str, callback: Any) -> Any:
        self.subscribers.append(callback)
        callback(elected(1))
        return lambda: self.subscribers.remove(callback)

    @contextmanager
    def hurried(self, _namespace: str, _name: str) -> Iterator[None]:
        yield

    def lost_events(self, _namespace: str, _name: str) -> int:
        return self.lost

    def statuses(self, _namespace: str, _name: str) -> dict[str, Any]:
        return {}

    def status(self, _namespace: str, name: str) -> LoadStatus | None:
        if self.phase is None:
            return None
        now = time.monotonic_ns()
        window = LoadWindow(600, 300, 600, 0, 0, 1.0, 2.0)
        return LoadStatus(
            name, self.phase, 10, 0, 0, 0, 20, window, now, format_time(datetime.now(UTC)), self.started,
            self.started,
        )  # fmt: skip

    async def finish(self, _namespace: str, _name: str) -> None:
        self.phase = "finished"

    async def fetch_history(self, _namespace: str, _name: str, path: Path, **_: Any) -> int:
        return write_events(
            path,
            [
                Event(1, "invoke", "write", "k", 1, 100, member="demo-0"),
                Event(1, "ok", "write", "k", 1, 200, member="demo-0", term=1),
            ],
        )


def elected(term: int) -> MemberEvent:
    now = rfc3339(datetime.now(UTC))
    return MemberEvent(term, "demo-0", "LeaderElected", term, now, 0, "a")


class Lab:
    def __init__(self, tmp_path: Path) -> None:
        self.cache = Cache()
        self.kube = FakeKube(self.cache)
        self.hub = FakeHub()
        self.services = Services(
            settings=Settings(data_dir=tmp_path, world="embedded"),
            clock=SystemClock(),
            cache=self.cache,
            kube=self.kube,  # type: ignore[arg-type]
            members=self.hub,  # type: ignore[arg-type]
            loads=self.hub,  # type: ignore[arg-type]
            http=None,  # type: ignore[arg-type]
            wake=lambda _key, _after: None,
        )
        self.store = RunStore(tmp_path)
        self.cache.listen(self._control)
        self.refuse_faults = False

    async def scenario(self, name: str = "run", uid: str = "one") -> Key:
        partition = {"topology": {"type": "minority"}, "duration": "200ms"}
        self.kube.put(
            {
                "apiVersion": "faultlab.dev/v1alpha1",
                "kind": "Scenario",
                "metadata": {"name": name, "namespace": NAMESPACE, "uid": uid},
                "spec": {
                    "systems": [{"kind": "RaftCluster", "metadata": {"name": "demo"}}],
                    "load": {"system": {"kind": "RaftCluster", "name": "demo"}},
                    "warmUp": {"duration": "200ms"},
                    "timeline": [{"at": "100ms", "fault": {"kind": "NetworkPartition", "spec": partition}}],
                    "settle": "100ms",
                    "expect": [{"check": "linearizable"}],
                },
            }
        )
        return Key("Scenario", NAMESPACE, name)

    def status(self, key: Key) -> dict[str, Any]:
        obj = self.cache.get(*key)
        assert obj is not None
        return obj.get("status") or {}

    def _control(self, key: Key, before: Any, now: Any) -> None:
        """What the other controllers would do, at once."""
        if now is None or before is not None:
            return
        if key.kind == "RaftCluster":
            self._say(now, {"conditions": [{"type": "Ready", "status": "True"}]})
        if key.kind == "LoadTest":
            self.hub.phase, self.hub.started = "running", time.monotonic_ns()
            self._say(now, {"phase": "Running"})
        if key.kind == "NetworkPartition":
            moment = rfc3339(datetime.now(UTC))
            times = dict.fromkeys(("injectedAt", "observedAt", "healedAt", "healVerifiedAt"), moment)
            edges = [{"source": "demo-0", "target": "demo-1"}]
            chosen = {"type": "Selected", "status": "True", "lastTransitionTime": moment}
            if self.refuse_faults:
                chosen = {"type": "Selected", "status": "False", "message": "not here"}
                times, edges = {}, []
            self._say(now, {**times, "cutEdges": edges, "cutOff": ["demo-0"], "conditions": [chosen]})

    def _say(self, obj: dict[str, Any], status: dict[str, Any]) -> None:
        self.kube.put({**obj, "status": status})


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


async def run(lab: Lab, key: Key, reconciler: ScenarioReconciler, until: str = "Done") -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while True:
        again = await reconciler.reconcile(key)
        status = lab.status(key)
        if status.get("phase") == until:
            return status
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.02 if again is None else min(again, 0.05))


def events_of(lab: Lab, name: str = "run", uid: str = "one") -> list[RunEvent]:
    path = lab.store.path(NAMESPACE, name, uid) / "events.ndjson"
    return [msgspec.json.decode(line, type=RunEvent) for line in path.read_bytes().splitlines()]


async def test_a_run_ends_with_a_verdict_its_files_and_a_clean_namespace(lab: Lab) -> None:
    key = await lab.scenario()
    reconciler = ScenarioReconciler(lab.services, lab.store)
    status = await run(lab, key, reconciler)
    assert [phase["name"] for phase in status["phases"]] == [
        "Deploy", "Healthy", "WarmUp", "Fault", "Heal", "Settle", "FinalRead", "Check", "Done",
    ]  # fmt: skip
    # Far too little load for more, which is the judge's to say, and comes with its reasons.
    assert status["verdict"] == "Inconclusive"
    assert any("operations were invoked during run-fault-1" in reason for reason in status["reasons"])
    directory = lab.store.path(NAMESPACE, "run", "one")
    document = msgspec.json.decode((directory / "verdict.json").read_bytes(), type=VerdictDocument)
    assert document.faults[0].cut_off == ("demo-0",)
    assert "<!doctype html>" in (directory / "report.html").read_text()
    assert lab.kube.events == ["VerdictInconclusive"]
    assert {kind for kind, _ in lab.kube.deleted} == {"LoadTest", "RaftCluster"}
    await reconciler.close()


async def test_events_of_members_faults_and_phases_stand_on_the_history_clock(lab: Lab) -> None:
    key = await lab.scenario()
    reconciler = ScenarioReconciler(lab.services, lab.store)
    await run(lab, key, reconciler)
    await reconciler.close()
    events = events_of(lab)
    assert [event.type for event in events if event.source == "fault"] == [
        "Selected", "Injected", "EffectObserved", "Healed", "HealVerified",
    ]  # fmt: skip
    assert [event.subject for event in events if event.type == "PhaseChanged"][:3] == [
        "Deploy", "Healthy", "WarmUp",
    ]  # fmt: skip
    assert all(event.time_ns is not None for event in events)
    assert len({event.id for event in events}) == len(events)


async def test_an_operator_that_starts_again_goes_on_and_tells_nothing_twice(lab: Lab) -> None:
    key = await lab.scenario()
    first = ScenarioReconciler(lab.services, lab.store)
    await run(lab, key, first, until="Fault")
    await first.close()
    second = ScenarioReconciler(lab.services, lab.store)
    status = await run(lab, key, second)
    await second.close()
    assert [phase["name"] for phase in status["phases"]].count("Fault") == 1
    events = events_of(lab)
    assert [event.subject for event in events if event.type == "PhaseChanged"].count("WarmUp") == 1
    assert len([event for event in events if event.type == "LoadStarted"]) == 1


async def test_a_second_scenario_on_the_same_cluster_is_refused_and_disturbs_nothing(lab: Lab) -> None:
    first_key = await lab.scenario()
    reconciler = ScenarioReconciler(lab.services, lab.store)
    await run(lab, first_key, reconciler, until="WarmUp")
    second_key = await lab.scenario("other", uid="two")
    status = await run(lab, second_key, reconciler)
    accepted = next(each for each in status["conditions"] if each["type"] == "Accepted")
    assert accepted["status"] == "False"
    assert "RaftCluster demo is in use by the scenario run" in accepted["message"]
    assert status["verdict"] == "Inconclusive"
    assert lab.kube.deleted == []
    assert (await run(lab, first_key, reconciler))["phase"] == "Done"
    await reconciler.close()


async def test_a_refused_fault_ends_the_run_with_its_message(lab: Lab) -> None:
    lab.refuse_faults = True
    key = await lab.scenario()
    reconciler = ScenarioReconciler(lab.services, lab.store)
    status = await run(lab, key, reconciler)
    await reconciler.close()
    assert "run-fault-1 was refused: not here" in status["reasons"]
    assert status["verdict"] == "Inconclusive"


async def test_a_fault_that_somebody_deletes_is_not_made_again(lab: Lab) -> None:
    key = await lab.scenario()
    reconciler = ScenarioReconciler(lab.services, lab.store)
    await run(lab, key, reconciler, until="Settle")
    fault = lab.cache.get("NetworkPartition", NAMESPACE, "run-fault-1")
    assert fault is not None
    lab.cache.drop(fault)
    status = await run(lab, key, reconciler)
    await reconciler.close()
    assert lab.cache.get("NetworkPartition", NAMESPACE, "run-fault-1") is None
    assert status["faults"][0]["name"] == "run-fault-1"


async def test_a_cleanup_that_failed_is_made_up_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> bool:
        raise Unavailable(503, "Down", "the API server is away")

    key = await lab.scenario()
    reconciler = ScenarioReconciler(lab.services, lab.store)
    with monkeypatch.context() as broken:
        broken.setattr(lab.kube, "delete", fails)
        status = await run(lab, key, reconciler)
    assert status["verdict"] is not None
    assert lab.cache.get("RaftCluster", NAMESPACE, "demo") is not None
    assert await reconciler.reconcile(key) is not None
    assert lab.cache.get("RaftCluster", NAMESPACE, "demo") is None
    assert await reconciler.reconcile(key) is None
    await reconciler.close()


async def test_lost_events_make_the_run_inconclusive(lab: Lab) -> None:
    lab.hub.lost = 3
    key = await lab.scenario()
    reconciler = ScenarioReconciler(lab.services, lab.store)
    status = await run(lab, key, reconciler)
    await reconciler.close()
    assert any("events of members were lost" in reason for reason in status["reasons"])


async def test_the_live_view_follows_the_run(lab: Lab) -> None:
    key = await lab.scenario()
    reconciler = ScenarioReconciler(lab.services, lab.store)
    views = LiveViews(lab.services, lab.store)
    await run(lab, key, reconciler, until="Fault")
    view = views.view(NAMESPACE, "run", 0)
    assert view is not None
    assert view.phase == "Fault"
    assert view.load is not None
    later = views.view(NAMESPACE, "run", view.events[-1].id)
    assert later is not None
    assert later.events == ()
    status = await run(lab, key, reconciler)
    await reconciler.close()
    after = views.view(NAMESPACE, "run", 0)
    assert after is not None
    assert after.verdict == status["verdict"]
    assert "verdict.json" in after.artifacts
    assert [event.id for event in after.events] == sorted({event.id for event in after.events})
    assert views.view(NAMESPACE, "nobody", 0) is None
