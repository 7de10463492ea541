"""Specs of running clusters change: one member at a time, the leader last, no acknowledged write lost."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from lab import Lab, eventually

from faultlab.checker import check
from faultlab.history import read_events
from faultlab_cli.kube import pod_proxy

pytestmark = pytest.mark.e2e
API = "faultlab.dev/v1alpha1"
NAME = "demo"
MEMBERS = ("demo-0", "demo-1", "demo-2")
LOAD_PORT = 8089
ROLLS_WITHIN_S = 150
"""Some ten seconds where the machine has nothing else to do."""
ACKNOWLEDGED = 1000
NO_SUCH_IMAGE = "registry.invalid/faultlab/no-such-image:1"


def _cluster(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "RaftCluster",
        "metadata": {"name": NAME},
        "spec": {"replicas": 3, **spec},
    }


LOAD = {
    "apiVersion": API,
    "kind": "LoadTest",
    "metadata": {"name": NAME},
    "spec": {
        "system": {"kind": "RaftCluster", "name": NAME},
        "users": 12,
        "arrival": {"mode": "constantRate", "operationsPerSecond": 150},
        "mix": {"read": 40, "write": 45, "cas": 15},
        "keys": {"count": 25},
        "record": True,
    },
}


def _apply(lab: Lab, namespace: str, folder: Path, document: dict[str, Any]) -> None:
    applied = lab.apply(folder, namespace, document)
    assert applied.returncode == 0, applied.stderr


def _start(lab: Lab, namespace: str, folder: Path, **spec: Any) -> None:
    _apply(lab, namespace, folder, _cluster(**spec))
    eventually("the cluster is Ready", lambda: lab.holds("raft", NAME, "Ready", namespace), 60)
    eventually("its rollout is done", lambda: lab.holds("raft", NAME, "RolledOut", namespace), 10)


def _rolled_out(lab: Lab, namespace: str) -> bool:
    """Whether the newest spec runs everywhere, and the cluster is well."""
    cluster = lab.object("raft", NAME, namespace)
    assert cluster is not None
    conditions = {each["type"]: each for each in cluster["status"]["conditions"]}
    return all(
        conditions[kind]["status"] == "True"
        and conditions[kind]["observedGeneration"] == cluster["metadata"]["generation"]
        for kind in ("RolledOut", "Ready")
    )


def _pods(lab: Lab, namespace: str) -> dict[str, dict[str, Any]]:
    """The members' pods that are not being ended."""
    pods = lab.objects("pods", namespace, f"app.kubernetes.io/name=raft,app.kubernetes.io/instance={NAME}")
    return {pod["metadata"]["name"]: pod for pod in pods if not pod["metadata"].get("deletionTimestamp")}


def _uids(lab: Lab, namespace: str) -> dict[str, str]:
    return {name: pod["metadata"]["uid"] for name, pod in _pods(lab, namespace).items()}


def _claims(lab: Lab, namespace: str) -> dict[str, str]:
    claims = lab.objects("persistentvolumeclaims", namespace)
    return {claim["metadata"]["name"]: claim["metadata"]["uid"] for claim in claims}


def _reasons(lab: Lab, namespace: str) -> list[str]:
    return [
        event["reason"]
        for event in lab.objects("events", namespace)
        if event["involvedObject"]["kind"] == "RaftCluster"
    ]


@dataclass
class Seen:
    """What was seen of the members while somebody watched, ten times a second."""

    generations: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in MEMBERS})
    """The uids of each member's pods, in order."""
    order: list[str] = field(default_factory=list)
    """Members in the order in which their pods were replaced."""
    leader_at: list[str | None] = field(default_factory=list)
    """Who led just before each of them."""
    fewest: int = len(MEMBERS)
    """The fewest pods that were there at once."""

    def look(self, lab: Lab, namespace: str, leader: str | None) -> None:
        pods = _uids(lab, namespace)
        self.fewest = min(self.fewest, len(pods))
        for name, uid in pods.items():
            known = self.generations[name]
            if uid in known:
                continue
            known.append(uid)
            if len(known) > 1:
                self.order.append(name)
                self.leader_at.append(leader)


@contextmanager
def _watched(lab: Lab, namespace: str) -> Iterator[Seen]:
    seen, stop, failures = Seen(), Event(), []
    seen.look(lab, namespace, None)

    def watch() -> None:
        leader = None
        try:
            while not stop.wait(0.1):
                seen.look(lab, namespace, leader)
                leader = lab.status_of("raft", NAME, namespace).get("leader")
        except Exception as error:
            failures.append(error)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
    assert not failures, failures


def _load(namespace: str, path: str) -> str:
    return pod_proxy(namespace, f"{NAME}-load", LOAD_PORT, path)


def _load_status(lab: Lab, namespace: str) -> dict[str, Any]:
    status: dict[str, Any] = lab.kube().get(_load(namespace, "/faultlab/status"))
    return status


def _history(lab: Lab, namespace: str, file: Path) -> Path:
    """Ends the load, with the final reads, and fetches what its clients saw."""
    lab.kube().request("POST", _load(namespace, "/faultlab/finish"))
    eventually("the load is done", lambda: _load_status(lab, namespace)["phase"] == "finished", 60)
    with (
        lab.kube().stream(_load(namespace, "/faultlab/history"), timeout=60) as answer,
        file.open("wb") as out,
    ):
        for chunk in answer.iter_bytes():
            out.write(chunk)
    return file


def test_no_acknowledged_write_is_lost_over_a_rollout_under_load(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    _start(world_lab, namespace, tmp_path, electionTimeout="500ms")
    claims = _claims(world_lab, namespace)
    _apply(world_lab, namespace, tmp_path, LOAD)
    running = lambda: world_lab.status_of("loadtest", NAME, namespace).get("phase") == "Running"  # noqa: E731
    eventually("the load runs", running, 60)
    eventually("it has written", lambda: _load_status(world_lab, namespace)["ok"] > 300, 30)

    first_leader = world_lab.status_of("raft", NAME, namespace)["leader"]
    with _watched(world_lab, namespace) as seen:
        _apply(world_lab, namespace, tmp_path, _cluster(electionTimeout="600ms"))
        began = time.monotonic()
        eventually("it is rolled out", lambda: _rolled_out(world_lab, namespace), ROLLS_WITHIN_S)
        print(f"rolled out in {time.monotonic() - began:.1f} s: {', '.join(seen.order)}")
    after = _load_status(world_lab, namespace)["ok"]
    # Six operations in ten are writes; a rollout on a quiet machine is over before there are enough of them.
    enough = max(after + 200, 2 * ACKNOWLEDGED)
    eventually("it goes on", lambda: _load_status(world_lab, namespace)["ok"] > enough, 60)

    assert sorted(seen.order) == sorted(MEMBERS), "each member is restarted exactly once"
    before_the_last = list(zip(seen.order, seen.leader_at, strict=True))[:-1]
    assert all(member != leader for member, leader in before_the_last), "a leader came before a follower"
    if seen.leader_at == [first_leader] * len(MEMBERS):
        assert seen.order[-1] == first_leader, "the leader comes last"
    assert seen.fewest >= len(MEMBERS) - 1
    assert _claims(world_lab, namespace) == claims
    status = _load_status(world_lab, namespace)
    events = list(read_events(_history(world_lab, namespace, tmp_path / "history.ndjson")))
    assert _load_status(world_lab, namespace)["unread"] == 0, "every key was read once more"
    acknowledged = sum(event.type == "ok" and event.f != "read" for event in events)
    assert acknowledged > ACKNOWLEDGED, status
    result = check(events, "cas-register", time_limit_s=60)
    assert result.result == "valid", result.message


def test_a_rollout_goes_on_where_an_operator_left_it(world_lab: Lab, namespace: str, tmp_path: Path) -> None:
    _start(world_lab, namespace, tmp_path, electionTimeout="500ms")
    before = _uids(world_lab, namespace)
    with _watched(world_lab, namespace) as seen:
        _apply(world_lab, namespace, tmp_path, _cluster(electionTimeout="600ms"))
        eventually("the first member is replaced", lambda: seen.order, 30)
        with world_lab.operator_away():
            eventually("all pods are there", lambda: len(_uids(world_lab, namespace)) == len(MEMBERS), 30)
        eventually("it is rolled out", lambda: _rolled_out(world_lab, namespace), ROLLS_WITHIN_S)
    assert sorted(seen.order) == sorted(MEMBERS), "each member is restarted exactly once"
    assert not set(before.values()) & set(_uids(world_lab, namespace).values())


def test_an_image_that_does_not_exist_costs_one_member_and_a_corrected_spec_goes_on(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    _start(world_lab, namespace, tmp_path)
    before, claims = _uids(world_lab, namespace), _claims(world_lab, namespace)
    _apply(world_lab, namespace, tmp_path, _cluster(image=NO_SUCH_IMAGE))

    def stuck() -> str:
        found = world_lab.condition("raft", NAME, "RolledOut", namespace) or {}
        return str(found["message"]) if found.get("reason") == "RolloutStuck" else ""

    message = eventually("the rollout says that it is stuck", stuck, 60)
    assert "0 of 3 members run the new template" in message
    assert "correct" in message
    assert world_lab.holds("raft", NAME, "Available", namespace)
    left = [name for name, uid in _uids(world_lab, namespace).items() if before[name] == uid]
    assert len(left) == len(MEMBERS) - 1, "the others go on as they were"
    assert "RolloutStuck" in eventually("events", lambda: _reasons(world_lab, namespace))

    # Without `image` again: fields that an apply no longer names are given up.
    _apply(world_lab, namespace, tmp_path, _cluster())
    eventually("the cluster is as it was", lambda: _rolled_out(world_lab, namespace), ROLLS_WITHIN_S)
    assert {name: uid for name, uid in _uids(world_lab, namespace).items() if name in left} == {
        name: before[name] for name in left
    }, "whoever had the right template is left alone"
    assert _claims(world_lab, namespace) == claims


def test_a_stateful_set_that_somebody_scaled_is_put_right_at_once(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    _start(world_lab, namespace, tmp_path)
    claims = _claims(world_lab, namespace)
    kube = world_lab.kube()
    kube.request(
        "PATCH",
        kube.resource("statefulsets").path(namespace, NAME),
        headers={"Content-Type": "application/merge-patch+json"},
        json={"spec": {"replicas": 1}},
    )

    def restored() -> bool:
        stateful_set = world_lab.object("statefulset", NAME, namespace)
        return bool(stateful_set and stateful_set["spec"]["replicas"] == len(MEMBERS))

    eventually("the number is put right", restored, 5)
    eventually("the cluster is well", lambda: _rolled_out(world_lab, namespace), 60)
    assert _claims(world_lab, namespace) == claims
