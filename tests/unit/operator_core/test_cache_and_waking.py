"""What the cache believes, and whom a change wakes."""

from typing import Any

from faultlab_operator.api import KINDS
from faultlab_operator.core import Cache, Key
from faultlab_operator.handlers.watch import fill, keys_to_wake
from faultlab_operator.kube.resources import WATCHED


def obj(kind: str, name: str, version: int = 1, uid: str = "u", **more: Any) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"kind": kind, "metadata": {**metadata, **more.pop("metadata", {})}, **more}


def test_an_older_version_does_not_replace_a_newer_one() -> None:
    cache = Cache()
    cache.put(obj("RaftCluster", "demo", 10, spec=1))
    cache.put(obj("RaftCluster", "demo", 9, spec=0))
    assert cache.get("RaftCluster", "ns", "demo") == obj("RaftCluster", "demo", 10, spec=1)


def test_a_successor_of_the_same_name_replaces_and_survives_the_late_news_of_the_old_ones_end() -> None:
    cache = Cache()
    cache.put(obj("RaftCluster", "demo", 10, uid="old"))
    cache.put(obj("RaftCluster", "demo", 5, uid="new"))
    cache.drop(obj("RaftCluster", "demo", 10, uid="old"))
    found = cache.get("RaftCluster", "ns", "demo")
    assert found is not None
    assert found["metadata"]["uid"] == "new"


def test_listeners_hear_of_changes_only() -> None:
    cache = Cache()
    heard: list[tuple[Key, bool, bool]] = []
    cache.listen(lambda key, before, now: heard.append((key, before is not None, now is not None)))
    one = obj("RaftCluster", "demo", 1)
    cache.put(one)
    cache.put(one)
    cache.put(obj("RaftCluster", "demo", 2))
    cache.drop(one)
    cache.drop(one)
    key = Key("RaftCluster", "ns", "demo")
    assert heard == [(key, False, True), (key, True, True), (key, True, False)]


def test_list_selects_by_namespace_and_labels() -> None:
    cache = Cache()
    cache.put(obj("Pod", "b", metadata={"labels": {"app": "raft", "x": "y"}}))
    cache.put(obj("Pod", "a", metadata={"labels": {"app": "raft"}}))
    cache.put(obj("Pod", "c", metadata={"labels": {"app": "load"}}))
    cache.put(obj("Pod", "d", metadata={"namespace": "other", "labels": {"app": "raft"}}))
    assert [pod["metadata"]["name"] for pod in cache.list("Pod", "ns", {"app": "raft"})] == ["a", "b"]
    assert len(cache.list("Pod")) == 4


def test_a_pod_wakes_its_system_and_a_child_its_owner() -> None:
    cache = Cache()
    pod = obj(
        "Pod",
        "demo-0",
        metadata={
            "labels": {"faultlab.dev/system-kind": "RaftCluster", "faultlab.dev/system-name": "demo"},
            "ownerReferences": [{"kind": "StatefulSet", "name": "demo", "uid": "s"}],
        },
    )
    load = obj("Pod", "w-load", metadata={"ownerReferences": [{"kind": "LoadTest", "name": "w", "uid": "l"}]})
    partition = obj(
        "NetworkPartition",
        "cut",
        metadata={"ownerReferences": [{"kind": "Scenario", "name": "s", "uid": "x"}]},
    )
    assert keys_to_wake(Key("Pod", "ns", "demo-0"), pod, cache) == {Key("RaftCluster", "ns", "demo")}
    assert keys_to_wake(Key("Pod", "ns", "w-load"), load, cache) == {Key("LoadTest", "ns", "w")}
    assert keys_to_wake(Key("NetworkPartition", "ns", "cut"), partition, cache) == {
        Key("NetworkPartition", "ns", "cut"),
        Key("Scenario", "ns", "s"),
    }


def test_a_cluster_wakes_whoever_names_it() -> None:
    cache = Cache()
    system = {"kind": "RaftCluster", "name": "demo"}
    cache.put(obj("LoadTest", "w", spec={"system": system}))
    cache.put(obj("LoadTest", "other", spec={"system": {**system, "name": "other"}}))
    cache.put(obj("NetworkPartition", "cut", spec={"selector": {"system": system}}))
    woken = keys_to_wake(Key("RaftCluster", "ns", "demo"), obj("RaftCluster", "demo"), cache)
    assert woken == {
        Key("RaftCluster", "ns", "demo"),
        Key("LoadTest", "ns", "w"),
        Key("NetworkPartition", "ns", "cut"),
    }


class Lists:
    """An API server that is only listed; `meanwhile` happens during the list of RaftClusters."""

    def __init__(self, objects: list[dict[str, Any]], meanwhile: Any = None) -> None:
        self._objects, self._meanwhile = objects, meanwhile
        self.asked: dict[str, list[str | None]] = {}

    async def list(self, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
        assert kind in WATCHED
        self.asked.setdefault(kind, []).append(namespace)
        if kind == "RaftCluster" and self._meanwhile is not None:
            self._meanwhile()
        return [made for made in self._objects if made["kind"] == kind]


async def test_a_list_tells_of_a_deletion_that_no_watch_told() -> None:
    cache = Cache()
    gone, stays = obj("RaftCluster", "gone"), obj("RaftCluster", "stays")
    cache.put(gone)
    heard: list[Key] = []
    cache.listen(lambda key, _before, now: heard.append(key) if now is None else None)
    await fill(cache, Lists([stays]), (), "")  # type: ignore[arg-type]
    assert heard == [Key("RaftCluster", "ns", "gone")]
    assert cache.keys("RaftCluster") == {Key("RaftCluster", "ns", "stays")}


async def test_with_named_namespaces_only_agents_are_looked_for_elsewhere() -> None:
    lists = Lists([])
    await fill(Cache(), lists, ("a", "b"), "home")  # type: ignore[arg-type]
    assert all(lists.asked[kind] == ["a", "b"] for kind in KINDS)
    assert lists.asked["Pod"] == ["a", "b", "home"]
    assert lists.asked["Namespace"] == [None]


async def test_what_comes_during_a_list_is_not_lost() -> None:
    cache = Cache()
    await fill(cache, Lists([], meanwhile=lambda: cache.put(obj("RaftCluster", "new"))), (), "")  # type: ignore[arg-type]
    assert cache.keys("RaftCluster") == {Key("RaftCluster", "ns", "new")}


async def test_foreign_pods_are_not_kept() -> None:
    cache = Cache()
    ours = obj("Pod", "ours", metadata={"labels": {"app.kubernetes.io/managed-by": "faultlab"}})
    agent = obj("Pod", "agent", metadata={"labels": {"app.kubernetes.io/name": "faultlab-agent"}})
    await fill(cache, Lists([ours, agent, obj("Pod", "foreign")]), (), "")  # type: ignore[arg-type]
    assert {key.name for key in cache.keys("Pod")} == {"ours", "agent"}
