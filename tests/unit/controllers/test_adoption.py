"""Controllers take what their selector matches and nobody has, and let go of what it no longer matches."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from faultlab_embedded.controllers.runtime import controller_of

SETS, DEPLOYMENTS = "replicasets.apps", "deployments.apps"


def workload(kind: str, template: Any, **spec: Any) -> Any:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": copy.deepcopy(template), **spec},
    }


def orphan(cluster: Any, resource: str) -> None:
    cluster.registry.delete(resource, "default", "web", propagation="Orphan")


@pytest.mark.parametrize(
    ("kind", "resource", "count"),
    [
        ("StatefulSet", "statefulsets.apps", 2),
        ("DaemonSet", "daemonsets.apps", 1),
        ("ReplicaSet", SETS, 2),
        ("Deployment", DEPLOYMENTS, 2),
    ],
)
async def test_a_successor_takes_over_what_an_orphaning_deletion_left(
    cluster: Any, template: Any, kind: str, resource: str, count: int
) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "embedded"}}
    cluster.registry.create("nodes", node)
    extra: dict[str, Any] = {} if kind == "DaemonSet" else {"replicas": count}
    if kind == "StatefulSet":
        extra["serviceName"] = "web"
    cluster.registry.create(resource, workload(kind, template, **extra))
    await cluster.until(lambda: len([p for p in cluster.pods() if p.get("status", {}).get("podIP")]) == count)
    await cluster.settle()
    before = {pod["metadata"]["uid"] for pod in cluster.pods()}
    orphan(cluster, resource)
    await cluster.until(lambda: cluster.registry.find(resource, "default", "web") is None)
    await cluster.settle()
    assert {pod["metadata"]["uid"] for pod in cluster.pods()} == before

    made = cluster.registry.create(resource, workload(kind, template, **extra))
    children = SETS if kind == "Deployment" else "pods"
    await cluster.until(
        lambda: all(
            (controller_of(child) or {}).get("uid") == made["metadata"]["uid"]
            for child in cluster.registry.list(children, "default")
        )
    )
    await cluster.settle()
    assert {pod["metadata"]["uid"] for pod in cluster.pods()} == before
    lost = cluster.pods()[0]["metadata"]
    cluster.registry.delete("pods", "default", lost["name"])
    await cluster.until(lambda: len(cluster.pods()) == count and lost["uid"] not in uids(cluster))


def uids(cluster: Any) -> set[str]:
    return {pod["metadata"]["uid"] for pod in cluster.pods()}


async def test_a_pod_that_loses_its_label_is_let_go_and_replaced(cluster: Any, template: Any) -> None:
    cluster.registry.create(SETS, workload("ReplicaSet", template, replicas=1))
    await cluster.until(lambda: len(cluster.pods()) == 1)
    await cluster.settle()
    first = cluster.names()[0]
    cluster.registry.patch("pods", "default", first, {"metadata": {"labels": {"app": "looked-at"}}})
    await cluster.until(lambda: len(cluster.pods("app=web")) == 1)
    assert controller_of(cluster.get("pods", first)) is None


async def test_a_free_pod_counts_for_the_set_whose_selector_it_matches(cluster: Any, template: Any) -> None:
    cluster.registry.create(SETS, workload("ReplicaSet", template, replicas=1))
    await cluster.until(lambda: len(cluster.pods()) == 1)
    first = cluster.names()[0]
    await cluster.settle()
    pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
    pod["metadata"] |= {"name": "free", "namespace": "default"}
    cluster.registry.create("pods", pod)
    await cluster.until(lambda: cluster.deleted)
    assert len(cluster.names()) == 1
    assert set(cluster.deleted) < {first, "free"}


async def test_a_set_takes_no_pod_whose_name_it_could_not_have_made(
    cluster: Any, make_set: Any, template: Any
) -> None:
    make_set(replicas=1)
    await cluster.until(lambda: cluster.names() == ["web-0"])
    pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
    pod["metadata"] |= {"name": "web-x", "namespace": "default"}
    cluster.registry.create("pods", pod)
    await cluster.settle()
    assert controller_of(cluster.get("pods", "web-x")) is None
    assert cluster.names() == ["web-0", "web-x"]
