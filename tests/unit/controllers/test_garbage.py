"""Owners and what they own."""

from __future__ import annotations

from typing import Any

CMS = "configmaps"


def make(cluster: Any, name: str, *owners: Any, block: bool = False) -> Any:
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]
    meta = {"name": name, "namespace": "default", "ownerReferences": references}
    return cluster.registry.create(CMS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})


def there(cluster: Any) -> list[str]:
    return [
        c["metadata"]["name"]
        for c in cluster.registry.list(CMS, "default")
        if c["metadata"]["name"] != "kube-root-ca.crt"
    ]


async def test_background_deletion_takes_grandchildren_too(cluster: Any) -> None:
    a = make(cluster, "a")
    b = make(cluster, "b", a)
    make(cluster, "c", b)
    make(cluster, "stranger")
    cluster.registry.delete(CMS, "default", "a")
    await cluster.until(lambda: there(cluster) == ["stranger"])


async def test_one_owner_of_two_is_enough_to_stay(cluster: Any) -> None:
    a, b = make(cluster, "a"), make(cluster, "b")
    make(cluster, "c", a, b)
    await cluster.settle()
    cluster.registry.delete(CMS, "default", "a")
    await cluster.until(lambda: len(cluster.get(CMS, "c")["metadata"]["ownerReferences"]) == 1)
    cluster.registry.delete(CMS, "default", "b")
    await cluster.until(lambda: there(cluster) == [])


async def test_foreground_deletion_waits_for_dependents_that_block(cluster: Any) -> None:
    a = make(cluster, "a")
    b = make(cluster, "b", a, block=True)
    cluster.registry.patch(CMS, "default", "b", {"metadata": {"finalizers": ["example.com/wait"]}})
    await cluster.settle()
    cluster.registry.delete(CMS, "default", "a", propagation="Foreground")
    await cluster.until(lambda: "deletionTimestamp" in cluster.get(CMS, "b")["metadata"])
    await cluster.settle()
    assert there(cluster) == ["a", "b"]
    cluster.registry.patch(CMS, "default", "b", {"metadata": {"finalizers": None}})
    await cluster.until(lambda: there(cluster) == [])
    assert b["metadata"]["uid"]


async def test_orphan_deletion_leaves_dependents_without_owner(cluster: Any) -> None:
    a = make(cluster, "a")
    make(cluster, "b", a)
    await cluster.settle()
    cluster.registry.delete(CMS, "default", "a", propagation="Orphan")
    await cluster.until(lambda: there(cluster) == ["b"])
    await cluster.settle()
    assert not cluster.get(CMS, "b")["metadata"].get("ownerReferences")


async def test_owner_with_another_uid_does_not_count(cluster: Any) -> None:
    a = make(cluster, "a")
    a["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    make(cluster, "b", a)
    await cluster.until(lambda: there(cluster) == ["a"])


async def test_statefulset_takes_its_pods_and_revisions_along(cluster: Any, make_set: Any) -> None:
    make_set()
    await cluster.until(lambda: cluster.status("statefulsets.apps", "web").get("readyReplicas") == 3)
    cluster.registry.delete("statefulsets.apps", "default", "web")
    await cluster.until(lambda: not cluster.names())
    await cluster.until(lambda: not cluster.registry.list("controllerrevisions.apps"))
