"""Who loses contact heals: faults while operator, agent and members are killed."""

import time
from pathlib import Path
from typing import Any

import pytest
from lab import ROOT, Lab, eventually

pytestmark = pytest.mark.e2e
LONG = ROOT / "tests" / "e2e" / "scenarios" / "long.yaml"
CLUSTER = {
    "apiVersion": "faultlab.dev/v1alpha1",
    "kind": "RaftCluster",
    "metadata": {"name": "held"},
    "spec": {"replicas": 3, "electionTimeout": "300ms"},
}
LEASE_S = 3.0
SURELY_LEFT_S = LEASE_S - 1.0 - 0.1
"""Of a lease that is renewed every second."""


def _cut(duration: str) -> dict[str, Any]:
    return {
        "apiVersion": "faultlab.dev/v1alpha1",
        "kind": "NetworkPartition",
        "metadata": {"name": "cut"},
        "spec": {
            "selector": {"system": {"kind": "RaftCluster", "name": "held"}},
            "topology": {"type": "isolate", "with": {"role": "leader"}},
            "duration": duration,
        },
    }


def _apply(lab: Lab, namespace: str, tmp_path: Path, document: dict[str, Any]) -> None:
    applied = lab.apply(tmp_path, namespace, document)
    assert applied.returncode == 0, applied.stderr


def _begin_cut(lab: Lab, namespace: str, tmp_path: Path, duration: str) -> str:
    """A cluster whose leader is cut off, proven; returns the leader's name."""
    _apply(lab, namespace, tmp_path, CLUSTER)
    eventually("the cluster is Ready", lambda: lab.holds("raft", "held", "Ready", namespace), 60)
    leader = eventually("a leader", lambda: lab.status_of("raft", "held", namespace).get("leader"))
    _apply(lab, namespace, tmp_path, _cut(duration))
    observed = lambda: lab.holds("networkpartition", "cut", "EffectObserved", namespace)  # noqa: E731
    eventually("the cut is proven", observed, 10)
    eventually("the leader steps down", lambda: _alone(lab, leader, namespace), 10)
    return str(leader)


def _alone(lab: Lab, member: str, namespace: str) -> bool:
    status = lab.member(member, namespace)
    return status is not None and status["leader"] is None


def _joined(lab: Lab, member: str, namespace: str) -> bool:
    status = lab.member(member, namespace)
    return status is not None and status["leader"] not in (None, member)


def _assert_stays_alone(lab: Lab, member: str, namespace: str, for_s: float) -> None:
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert not _joined(lab, member, namespace), "the cut was lost"
        time.sleep(0.1)


def test_a_dead_operators_cut_heals_within_its_lease_and_one_second(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    leader = _begin_cut(world_lab, namespace, tmp_path, "60s")
    with world_lab.operator_away():
        away = time.monotonic()
        eventually("the member hears the others", lambda: _joined(world_lab, leader, namespace), 10)
        assert time.monotonic() - away <= LEASE_S + 1.0
    eventually(
        "the operator is back and says that the fault was interrupted",
        lambda: world_lab.holds("networkpartition", "cut", "Interrupted", namespace),
        30,
    )


def test_a_scenario_whose_operator_was_away_ends_inconclusive_and_says_so(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    run = world_lab.begin("run", str(LONG), "-n", namespace, "--out", str(tmp_path / "out"))
    try:
        eventually(
            "the cut is proven",
            lambda: world_lab.holds("networkpartition", "long-fault-1", "EffectObserved", namespace),
            90,
        )
        with world_lab.operator_away():
            time.sleep(LEASE_S + 2)  # longer than its leases: this is the fault that the test injects
        output, _ = run.communicate(timeout=120)
    finally:
        if run.poll() is None:
            run.kill()
    assert run.returncode == 2, output
    assert "interrupted" in output.lower()


@pytest.mark.embedded
def test_an_agent_killed_and_started_at_once_never_loses_the_cut(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    leader = _begin_cut(world_lab, namespace, tmp_path, "12s")
    world_lab.kill_agent(leader, namespace)
    _assert_stays_alone(world_lab, leader, namespace, LEASE_S + 2)


def test_a_killed_agents_cut_stands_until_its_lease_and_its_successor_takes_it_up(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    leader = _begin_cut(world_lab, namespace, tmp_path, "30s")
    cut = time.monotonic()
    world_lab.kill_agent(leader, namespace)
    _assert_stays_alone(world_lab, leader, namespace, cut + SURELY_LEFT_S - time.monotonic())
    _await_held(world_lab, leader, namespace, for_s=LEASE_S + 1, within_s=25)
    assert time.monotonic() - cut < 28, "too slow to tell whether it was taken up or never lost"
    healed = lambda: world_lab.holds("networkpartition", "cut", "HealVerified", namespace)  # noqa: E731
    eventually("the heal is proven", healed, 30)
    eventually("the member hears the others", lambda: _joined(world_lab, leader, namespace), 5)


def _await_held(lab: Lab, member: str, namespace: str, *, for_s: float, within_s: float) -> None:
    """Until the member was cut off for longer than a lease lasts: then somebody renews it."""
    since: float | None = None
    deadline = time.monotonic() + within_s
    while (now := time.monotonic()) < deadline:
        if not _alone(lab, member, namespace):
            since = None
        elif since is None:
            since = now
        elif now - since >= for_s:
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody took the cut up within {within_s} s")


def test_an_unreachable_agent_is_told_of_and_nothing_stays_cut(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    leader = _begin_cut(world_lab, namespace, tmp_path, "40s")
    with world_lab.agent_frozen(leader, namespace):
        frozen = time.monotonic()
        eventually("the member hears the others", lambda: _joined(world_lab, leader, namespace), 10)
        assert time.monotonic() - frozen <= LEASE_S + 1.0
        eventually("the fault says so", lambda: _says_unreachable(world_lab, namespace), 5)
    eventually("the fault ends", lambda: _ended(world_lab, namespace), 60)


def _says_unreachable(lab: Lab, namespace: str) -> bool:
    conditions = lab.status_of("networkpartition", "cut", namespace).get("conditions", [])
    return any("agent" in c.get("message", "").lower() and "node" in c["message"] for c in conditions)


def _ended(lab: Lab, namespace: str) -> bool:
    return lab.condition("networkpartition", "cut", "HealVerified", namespace) is not None


def test_a_deleted_pods_successor_is_put_under_the_same_cut(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    leader = _begin_cut(world_lab, namespace, tmp_path, "15s")
    before = world_lab.object("pod", leader, namespace)
    assert before is not None
    world_lab.kube().delete(f"/api/v1/namespaces/{namespace}/pods/{leader}")

    def successor() -> bool:
        pod = world_lab.object("pod", leader, namespace)
        return bool(
            pod
            and pod["metadata"]["uid"] != before["metadata"]["uid"]
            and world_lab.member(leader, namespace)
        )

    eventually("the successor runs", successor, 15)
    covered = time.monotonic() + 2
    while (now := time.monotonic()) < covered + 1:
        if now > covered:
            assert _alone(world_lab, leader, namespace), "it is not under the cut within 2 s"
        time.sleep(0.1)
    eventually("it joins after the heal", lambda: _joined(world_lab, leader, namespace), 25)


def test_a_deleted_partition_heals_at_once(world_lab: Lab, namespace: str, tmp_path: Path) -> None:
    leader = _begin_cut(world_lab, namespace, tmp_path, "60s")
    deleted = world_lab.faultlab("delete", "networkpartition", "cut", "-n", namespace)
    assert deleted.returncode == 0, deleted.stderr
    eventually("the member hears the others", lambda: _joined(world_lab, leader, namespace), 2.5)
