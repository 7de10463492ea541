"""What cannot be is refused: at apply where the resource alone tells it, else by a condition in a second."""

import time
from pathlib import Path
from typing import Any

import pytest
from lab import Lab, eventually

pytestmark = pytest.mark.e2e


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "faultlab.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def _partition(**spec: Any) -> dict[str, Any]:
    whole = {
        "selector": {"system": {"kind": "RaftCluster", "name": "demo"}},
        "topology": {"type": "minority"},
        "duration": "10s",
        **spec,
    }
    return _manifest("NetworkPartition", "bad", whole)


def _apply(lab: Lab, namespace: str, tmp_path: Path, *documents: dict[str, Any]) -> tuple[int, str]:
    applied = lab.apply(tmp_path, namespace, *documents)
    return applied.returncode, applied.stderr


@pytest.mark.parametrize(
    ("manifest", "hint"),
    [
        (_manifest("RaftCluster", "bad", {"replicas": 4}), "odd"),
        (_manifest("RaftCluster", "bad", {"replicas": 11}), "9"),
        (_manifest("RaftCluster", "bad", {"replicas": 3, "electionTimeout": "-1s"}), "electionTimeout"),
        (_partition(topology={"type": "minority", "with": {"role": "king"}}), "role"),
        (_partition(duration="-10s"), "duration"),
        (_partition(topology={"type": "triangle"}), "type"),
        (
            _partition(
                topology={
                    "type": "oneWay",
                    "with": {"members": ["demo-0"]},
                    "towards": {"members": ["demo-0"]},
                }
            ),
            "itself",
        ),
    ],
    ids=["even", "too many", "negative timeout", "unknown role", "negative duration", "topology", "itself"],
)
def test_a_resource_that_is_wrong_in_itself_is_refused_at_apply(
    world_lab: Lab, namespace: str, tmp_path: Path, manifest: dict[str, Any], hint: str
) -> None:
    code, message = _apply(world_lab, namespace, tmp_path, manifest)
    assert code != 0
    assert hint in message
    assert "Traceback" not in message


def _refusal(lab: Lab, namespace: str, kind: str, name: str) -> str | None:
    conditions = lab.status_of(kind, name, namespace).get("conditions", [])
    return next((c["message"] for c in conditions if c["status"] == "False" and c.get("message")), None)


def test_a_partition_that_does_not_fit_the_cluster_is_refused_within_a_second(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    cluster = _manifest("RaftCluster", "demo", {"replicas": 3})
    assert _apply(world_lab, namespace, tmp_path, cluster)[0] == 0
    eventually("a leader", lambda: world_lab.status_of("raft", "demo", namespace).get("leader"), 40)
    bad = _partition(topology={"type": "isolate", "with": {"members": ["demo-7"]}})
    assert _apply(world_lab, namespace, tmp_path, bad)[0] == 0
    applied = time.monotonic()
    message = eventually("the refusal", lambda: _refusal(world_lab, namespace, "networkpartition", "bad"), 5)
    assert time.monotonic() - applied < 1
    assert "demo-7" in message


def test_storage_cannot_be_changed_and_the_refusal_says_what_to_do(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    spec = {"replicas": 1}
    assert _apply(world_lab, namespace, tmp_path, _manifest("RaftCluster", "fixed", spec))[0] == 0
    larger = {"replicas": 1, "storage": {"size": "1Gi"}}
    code, message = _apply(world_lab, namespace, tmp_path, _manifest("RaftCluster", "fixed", larger))
    assert code != 0
    assert "delete" in message


def test_a_second_scenario_on_one_cluster_is_refused(world_lab: Lab, namespace: str, tmp_path: Path) -> None:
    spec = {
        "systems": [_manifest("RaftCluster", "shared", {"replicas": 3})],
        "load": {"system": {"kind": "RaftCluster", "name": "shared"}, "users": 2},
        "timeline": [],
        "expect": [{"check": "linearizable"}],
    }
    assert _apply(world_lab, namespace, tmp_path, _manifest("Scenario", "one", spec))[0] == 0
    eventually(
        "the first is under way",
        lambda: world_lab.status_of("scenario", "one", namespace).get("phase") in ("Deploy", "Healthy"),
        20,
    )
    assert _apply(world_lab, namespace, tmp_path, _manifest("Scenario", "two", spec))[0] == 0
    message = eventually("the refusal", lambda: _refusal(world_lab, namespace, "scenario", "two"), 5)
    assert "one" in message


def test_a_namespace_without_the_label_is_left_alone(world_lab: Lab, tmp_path: Path) -> None:
    world_lab.make_namespace("unlabelled", {})
    try:
        assert _apply(world_lab, "unlabelled", tmp_path, _partition())[0] == 0
        message = eventually(
            "the refusal", lambda: _refusal(world_lab, "unlabelled", "networkpartition", "bad"), 5
        )
        assert "faultlab.dev/chaos" in message
    finally:
        world_lab.delete_namespace("unlabelled")
