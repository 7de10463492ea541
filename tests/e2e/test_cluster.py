"""What only a cluster of several nodes has: drains, and the chart's own coming and going."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kind_lab import KindLab
from lab import ROOT, SYSTEM_NAMESPACE, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.kind]
CLUSTER = {
    "apiVersion": "faultlab.dev/v1alpha1",
    "kind": "RaftCluster",
    "metadata": {"name": "kept"},
    "spec": {"replicas": 3, "electionTimeout": "300ms"},
}
CUT: dict[str, Any] = {
    "apiVersion": "faultlab.dev/v1alpha1",
    "kind": "NetworkPartition",
    "metadata": {"name": "cut"},
    "spec": {
        "selector": {"system": {"kind": "RaftCluster", "name": "kept"}},
        "topology": {"type": "isolate", "with": {"role": "leader"}},
        "duration": "2m",
    },
}


LIVENESS_ALLOWS_S = 40
"""Until a container is restarted whose liveness probe fails from its start on: 10 s and six times 5 s."""


def _deploy(lab: KindLab, namespace: str, tmp_path: Path) -> str:
    """A cluster that is Ready; returns its leader."""
    applied = lab.apply(tmp_path, namespace, CLUSTER)
    assert applied.returncode == 0, applied.stderr
    eventually("the cluster is Ready", lambda: lab.holds("raft", "kept", "Ready", namespace), 60)
    return str(lab.status_of("raft", "kept", namespace)["leader"])


def test_members_are_on_nodes_of_their_own(kind_lab: KindLab, namespace: str, tmp_path: Path) -> None:
    _deploy(kind_lab, namespace, tmp_path)
    assert len({kind_lab.node_of(f"kept-{index}", namespace) for index in range(3)}) == 3


def test_a_drain_takes_one_member_and_waits_before_it_takes_the_majority(
    kind_lab: KindLab, namespace: str, tmp_path: Path
) -> None:
    _deploy(kind_lab, namespace, tmp_path)
    first, second = (kind_lab.node_of(f"kept-{index}", namespace) for index in (0, 1))
    selector = "app.kubernetes.io/instance=kept"
    drain = ("--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={selector}")
    with _uncordoned_afterwards(kind_lab, first, second):
        kind_lab.kubectl("drain", first, *drain, "--timeout=60s", timeout_s=70)
        eventually("one member is missing", lambda: _ready(kind_lab, namespace) == 2, 30)
        refused = _try_drain(kind_lab, second, *drain, "--timeout=8s")
        assert "disruption budget" in refused, refused
        assert _ready(kind_lab, namespace) == 2, "the budget let the majority go"
        assert eventually(
            "two of three go on", lambda: kind_lab.status_of("raft", "kept", namespace)["leader"]
        )
    eventually("the member is back on its volume", lambda: _ready(kind_lab, namespace) == 3, 60)


def _ready(lab: KindLab, namespace: str) -> int:
    pods = lab.objects("pods", namespace, "app.kubernetes.io/instance=kept")
    return sum(_is_ready(pod) for pod in pods)


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _try_drain(lab: KindLab, *arguments: str) -> str:
    command = ["kubectl", "--context", lab.context, "drain", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0, "the drain went through"
    return ended.stderr


@contextmanager
def _uncordoned_afterwards(lab: KindLab, *nodes: str) -> Iterator[None]:
    try:
        yield
    finally:
        for node in nodes:
            lab.kubectl("uncordon", node)


def test_the_chart_goes_while_a_fault_stands_and_comes_back_to_what_it_left(
    kind_lab: KindLab, namespace: str, tmp_path: Path
) -> None:
    eventually("earlier cuts are gone", lambda: not kind_lab.tables(), 60)
    leader = _deploy(kind_lab, namespace, tmp_path)
    assert kind_lab.apply(tmp_path, namespace, CUT).returncode == 0
    observed = lambda: kind_lab.holds("networkpartition", "cut", "EffectObserved", namespace)  # noqa: E731
    eventually("the cut is proven", observed, 10)
    assert kind_lab.tables()
    before = {pod["metadata"]["uid"] for pod in kind_lab.objects("pods", namespace)}
    with _reinstalled_afterwards(kind_lab, tmp_path):
        started = time.monotonic()
        _helm(kind_lab, "uninstall", "faultlab", "--wait", "--timeout", "60s")
        assert time.monotonic() - started < 60
        eventually("nothing of the lab is in any pod's network", lambda: not kind_lab.tables(), 15)
        eventually("the member hears the others", lambda: _joined(kind_lab, leader, namespace), 10)
        assert {pod["metadata"]["uid"] for pod in kind_lab.objects("pods", namespace)} == before
        assert kind_lab.object("raft", "kept", namespace), "its resources went with the chart"
        kind_lab.kube().delete(f"/apis/faultlab.dev/v1alpha1/namespaces/{namespace}/networkpartitions/cut")
    eventually("it is looked after again", lambda: kind_lab.holds("raft", "kept", "Ready", namespace), 60)
    assert {pod["metadata"]["uid"] for pod in kind_lab.objects("pods", namespace)} == before


def test_the_chart_says_that_it_works(kind_lab: KindLab) -> None:
    kind_lab.await_agents()
    assert "Succeeded" in _helm(kind_lab, "test", "faultlab", "--timeout", "90s")


def test_a_member_cut_off_for_longer_than_its_liveness_probes_allow_is_not_restarted(
    kind_lab: KindLab, namespace: str, tmp_path: Path
) -> None:
    leader = _deploy(kind_lab, namespace, tmp_path)
    cut = {**CUT, "spec": {**CUT["spec"], "duration": f"{LIVENESS_ALLOWS_S + 5}s"}}
    assert kind_lab.apply(tmp_path, namespace, cut).returncode == 0
    healed = lambda: kind_lab.holds("networkpartition", "cut", "HealVerified", namespace)  # noqa: E731
    eventually("the heal is proven", healed, LIVENESS_ALLOWS_S + 30)
    status = kind_lab.status_of("networkpartition", "cut", namespace)
    assert "Interrupted" not in {condition["type"] for condition in status["conditions"]}, status
    pod = kind_lab.object("pod", leader, namespace)
    assert pod is not None
    assert [container["restartCount"] for container in pod["status"]["containerStatuses"]] == [0]


def _joined(lab: KindLab, member: str, namespace: str) -> bool:
    status = lab.member(member, namespace)
    return status is not None and status["leader"] is not None and status["ready"]


@contextmanager
def _reinstalled_afterwards(lab: KindLab, folder: Path) -> Iterator[None]:
    values = folder / "values.yaml"
    values.write_text(_helm(lab, "get", "values", "faultlab", "-o", "yaml"))
    try:
        yield
    finally:
        chart = (str(ROOT / "charts" / "faultlab"), "-f", str(values))
        _helm(lab, "upgrade", "--install", "faultlab", *chart, "--wait", "--timeout", "120s")
        lab.await_agents()


def _helm(lab: KindLab, *arguments: str) -> str:
    ended = subprocess.run(
        ["helm", "--kube-context", lab.context, "-n", SYSTEM_NAMESPACE, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
