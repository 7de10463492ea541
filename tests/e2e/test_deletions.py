"""Whatever is deleted, in whatever order: nothing hangs, and nothing stays in any pod's network."""

import time
from functools import partial
from pathlib import Path

import pytest
from lab import CHAOS_NAMESPACE_LABELS, ROOT, Lab, eventually

pytestmark = pytest.mark.e2e
LONG = ROOT / "tests" / "e2e" / "scenarios" / "long.yaml"
GONE_WITHIN_S = 60.0
CLUSTER = {
    "apiVersion": "faultlab.dev/v1alpha1",
    "kind": "RaftCluster",
    "metadata": {"name": "doomed"},
    "spec": {"replicas": 3, "electionTimeout": "300ms"},
}
LOAD = {
    "apiVersion": "faultlab.dev/v1alpha1",
    "kind": "LoadTest",
    "metadata": {"name": "doomed"},
    "spec": {
        "system": {"kind": "RaftCluster", "name": "doomed"},
        "users": 4,
        "arrival": {"mode": "constantRate", "operationsPerSecond": 50},
    },
}
CUT = {
    "apiVersion": "faultlab.dev/v1alpha1",
    "kind": "NetworkPartition",
    "metadata": {"name": "doomed"},
    "spec": {
        "selector": {"system": {"kind": "RaftCluster", "name": "doomed"}},
        "topology": {"type": "isolate", "with": {"role": "leader"}},
        "duration": "2m",
    },
}


def _stand_up(lab: Lab, namespace: str, tmp_path: Path) -> None:
    """A cluster under load with its leader cut off, and no other cut anywhere."""
    eventually("earlier cuts are gone", lambda: not lab.tables(), GONE_WITHIN_S)
    applied = lab.apply(tmp_path, namespace, CLUSTER, LOAD)
    assert applied.returncode == 0, applied.stderr
    eventually("the cluster is Ready", lambda: lab.holds("raft", "doomed", "Ready", namespace), 60)
    applied = lab.apply(tmp_path, namespace, CUT)
    assert applied.returncode == 0, applied.stderr
    observed = lambda: lab.holds("networkpartition", "doomed", "EffectObserved", namespace)  # noqa: E731
    eventually("the cut is proven", observed, 10)
    assert lab.tables(), "the cut is in no pod's network: this test would see nothing"


def _delete(lab: Lab, namespace: str, kind: str) -> None:
    deleted = lab.faultlab("delete", kind, "doomed", "-n", namespace, "--wait", "30")
    assert deleted.returncode == 0, deleted.stderr
    assert lab.object(kind, "doomed", namespace) is None, f"the {kind} is still there"


@pytest.mark.parametrize(
    "order",
    [
        ("networkpartition", "loadtest", "raft"),
        ("raft", "networkpartition", "loadtest"),
        ("loadtest", "raft", "networkpartition"),
    ],
    ids="-".join,
)
def test_a_standing_faults_parts_can_be_deleted_in_any_order(
    world_lab: Lab, namespace: str, tmp_path: Path, order: tuple[str, ...]
) -> None:
    _stand_up(world_lab, namespace, tmp_path)
    for kind in order:
        _delete(world_lab, namespace, kind)
    eventually("no pod is left", lambda: not world_lab.objects("pods", namespace), GONE_WITHIN_S)
    eventually("no table is left", lambda: not world_lab.tables(), 10)


@pytest.mark.parametrize("with_operator", [True, False], ids=["", "while the operator is away"])
def test_a_namespace_goes_with_all_that_stands_in_it(
    world_lab: Lab, tmp_path: Path, with_operator: bool
) -> None:
    namespace = f"t-goes-with-all-{'watched' if with_operator else 'alone'}"
    world_lab.make_namespace(namespace, CHAOS_NAMESPACE_LABELS)
    try:
        _stand_up(world_lab, namespace, tmp_path)
        if with_operator:
            _delete_namespace_in_time(world_lab, namespace)
        else:
            with world_lab.operator_away():
                # The deletion is asked for, and is over only when the kubelets have ended every pod.
                world_lab.kube().delete(f"/api/v1/namespaces/{namespace}")
                time.sleep(1)
            _delete_namespace_in_time(world_lab, namespace)
    finally:
        world_lab.delete_namespace(namespace)
    eventually("no table is left", lambda: not world_lab.tables(), 10)


def _delete_namespace_in_time(lab: Lab, namespace: str) -> None:
    started = time.monotonic()
    lab.delete_namespace(namespace, GONE_WITHIN_S)
    assert time.monotonic() - started < GONE_WITHIN_S


def test_a_scenario_deleted_during_its_fault_takes_everything_along(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    run = world_lab.begin("run", str(LONG), "-n", namespace, "--out", str(tmp_path / "out"))
    try:
        cut = lambda: world_lab.holds("networkpartition", "long-fault-1", "EffectObserved", namespace)  # noqa: E731
        eventually("the cut is proven", cut, 90)
        deleted = world_lab.faultlab("delete", "scenario", "long", "-n", namespace)
        assert deleted.returncode == 0, deleted.stderr
        output, _ = run.communicate(timeout=60)
    finally:
        if run.poll() is None:
            run.kill()
    assert run.returncode == 2
    assert "was deleted" in output
    _assert_gone(world_lab, namespace, "raft", "loadtest", "networkpartition", "pods")
    eventually("no table is left", lambda: not world_lab.tables(), 10)


def _assert_gone(lab: Lab, namespace: str, *kinds: str) -> None:
    for kind in kinds:
        eventually(f"no {kind} is left", partial(_none, lab, kind, namespace), GONE_WITHIN_S)


def _none(lab: Lab, kind: str, namespace: str) -> bool:
    return not lab.objects(kind, namespace)
