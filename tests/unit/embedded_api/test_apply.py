"""Server-side apply: who owns what, what goes when it is left out, who is in conflict with whom."""

from __future__ import annotations

from typing import Any

import pytest

from faultlab_embedded.store.errors import ApplyConflict, BadRequest
from faultlab_embedded.store.open import open_registry
from faultlab_embedded.store.registry import Registry, Write

APPLY = "application/apply-patch+yaml"
SETS = "statefulsets.apps"


@pytest.fixture
def registry() -> Registry:
    return open_registry(None)


def config(data: dict[str, str] | None = None, **labels: str) -> dict[str, Any]:
    obj: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    if labels:
        obj["metadata"]["labels"] = labels
    if data is not None:
        obj["data"] = data
    return obj


def stateful_set(*containers: dict[str, Any], replicas: int | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "serviceName": "s",
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers)}},
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}, "spec": spec}


def apply(registry: Registry, obj: dict[str, Any], manager: str, *, force: bool = False) -> dict[str, Any]:
    kind = registry.catalog.of_kind(obj["apiVersion"], obj["kind"])
    return registry.apply_fields(kind.key, obj, Write(manager=manager), force=force)


def owners(obj: dict[str, Any]) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", [])}


def test_the_first_apply_creates_and_owns(registry: Registry) -> None:
    made = apply(registry, config({"a": "1"}, x="y"), "one")
    assert owners(made) == {"one": {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {"f:x": {}}}}}
    assert made["metadata"]["managedFields"][0]["operation"] == "Apply"


def test_the_same_apply_again_changes_nothing(registry: Registry) -> None:
    first = apply(registry, stateful_set({"name": "m", "image": "i"}, replicas=3), "one")
    again = apply(registry, stateful_set({"name": "m", "image": "i"}, replicas=3), "one")
    assert again == first


def test_a_field_that_is_left_out_goes(registry: Registry) -> None:
    apply(registry, config({"a": "1", "b": "2"}, x="y"), "one")
    found = apply(registry, config({"b": "2"}), "one")
    assert found["data"] == {"b": "2"}
    assert not found["metadata"].get("labels")


def test_a_field_that_another_manager_owns_too_stays(registry: Registry) -> None:
    apply(registry, config({"a": "1", "b": "2"}), "one")
    apply(registry, config({"a": "1"}), "two")
    found = apply(registry, config({"b": "2"}), "one")
    assert found["data"] == {"a": "1", "b": "2"}
    assert owners(found)["two"] == {"f:data": {"f:a": {}}}


def test_a_field_that_a_default_fills_gets_its_default_back(registry: Registry) -> None:
    apply(registry, stateful_set({"name": "m", "image": "i"}, replicas=3), "one")
    found = apply(registry, stateful_set({"name": "m", "image": "i"}), "one")
    assert found["spec"]["replicas"] == 1


def test_another_value_for_an_owned_field_is_a_conflict_unless_forced(registry: Registry) -> None:
    apply(registry, config({"a": "1"}), "one")
    with pytest.raises(ApplyConflict) as refused:
        apply(registry, config({"a": "2", "b": "3"}), "two")
    assert refused.value.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    cause = refused.value.details["causes"][0]
    assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".data.a")
    assert registry.get("configmaps", "default", "c")["data"] == {"a": "1"}
    forced = apply(registry, config({"a": "2"}), "two", force=True)
    assert forced["data"] == {"a": "2"}
    assert "f:a" not in owners(forced).get("one", {}).get("f:data", {})


def test_containers_merge_by_name_and_go_alone(registry: Registry) -> None:
    apply(registry, stateful_set({"name": "m", "image": "i", "env": [{"name": "A", "value": "1"}]}), "one")
    apply(registry, stateful_set({"name": "side", "image": "j"}), "two", force=True)
    found = apply(registry, stateful_set({"name": "m", "image": "i2"}), "one")
    containers = {c["name"]: c for c in found["spec"]["template"]["spec"]["containers"]}
    assert set(containers) == {"m", "side"}
    assert containers["m"]["image"] == "i2"
    assert not containers["m"].get("env")


def test_an_update_takes_the_field_that_it_changes(registry: Registry) -> None:
    apply(registry, stateful_set({"name": "m", "image": "i"}, replicas=3), "one")
    registry.patch(SETS, "default", "s", {"spec": {"replicas": 5}}, write=Write(manager="scaler"))
    found = registry.get(SETS, "default", "s")
    assert owners(found)["scaler"] == {"f:spec": {"f:replicas": {}}}
    with pytest.raises(ApplyConflict, match=r'conflict with "scaler" using apps/v1: .spec.replicas'):
        apply(registry, stateful_set({"name": "m", "image": "i"}, replicas=3), "one")
    # Who leaves the field out leaves it to the scaler.
    left = apply(registry, stateful_set({"name": "m", "image": "i"}), "one")
    assert left["spec"]["replicas"] == 5


def test_an_object_that_was_created_otherwise_has_an_owner_at_the_first_apply(registry: Registry) -> None:
    registry.create("configmaps", config({"a": "1", "b": "2"}))
    with pytest.raises(ApplyConflict, match=r'conflict with "before-first-apply" using v1: .data.a'):
        apply(registry, config({"a": "9"}), "one")
    found = apply(registry, config({"a": "1"}), "one")
    assert found["data"] == {"a": "1", "b": "2"}


def test_status_is_applied_on_its_own(registry: Registry) -> None:
    apply(registry, stateful_set({"name": "m", "image": "i"}), "one")
    status = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}}
    status["status"] = {"replicas": 2, "readyReplicas": 1}
    registry.apply_fields(SETS, status, Write(manager="node"), "status")
    del status["status"]["readyReplicas"]
    found = registry.apply_fields(SETS, status, Write(manager="node"), "status")
    assert found["status"] == {"replicas": 2, "availableReplicas": 0}
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "i"
    # Writing status otherwise leaves the spec's owners alone.
    registry.patch(SETS, "default", "s", {"status": {"replicas": 3}}, "status", Write(manager="other"))
    found = registry.get(SETS, "default", "s")
    assert "f:spec" in owners(found)["one"]
    assert owners(found)["other"] == {"f:status": {"f:replicas": {}}}


def test_owner_references_are_kept_by_uid_and_finalizers_as_a_set(registry: Registry) -> None:
    def owner(uid: str) -> dict[str, str]:
        return {"apiVersion": "v1", "kind": "X", "name": uid, "uid": uid}

    for manager in ("one", "two"):
        obj = config()
        obj["metadata"] |= {"ownerReferences": [owner(manager)], "finalizers": [f"x.dev/{manager}"]}
        found = apply(registry, obj, manager)
    assert [o["uid"] for o in found["metadata"]["ownerReferences"]] == ["one", "two"]
    assert found["metadata"]["finalizers"] == ["x.dev/one", "x.dev/two"]
    found = apply(registry, config(), "one")
    assert [o["uid"] for o in found["metadata"]["ownerReferences"]] == ["two"]
    assert found["metadata"]["finalizers"] == ["x.dev/two"]


def test_managed_fields_cannot_be_applied(registry: Registry) -> None:
    obj = config()
    obj["metadata"]["managedFields"] = [{"manager": "x"}]
    with pytest.raises(BadRequest, match="managedFields must be nil"):
        apply(registry, obj, "one")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("colour: red", ".colour: field not declared in schema"),
        ("data: {a: 1}", ".data.a: expected string, got &value.valueUnstructured{Value:1}"),
        ("data: [a]", ".data: expected map, got &{[a]}"),
        (
            "colour: red\nshape: round",
            "errors:\n  .colour: field not declared in schema\n  .shape: field not declared in schema",
        ),
    ],
)
async def test_what_the_schema_does_not_declare_cannot_be_applied(api: Any, more: str, says: str) -> None:
    path = "/api/v1/namespaces/default/configmaps/c?fieldManager=one"
    body = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\n{more}\n"
    status, answer = await api.call("PATCH", path, body, headers={"Content-Type": APPLY})
    assert status == 500
    assert answer["message"] == f"failed to create typed patch object (/c; /v1, Kind=ConfigMap): {says}"


async def test_apply_over_http_needs_a_manager_and_says_201_then_200(api: Any) -> None:
    path = "/api/v1/namespaces/default/configmaps/c"
    headers = {"Content-Type": APPLY}
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n"
    assert (await api.call("PATCH", path, body, headers=headers))[0] == 422
    path += "?fieldManager=one"
    assert [(await api.call("PATCH", path, body, headers=headers))[0] for _ in range(2)] == [201, 200]
    path = path.replace("one", "two")
    status, answer = await api.call("PATCH", path, body.replace("1'", "2'"), headers=headers)
    assert (status, answer["reason"]) == (409, "Conflict")
    status, answer = await api.call("PATCH", f"{path}&force=true", body.replace("1'", "2'"), headers=headers)
    assert (status, answer["data"]) == (200, {"a": "2"})
