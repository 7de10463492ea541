"""Who loses contact heals: faults while operator, agent and members are killed."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from embedded_lab import ROOT, Lab, eventually

pytestmark = pytest.mark.e2e
LONG = ROOT / "tests" / "e2e" / "scenarios" / "long.yaml"
CLUSTER = {
    "apiVersion": "faultlab.dev/v1alpha1",
    "kind": "RaftCluster",
    "metadata": {"name": "held"},
    "spec": {"replicas": 3, "electionTimeout": "300ms"},
}
LEASE_S = 3.0


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
    file = tmp_path / "manifest.yaml"
    file.write_text(yaml.safe_dump(document))
    applied = lab.faultlab("apply", "-f", str(file), "-n", namespace)
    assert applied.returncode == 0, applied.stderr


def _is(lab: Lab, kind: str, name: str, condition: str, namespace: str) -> bool:
    found = lab.condition(kind, name, condition, namespace)
    return bool(found and found["status"] == "True")


def _begin_cut(lab: Lab, namespace: str, tmp_path: Path, duration: str) -> str:
    """A cluster whose leader is cut off, proven; returns the leader's name."""
    _apply(lab, namespace, tmp_path, CLUSTER)
    eventually("the cluster is Ready", lambda: _is(lab, "raft", "held", "Ready", namespace), 30)
    leader = eventually("a leader", lambda: lab.status_of("raft", "held", namespace).get("leader"))
    _apply(lab, namespace, tmp_path, _cut(duration))
    observed = lambda: _is(lab, "networkpartition", "cut", "EffectObserved", namespace)  # noqa: E731
    eventually("the cut is proven", observed, 10)
    eventually("the leader steps down", lambda: _alone(lab, leader, namespace), 10)
    return str(leader)


def _alone(lab: Lab, member: str, namespace: str) -> bool:
    status = lab.member(member, namespace)
    return status is not None and status["leader"] is None


def _joined(lab: Lab, member: str, namespace: str) -> bool:
    status = lab.member(member, namespace)
    return status is not None and status["leader"] not in (None, member)


def test_a_dead_operators_cut_heals_within_its_lease_and_one_second(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    leader = _begin_cut(world_lab, namespace, tmp_path, "60s")
    first = world_lab.pid_of("faultlab-operator")
    os.kill(first, signal.SIGKILL)

    def restarted() -> int | None:
        try:
            pid = world_lab.pid_of("faultlab-operator")
        except StopIteration:
            return None
        return pid if pid != first else None

    # The node starts it again at once; killed a second time it stays down for the back-off of ten seconds.
    os.kill(eventually("the operator is started again", restarted, 10), signal.SIGKILL)
    killed = time.monotonic()
    eventually("the member hears the others", lambda: _joined(world_lab, leader, namespace), 10)
    assert time.monotonic() - killed <= LEASE_S + 1.0
    eventually(
        "the operator is back and says that the fault was interrupted",
        lambda: _is(world_lab, "networkpartition", "cut", "Interrupted", namespace),
        30,
    )


def test_a_scenario_whose_operator_was_away_ends_inconclusive_and_says_so(
    world_lab: Lab, tmp_path: Path
) -> None:
    run = world_lab.begin("run", str(LONG), "--out", str(tmp_path / "out"))
    try:
        eventually(
            "the cut is proven",
            lambda: _is(world_lab, "networkpartition", "long-fault-1", "EffectObserved", "faultlab"),
            60,
        )
        operator = world_lab.pid_of("faultlab-operator")
        os.kill(operator, signal.SIGSTOP)
        time.sleep(LEASE_S + 2)  # longer than its leases: this is the fault that the test injects
        os.kill(operator, signal.SIGKILL)
        output, _ = run.communicate(timeout=120)
    finally:
        if run.poll() is None:
            run.kill()
    assert run.returncode == 2, output
    assert "interrupted" in output.lower()


def test_a_killed_agent_takes_the_cut_up_again(world_lab: Lab, namespace: str, tmp_path: Path) -> None:
    leader = _begin_cut(world_lab, namespace, tmp_path, "12s")
    os.kill(world_lab.pid_of("faultlab-agent"), signal.SIGKILL)
    deadline = time.monotonic() + LEASE_S + 2
    while time.monotonic() < deadline:
        assert not _joined(world_lab, leader, namespace), "the cut was lost with the agent"
        time.sleep(0.2)
    healed = lambda: _is(world_lab, "networkpartition", "cut", "HealVerified", namespace)  # noqa: E731
    eventually("the heal is proven", healed, 20)
    eventually("the member hears the others", lambda: _joined(world_lab, leader, namespace), 5)


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
