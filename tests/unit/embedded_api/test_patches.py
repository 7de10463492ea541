"""JSON, merge and strategic merge patches, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from faultlab_embedded.schema.builtin import schema_of
from faultlab_embedded.store.errors import Unclassified
from faultlab_embedded.store.strategic import strategic_merge

CONFIG = "/api/v1/namespaces/default/configmaps/c"
POD_SPEC = schema_of("", "v1", "Pod")


@pytest.fixture
async def config(api: Any) -> Any:
    return api.registry.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})


@pytest.mark.usefixtures("config")
async def test_json_patch_changes_what_it_names(api: Any) -> None:
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "add", "path": "/data/b", "value": "2"},
        {"op": "move", "from": "/data/a", "path": "/data/c"},
    ]
    status, answer = await api.patch(CONFIG, operations, "json-patch+json")
    assert (status, answer["data"]) == (200, {"b": "2", "c": "1"})


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
        {"op": "remove", "path": "/data/missing"},
        {"op": "replace", "path": "/data/missing/deeper", "value": 1},
    ],
)
async def test_a_json_patch_that_does_not_fit_is_422_and_changes_nothing(
    api: Any, config: Any, operation: Any
) -> None:
    first = {"op": "add", "path": "/data/b", "value": "2"}
    status, answer = await api.patch(CONFIG, [first, operation], "json-patch+json")
    assert (status, answer["reason"]) == (422, "Invalid")
    assert api.registry.get("configmaps", "default", "c") == config


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("body", [{}, [3], "no JSON"])
async def test_what_is_no_json_patch_is_400(api: Any, body: Any) -> None:
    status, _ = await api.patch(CONFIG, body, "json-patch+json")
    assert status == 400


@pytest.mark.usefixtures("config")
async def test_merge_patch_removes_with_null_and_checks_the_version(api: Any) -> None:
    status, answer = await api.patch(CONFIG, {"data": {"a": None, "b": "2"}})
    assert (status, answer["data"]) == (200, {"b": "2"})
    status, answer = await api.patch(CONFIG, {"metadata": {"resourceVersion": "1"}, "data": {"c": "3"}})
    assert (status, answer["reason"]) == (409, "Conflict")


@pytest.mark.usefixtures("config")
async def test_an_unknown_kind_of_patch_is_415(api: Any) -> None:
    status, answer = await api.patch(CONFIG, {}, "json")
    assert (status, answer["reason"]) == (415, "UnsupportedMediaType")
    assert answer["message"] == "415: Unsupported Media Type"


@pytest.mark.usefixtures("config")
async def test_a_patch_cannot_rename_or_move(api: Any) -> None:
    status, answer = await api.patch(CONFIG, {"metadata": {"name": "other"}})
    assert status == 400
    assert "name" in answer["message"]


def pod(*containers: Any, **more: Any) -> Any:
    return {"spec": {"containers": list(containers), **more}}


def test_strategic_merge_knows_containers_env_ports_mounts_and_volumes() -> None:
    target = pod(
        {
            "name": "a",
            "image": "1",
            "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
            "ports": [{"containerPort": 80, "name": "http"}],
            "volumeMounts": [{"mountPath": "/x", "name": "v"}],
        },
        {"name": "b", "image": "2"},
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    patch = pod(
        {
            "name": "a",
            "env": [{"name": "Y", "value": "9"}, {"name": "Z", "value": "3"}],
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "volumeMounts": [{"mountPath": "/x", "readOnly": True}],
        },
        volumes=[{"name": "w", "emptyDir": {}}],
    )
    result = strategic_merge(target, patch, POD_SPEC)["spec"]
    first, second = result["containers"]
    assert second == {"name": "b", "image": "2"}
    assert first["image"] == "1"
    assert first["env"] == [
        {"name": "X", "value": "1"},
        {"name": "Y", "value": "9"},
        {"name": "Z", "value": "3"},
    ]
    assert first["ports"] == [{"containerPort": 80, "name": "http", "protocol": "TCP"}]
    assert first["volumeMounts"] == [{"mountPath": "/x", "name": "v", "readOnly": True}]
    assert [volume["name"] for volume in result["volumes"]] == ["w", "v"]  # what is new goes first


def test_strategic_merge_replaces_lists_without_a_key() -> None:
    target = pod({"name": "a", "args": ["1", "2"]}, tolerations=[{"key": "x"}])
    patch = pod({"name": "a", "args": ["3"]}, tolerations=[{"key": "y"}])
    result = strategic_merge(target, patch, POD_SPEC)["spec"]
    assert result["containers"][0]["args"] == ["3"]
    assert result["tolerations"] == [{"key": "y"}]


def test_strategic_merge_follows_its_directives() -> None:
    target = pod({"name": "a"}, {"name": "b"}, {"name": "c"}, nodeSelector={"x": "1", "y": "2"})
    removed = strategic_merge(target, pod({"name": "b", "$patch": "delete"}), POD_SPEC)
    assert [c["name"] for c in removed["spec"]["containers"]] == ["a", "c"]
    replaced = strategic_merge(target, pod({"name": "z"}, {"$patch": "replace"}), POD_SPEC)
    assert [c["name"] for c in replaced["spec"]["containers"]] == ["z"]
    order = {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}]}
    ordered = strategic_merge(target, {"spec": order}, POD_SPEC)
    assert [c["name"] for c in ordered["spec"]["containers"]] == ["c", "a", "b"]
    selector = {"spec": {"nodeSelector": {"$patch": "replace", "z": "3"}}}
    assert strategic_merge(target, selector, POD_SPEC)["spec"]["nodeSelector"] == {"z": "3"}
    kept = {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {}}]}}
    volumes = strategic_merge(pod(volumes=[{"name": "v", "emptyDir": {}}]), kept, POD_SPEC)["spec"]["volumes"]
    assert volumes == [{"name": "v", "secret": {}}]
    finalizers = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"], "finalizers": ["z"]}}
    result = strategic_merge({"metadata": {"finalizers": ["x", "y"]}}, finalizers, POD_SPEC)
    assert result["metadata"]["finalizers"] == ["z", "y"]


def test_strategic_merge_refuses_an_item_without_its_key() -> None:
    with pytest.raises(Unclassified, match=r"map\[image:x\] does not contain declared merge key: name"):
        strategic_merge(pod({"name": "a"}), pod({"image": "x"}), POD_SPEC)


async def test_conditions_merge_by_type(api: Any) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template}
    api.registry.create("statefulsets.apps", {"metadata": {"name": "s"}, "spec": spec})
    path = "/apis/apps/v1/namespaces/default/statefulsets/s/status"
    for kind, state in (("A", "True"), ("B", "True"), ("A", "False")):
        body = {"status": {"conditions": [{"type": kind, "status": state}]}}
        status, answer = await api.patch(path, body, "strategic-merge-patch+json")
        assert status == 200, answer
    found = {c["type"]: c["status"] for c in answer["status"]["conditions"]}
    assert found == {"A": "False", "B": "True"}
