"""What an API server makes of the CRDs: good specs in, bad ones refused with what to write instead."""

import json
import uuid
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from faultlab_operator.api import API_VERSION, KINDS
from faultlab_operator.api.networkpartition import TopologyType

HERE = Path(__file__).parent
GOOD = yaml.safe_load((HERE / "good_specs.yaml").read_text())
BAD = yaml.safe_load((HERE / "bad_specs.yaml").read_text())
ROOT = HERE.parents[2]
MANIFESTS = [
    file
    for folder in ("chaos/faults", "chaos/scenarios", "tests/e2e/broken", "tests/e2e/scenarios")
    for file in sorted((ROOT / folder).glob("*.yaml"))
]


def whole(resource: dict[str, Any]) -> dict[str, Any]:
    """With API version and namespace, and apart from the table."""
    resource = json.loads(json.dumps(resource))
    return {
        "apiVersion": API_VERSION,
        **resource,
        "metadata": {"namespace": "default", **resource["metadata"]},
    }


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["name"])
def test_good_spec_is_taken_and_understood_by_the_models(api: Any, case: dict[str, Any]) -> None:
    answer = api.create(whole(case["resource"]))
    assert answer.accepted, answer.message
    api.delete(case["resource"]["kind"], case["resource"]["metadata"]["name"])
    KINDS[case["resource"]["kind"]].parse(answer.obj)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["name"])
def test_defaults_of_the_server_are_those_of_the_models(api: Any, case: dict[str, Any]) -> None:
    model = KINDS[case["resource"]["kind"]]
    answer = api.create(whole(case["resource"]))
    assert answer.accepted, answer.message
    api.delete(case["resource"]["kind"], case["resource"]["metadata"]["name"])
    ours: Any = model.parse(whole(case["resource"]))
    assert ours.spec.wire() == answer.obj["spec"]


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_every_manifest_that_the_project_offers_is_taken(api: Any, file: Path) -> None:
    for manifest in yaml.safe_load_all(file.read_text()):
        answer = api.create(whole(manifest))
        assert answer.accepted, answer.message
        api.delete(manifest["kind"], manifest["metadata"]["name"])


def test_every_topology_has_a_manifest_to_start_from() -> None:
    faults = [yaml.safe_load(file.read_text()) for file in (ROOT / "chaos/faults").glob("*.yaml")]
    shown = {fault["spec"]["topology"]["type"] for fault in faults}
    assert shown == set(get_args(TopologyType))


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["name"])
def test_bad_spec_is_refused_and_told_what_to_write(api: Any, case: dict[str, Any]) -> None:
    answer = api.create(whole(case["resource"]))
    if answer.accepted:
        api.delete(case["resource"]["kind"], case["resource"]["metadata"]["name"])
    assert not answer.accepted
    message = json.loads(answer.message)["message"]
    for part in case["says"]:
        assert part in message


def test_replicas_can_be_changed_to_another_odd_number(api: Any) -> None:
    made = api.create(whole({"kind": "RaftCluster", "metadata": {"name": "grown"}, "spec": {"replicas": 3}}))
    made.obj["spec"]["replicas"] = 5
    grown = api.update(made.obj)
    grown.obj["spec"]["replicas"] = 4
    even = api.update(grown.obj)
    api.delete("RaftCluster", "grown")
    assert grown.accepted, grown.message
    assert not even.accepted
    assert "write 1, 3, 5, 7 or 9" in even.message


def test_other_settings_of_a_cluster_can_be_changed(api: Any) -> None:
    made = api.create(whole({"kind": "RaftCluster", "metadata": {"name": "tuned"}}))
    made.obj["spec"]["electionTimeout"] = "1s"
    answer = api.update(made.obj)
    api.delete("RaftCluster", "tuned")
    assert answer.accepted, answer.message
    assert answer.obj["metadata"]["generation"] == 2


def test_a_scenario_cannot_be_changed_and_the_refusal_says_what_to_do(api: Any) -> None:
    case = next(case for case in GOOD if case["resource"]["kind"] == "Scenario")
    made = api.create(whole(case["resource"]))
    same = api.update(made.obj)
    changed = json.loads(json.dumps(same.obj))
    changed["spec"]["systems"][0]["spec"]["replicas"] = 3
    answer = api.update(changed)
    api.delete("Scenario", case["resource"]["metadata"]["name"])
    assert same.accepted, same.message
    assert not answer.accepted
    assert "delete it and apply it again" in answer.message


def test_a_partition_cannot_be_changed(api: Any) -> None:
    case = next(case for case in GOOD if case["resource"]["kind"] == "NetworkPartition")
    made = api.create(whole(case["resource"]))
    made.obj["spec"]["duration"] = "20s"
    answer = api.update(made.obj)
    api.delete("NetworkPartition", case["resource"]["metadata"]["name"])
    assert not answer.accepted
    assert "delete it (which heals it)" in answer.message


def test_status_is_a_subresource_and_leaves_the_generation_alone(api: Any) -> None:
    made = api.create(whole({"kind": "RaftCluster", "metadata": {"name": "seen"}}))
    made.obj["status"] = {
        "leader": "seen-0",
        "term": 3,
        "readyMembers": "3/3",
        "conditions": [{"type": "Ready", "status": "True", "reason": "AllMembersReady", "message": "all"}],
        "members": [
            {"name": "seen-0", "id": "seen-0", "part": "voter", "reachable": True, "ready": True, "term": 3},
            {"name": "seen-3", "id": "seen-3#17", "part": "joining", "reachable": False},
        ],
        "configuration": {
            "index": 17,
            "voters": [{"name": "seen-0", "id": "seen-0"}],
            "learners": [{"name": "seen-3", "id": "seen-3#17"}],
            "joint": False,
        },
    }
    answer = api.update(made.obj, "status")
    api.delete("RaftCluster", "seen")
    assert answer.accepted, answer.message
    assert answer.obj["status"]["leader"] == "seen-0"
    assert answer.obj["metadata"]["generation"] == 1


def test_unknown_fields_are_pruned(api: Any) -> None:
    made = api.create(whole({"kind": "RaftCluster", "metadata": {"name": "odd"}, "spec": {"colour": "red"}}))
    if made.accepted:
        api.delete("RaftCluster", "odd")
    assert made.accepted, made.message
    assert "colour" not in made.obj["spec"]


CHILDREN = [
    pytest.param(child, id=f"{file.stem} {child['kind']}")
    for file in sorted((HERE.parent / "operator_render" / "golden").glob("*.yaml"))
    for child in yaml.safe_load_all(file.read_text())
]


@pytest.mark.parametrize("child", CHILDREN)
def test_rendered_child_is_taken(api: Any, child: dict[str, Any]) -> None:
    name = f"taken-{uuid.uuid4().hex[:8]}"
    answer = api.take({**child, "metadata": {**child["metadata"], "name": name, "namespace": "default"}})
    assert answer.accepted, answer.message
