"""The registry: what a write does, what it refuses, and how objects go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faultlab_embedded.store.deletion import DeleteOptions
from faultlab_embedded.store.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
)
from faultlab_embedded.store.open import open_registry
from faultlab_embedded.store.registry import Registry, Write

POD = {
    "metadata": {"name": "p"},
    "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
}
STATEFUL_SET = {
    "metadata": {"name": "s"},
    "spec": {
        "serviceName": "s",
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD["spec"]},
    },
}


@pytest.fixture
def registry() -> Registry:
    return open_registry(None)


def config(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **more}


def test_a_new_object_gets_its_metadata(registry: Registry) -> None:
    made = registry.create("configmaps", config("c"))
    meta = made["metadata"]
    assert made["apiVersion"], made["kind"] == ("v1", "ConfigMap")
    assert meta["namespace"] == "default"
    assert meta["uid"]
    assert meta["creationTimestamp"].endswith("Z")
    assert int(meta["resourceVersion"]) == registry.version
    with pytest.raises(AlreadyExists, match='configmaps "c" already exists'):
        registry.create("configmaps", config("c"))


def test_what_is_handed_out_is_a_copy(registry: Registry) -> None:
    given = config("c", data={"a": "1"})
    made = registry.create("configmaps", given)
    made["data"]["a"] = "2"
    given["data"]["a"] = "3"
    assert registry.get("configmaps", "default", "c")["data"] == {"a": "1"}


def test_a_name_is_generated_from_its_beginning(registry: Registry) -> None:
    names = {
        registry.create("configmaps", {"metadata": {"generateName": "job-"}})["metadata"]["name"]
        for _ in range(20)
    }
    assert len(names) == 20
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


def test_a_stale_write_is_a_conflict_and_changes_nothing(registry: Registry) -> None:
    first = registry.create("configmaps", config("c"))
    registry.patch("configmaps", "default", "c", {"data": {"a": "1"}})
    with pytest.raises(Conflict, match="the object has been modified; please apply your changes"):
        registry.update("configmaps", {**first, "data": {"a": "2"}})
    assert registry.get("configmaps", "default", "c")["data"] == {"a": "1"}


def test_a_write_that_changes_nothing_keeps_the_version(registry: Registry) -> None:
    made = registry.create("pods", POD)
    before = registry.version
    again = registry.update("pods", made)
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert registry.version == before


def test_spec_and_status_are_written_apart(registry: Registry) -> None:
    registry.create("statefulsets.apps", {**STATEFUL_SET, "status": {"replicas": 9}})
    made = registry.get("statefulsets.apps", "default", "s")
    assert made["status"] == {"replicas": 0, "availableReplicas": 0}
    through_status = {"status": {"replicas": 1}, "spec": {"replicas": 7}, "metadata": {"labels": {"x": "y"}}}
    registry.patch("statefulsets.apps", "default", "s", through_status, subresource="status")
    registry.patch("statefulsets.apps", "default", "s", {"status": {"replicas": 5}})
    found = registry.get("statefulsets.apps", "default", "s")
    assert found["status"] == {"replicas": 1, "availableReplicas": 0}
    assert found["spec"]["replicas"] == 1
    assert "labels" not in found["metadata"]


def test_generation_counts_changes_of_the_spec_alone(registry: Registry) -> None:
    registry.create("statefulsets.apps", STATEFUL_SET)

    def generation() -> int:
        return int(registry.get("statefulsets.apps", "default", "s")["metadata"]["generation"])

    registry.patch("statefulsets.apps", "default", "s", {"status": {"replicas": 1}}, subresource="status")
    registry.patch("statefulsets.apps", "default", "s", {"metadata": {"labels": {"x": "y"}}})
    assert generation() == 1
    registry.patch("statefulsets.apps", "default", "s", {"spec": {"replicas": 3}})
    assert generation() == 2


def test_metadata_of_the_server_cannot_be_written(registry: Registry) -> None:
    made = registry.create("configmaps", config("c"))
    then = "2000-01-01T00:00:00Z"
    forged = {"creationTimestamp": then, "generation": 99, "deletionTimestamp": then}
    changed = registry.update("configmaps", {**made, "metadata": {**made["metadata"], **forged}})
    assert changed["metadata"] == made["metadata"]
    with pytest.raises(Invalid, match=r"metadata\.uid: .*field is immutable"):
        registry.patch("configmaps", "default", "c", {"metadata": {"uid": "other"}})


def test_a_dry_run_checks_and_stores_nothing(registry: Registry) -> None:
    registry.create("configmaps", config("c"), Write(dry_run=True))
    with pytest.raises(NotFound):
        registry.get("configmaps", "default", "c")
    with pytest.raises(Invalid):
        registry.create("configmaps", config("C!"), Write(dry_run=True))


@pytest.mark.parametrize("name", ["UPPER", "-a", "a_b", "a" * 254, ""])
def test_names_are_dns_names(registry: Registry, name: str) -> None:
    with pytest.raises(Invalid, match=r"metadata.name"):
        registry.create("configmaps", config(name))


def test_labels_are_checked(registry: Registry) -> None:
    with pytest.raises(Invalid, match=r"metadata.labels"):
        registry.create("configmaps", {"metadata": {"name": "c", "labels": {"a b": "x"}}})
    with pytest.raises(Invalid, match="a valid label must be an empty string or consist of"):
        registry.create("configmaps", {"metadata": {"name": "c", "labels": {"a": "x/y"}}})


# Deleting


def test_a_pod_on_a_node_gets_its_grace_and_then_goes(registry: Registry) -> None:
    registry.create("pods", POD)
    marked = registry.delete("pods", "default", "p")
    assert marked is not None
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    assert registry.delete("pods", "default", "p", grace_seconds=60) is not None
    assert registry.get("pods", "default", "p")["metadata"]["deletionGracePeriodSeconds"] == 30
    registry.delete("pods", "default", "p", grace_seconds=5)
    assert registry.get("pods", "default", "p")["metadata"]["deletionGracePeriodSeconds"] == 5
    assert registry.delete("pods", "default", "p", grace_seconds=0) is None
    with pytest.raises(NotFound, match='pods "p" not found'):
        registry.get("pods", "default", "p")


def test_a_pod_without_a_node_or_that_has_ended_goes_at_once(registry: Registry) -> None:
    registry.create("pods", {**POD, "spec": {"containers": POD["spec"]["containers"]}})
    assert registry.delete("pods", "default", "p") is None
    registry.create("pods", POD)
    registry.patch("pods", "default", "p", {"status": {"phase": "Succeeded"}}, subresource="status")
    assert registry.delete("pods", "default", "p") is None


def test_finalizers_hold_an_object_until_the_last_is_gone(registry: Registry) -> None:
    registry.create("configmaps", {"metadata": {"name": "c", "finalizers": ["x.dev/a", "x.dev/b"]}})
    assert registry.delete("configmaps", "default", "c") is not None
    with pytest.raises(Invalid, match="no new finalizers can be added if the object is being deleted"):
        registry.patch("configmaps", "default", "c", {"metadata": {"finalizers": ["x.dev/a", "x.dev/new"]}})
    registry.patch("configmaps", "default", "c", {"metadata": {"finalizers": ["x.dev/a"]}})
    assert registry.find("configmaps", "default", "c")
    registry.patch("configmaps", "default", "c", {"metadata": {"finalizers": []}})
    assert registry.find("configmaps", "default", "c") is None


@pytest.mark.parametrize(
    ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
def test_propagation_leaves_its_finalizer_for_the_collector(
    registry: Registry, policy: str, finalizer: str
) -> None:
    registry.create("statefulsets.apps", STATEFUL_SET)
    left = registry.delete("statefulsets.apps", "default", "s", propagation=policy)
    assert left is not None
    assert left["metadata"]["finalizers"] == [finalizer]
    assert left["metadata"]["deletionTimestamp"]
    with pytest.raises(Invalid, match='supported values: "Foreground", "Background", "Orphan"'):
        registry.delete("statefulsets.apps", "default", "s", propagation="Sideways")


def test_preconditions_protect_another_object_of_the_same_name(registry: Registry) -> None:
    made = registry.create("configmaps", config("c"))
    with pytest.raises(Conflict, match=r"UID in the precondition \(other\) does not match"):
        registry.remove("configmaps", "default", "c", DeleteOptions(uid="other"))
    with pytest.raises(Conflict, match="ResourceVersion in the precondition"):
        registry.remove("configmaps", "default", "c", DeleteOptions(version="1"))
    assert registry.remove("configmaps", "default", "c", DeleteOptions(uid=made["metadata"]["uid"])).gone


# Namespaces


def test_nothing_is_made_in_a_namespace_that_is_not_there(registry: Registry) -> None:
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        registry.create("configmaps", {"metadata": {"name": "c", "namespace": "nowhere"}})


def test_a_namespace_goes_after_everything_in_it(registry: Registry) -> None:
    registry.create("namespaces", config("team"))
    registry.create("configmaps", {"metadata": {"name": "c", "namespace": "team"}})
    registry.create("pods", {**POD, "metadata": {"name": "p", "namespace": "team"}})
    left = registry.delete("namespaces", None, "team")
    assert left is not None
    assert left["status"]["phase"] == "Terminating"
    assert registry.list("configmaps", "team") == []
    with pytest.raises(Forbidden, match="because it is being terminated"):
        registry.create("configmaps", {"metadata": {"name": "d", "namespace": "team"}})
    assert registry.find("namespaces", None, "team")
    registry.delete("pods", "team", "p", grace_seconds=0)
    assert registry.find("namespaces", None, "team") is None


def test_an_empty_namespace_goes_at_once(registry: Registry) -> None:
    registry.create("namespaces", config("team"))
    assert registry.delete("namespaces", None, "team") is None


# Watching


async def test_a_watch_gives_what_is_there_and_then_each_change(registry: Registry) -> None:
    registry.create("configmaps", config("a"))
    watch = registry.watch("configmaps")
    assert (await anext(watch))[0] == "ADDED"
    registry.patch("configmaps", "default", "a", {"data": {"x": "1"}})
    registry.create("secrets", config("other"))
    registry.delete("configmaps", "default", "a")
    assert (await anext(watch))[0] == "MODIFIED"
    kind, last = await anext(watch)
    assert (kind, last["data"]) == ("DELETED", {"x": "1"})
    assert int(last["metadata"]["resourceVersion"]) == registry.version
    await watch.aclose()


async def test_a_watch_of_everything_sees_every_resource_in_order(registry: Registry) -> None:
    watch = registry.watch("*", since=registry.version)
    registry.create("configmaps", config("a"))
    registry.create("secrets", config("b"))
    registry.delete("configmaps", "default", "a")
    seen = [(kind, obj["kind"]) for kind, obj in [await anext(watch) for _ in range(3)]]
    assert seen == [("ADDED", "ConfigMap"), ("ADDED", "Secret"), ("DELETED", "ConfigMap")]
    await watch.aclose()


async def test_a_watch_that_fell_behind_is_told_so(registry: Registry) -> None:
    watch = registry.watch("configmaps")
    registry.create("configmaps", config("a"))
    assert (await anext(watch))[0] == "ADDED"
    registry._logs["configmaps"]._max_events = 10
    for number in range(50):
        registry.patch("configmaps", "default", "a", {"data": {"n": str(number)}})
    with pytest.raises(Expired):
        await anext(watch)


# On disk


def test_objects_and_versions_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    first = open_registry(path)
    kept = first.create("configmaps", config("kept", data={"a": "1"}))
    first.create("configmaps", config("gone"))
    first.delete("configmaps", "default", "gone")
    version = first.version
    first.close()
    second = open_registry(path)
    assert second.get("configmaps", "default", "kept") == kept
    assert [item["metadata"]["name"] for item in second.list("configmaps")] == ["kept"]
    assert second.version == version
    assert int(second.create("configmaps", config("new"))["metadata"]["resourceVersion"]) > version
    second.close()


def test_a_process_that_dies_has_lost_nothing_it_answered(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    first = open_registry(path)
    first.create("configmaps", config("kept"))
    # No close: as after SIGKILL.
    second = open_registry(path)
    assert second.find("configmaps", "default", "kept")
    second.close()


async def test_a_watch_from_before_a_restart_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    first = open_registry(path)
    early = first.version
    first.create("configmaps", config("c"))
    latest = first.version
    first.close()
    second = open_registry(path)
    with pytest.raises(Expired, match="too old resource version"):
        await anext(second.watch("configmaps", since=early))
    watch = second.watch("configmaps", since=latest)
    second.create("configmaps", config("d"))
    assert (await anext(watch))[1]["metadata"]["name"] == "d"
    await watch.aclose()
    second.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    from faultlab_embedded.store.errors import InternalError

    path = tmp_path / "objects.db"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(InternalError, match=r"objects\.db"):
        open_registry(path)


def test_the_oldest_event_makes_room_for_the_newest(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faultlab_embedded.store.registry.MAX_KEPT_EVENTS", 3)
    for number in range(5):
        event = {"metadata": {"name": f"e{number}"}, "involvedObject": {"kind": "Pod", "name": "p"}}
        registry.create("events", {**event, "involvedObject": {"namespace": "default"}})
    assert [event["metadata"]["name"] for event in registry.list("events")] == ["e2", "e3", "e4"]


def test_the_log_forgets_by_number_and_by_age() -> None:
    from faultlab_embedded.store.log import Log, Record

    now = 0.0
    log = Log(0, max_events=3, max_age_s=10, clock=lambda: now)

    def write(version: int) -> None:
        log.append("ADDED", Record("r", "", "n", "u", version, {}, b"{}"), None)

    for version in range(1, 6):
        write(version)
    assert log.floor == 2
    assert [change.version for change in log.read(log.position_after(3), 10)] == [4, 5]
    now = 20.0
    write(6)
    assert log.floor == 5
    with pytest.raises(Expired):
        log.position_after(4)
