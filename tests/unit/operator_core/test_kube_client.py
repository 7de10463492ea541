"""The API client against the embedded API: what is written, and what is not."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from faultlab_operator.core import Cache
from faultlab_operator.errors import Conflict, NotFound, Refused, Unavailable
from faultlab_operator.kube import KubeClient

from .lab import NAMESPACE, client, serving


@pytest.fixture
async def api() -> AsyncIterator[tuple[Any, KubeClient, Cache]]:
    cache = Cache()
    async with serving() as (registry, address), client(address, cache) as kube:
        yield registry, kube, cache


def cluster(name: str = "demo", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "faultlab.dev/v1alpha1",
        "kind": "RaftCluster",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


async def test_apply_creates_and_then_changes_and_the_cache_knows_at_once(api: Any) -> None:
    _, kube, cache = api
    await kube.apply(cluster(reads="linearizable"))
    changed = await kube.apply(cluster(reads="stale"))
    assert changed["spec"]["reads"] == "stale"
    assert cache.get("RaftCluster", NAMESPACE, "demo") == changed


async def test_applying_the_same_again_changes_nothing(api: Any) -> None:
    _, kube, _ = api
    first = await kube.apply(cluster())
    second = await kube.apply(cluster())
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_a_dry_run_leaves_nothing(api: Any) -> None:
    _, kube, _ = api
    await kube.apply(cluster("tried"), dry_run=True)
    with pytest.raises(NotFound):
        await kube.get("RaftCluster", NAMESPACE, "tried")


async def test_an_unchanged_status_is_not_written(api: Any) -> None:
    _, kube, cache = api
    await kube.apply(cluster())
    status = {"leader": "demo-0", "term": 3, "conditions": [], "members": []}
    assert await kube.patch_status("RaftCluster", NAMESPACE, "demo", status)
    version = cache.get("RaftCluster", NAMESPACE, "demo")["metadata"]["resourceVersion"]
    assert not await kube.patch_status("RaftCluster", NAMESPACE, "demo", dict(status))
    now = await kube.get("RaftCluster", NAMESPACE, "demo")
    assert now["metadata"]["resourceVersion"] == version


async def test_what_a_status_no_longer_says_is_removed(api: Any) -> None:
    _, kube, _ = api
    await kube.apply(cluster())
    await kube.patch_status("RaftCluster", NAMESPACE, "demo", {"leader": "demo-0", "term": 3})
    await kube.patch_status("RaftCluster", NAMESPACE, "demo", {"term": 4})
    status = (await kube.get("RaftCluster", NAMESPACE, "demo"))["status"]
    assert status["term"] == 4
    assert "leader" not in status


async def test_a_successor_is_not_given_its_predecessors_status(api: Any) -> None:
    registry, kube, _ = api
    await kube.apply(cluster())
    registry.delete("raftclusters.faultlab.dev", NAMESPACE, "demo")
    registry.create("raftclusters.faultlab.dev", cluster())
    await kube.patch_status("RaftCluster", NAMESPACE, "demo", {"leader": "demo-0"})
    assert "leader" not in ((await kube.get("RaftCluster", NAMESPACE, "demo")).get("status") or {})


async def test_the_status_of_an_object_that_is_gone_is_no_error(api: Any) -> None:
    _, kube, _ = api
    assert not await kube.patch_status("RaftCluster", NAMESPACE, "gone", {"leader": "x"})


async def test_delete_says_whether_there_was_anything(api: Any) -> None:
    _, kube, _ = api
    made = await kube.apply(cluster())
    assert not await kube.delete("RaftCluster", NAMESPACE, "demo", uid="another")
    assert await kube.delete("RaftCluster", NAMESPACE, "demo", uid=made["metadata"]["uid"])
    assert not await kube.delete("RaftCluster", NAMESPACE, "demo")


async def test_errors_name_what_the_server_said(api: Any) -> None:
    _, kube, _ = api
    with pytest.raises(Refused, match="replicas must be odd"):
        await kube.apply(cluster(replicas=4))
    await kube.create(cluster())
    with pytest.raises(Conflict, match="already exists"):
        await kube.create(cluster())
    with pytest.raises(NotFound):
        await kube.get("RaftCluster", NAMESPACE, "gone")


async def test_no_server_is_unavailable() -> None:
    async with client("http://127.77.0.250:1", Cache()) as kube:
        with pytest.raises(Unavailable, match="no answer from the API server"):
            await kube.get("RaftCluster", NAMESPACE, "demo")


async def test_list_fills_in_kind_and_selects_by_label(api: Any) -> None:
    registry, kube, _ = api
    for name, app in (("a", "raft"), ("b", "load")):
        registry.create(
            "configmaps", {"metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": app}}}
        )
    found = await kube.list("ConfigMap", NAMESPACE, {"app": "raft"})
    assert [(item["kind"], item["metadata"]["name"]) for item in found] == [("ConfigMap", "a")]


async def test_like_events_are_counted_and_too_many_are_dropped(api: Any) -> None:
    registry, kube, _ = api
    made = await kube.apply(cluster())
    for _ in range(3):
        await kube.create_event(made, "Normal", "LeaderElected", "demo-0 leads term 1")
    events = registry.list("events", NAMESPACE)
    assert [(event["reason"], event["count"]) for event in events] == [("LeaderElected", 3)]
    assert events[0]["involvedObject"]["uid"] == made["metadata"]["uid"]
    for number in range(100):
        await kube.create_event(made, "Normal", "LeaderElected", f"demo-0 leads term {number}")
    assert len(registry.list("events", NAMESPACE)) < 30


async def test_an_event_that_cannot_be_written_is_no_error(api: Any) -> None:
    _, kube, _ = api
    nowhere = {"kind": "RaftCluster", "metadata": {"name": "demo", "namespace": "no-such", "uid": "u"}}
    await kube.create_event(nowhere, "Normal", "LeaderElected", "somebody leads")
