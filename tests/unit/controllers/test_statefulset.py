"""StatefulSets: names, order, claims, revisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SETS = "statefulsets.apps"


async def test_parallel_pods_all_start_even_if_none_is_ready(
    cluster: Any, make_set: Callable[..., Any]
) -> None:
    cluster.stuck = {"web-0", "web-1", "web-2"}
    make_set(podManagementPolicy="Parallel")
    await cluster.until(lambda: cluster.names() == ["web-0", "web-1", "web-2"])
    assert cluster.status(SETS, "web").get("readyReplicas", 0) == 0


async def test_ordered_pods_wait_for_the_one_before(cluster: Any, make_set: Callable[..., Any]) -> None:
    cluster.stuck = {"web-1"}
    make_set()
    await cluster.until(lambda: "web-1" in cluster.names())
    await cluster.settle()
    assert cluster.names() == ["web-0", "web-1"]
    cluster.stuck.clear()
    cluster.set_phase(cluster.get("pods", "web-1"), "Running")
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 3)
    assert cluster.created == ["web-0", "web-1", "web-2"]


async def test_pod_has_its_name_as_hostname_and_labels(cluster: Any, make_set: Callable[..., Any]) -> None:
    make_set(replicas=1)
    await cluster.until(cluster.names)
    pod = cluster.get("pods", "web-0")
    assert pod["spec"]["hostname"] == "web-0"
    assert pod["spec"]["subdomain"] == "web"
    labels = pod["metadata"]["labels"]
    assert labels["statefulset.kubernetes.io/pod-name"] == "web-0"
    await cluster.until(lambda: cluster.status(SETS, "web").get("updateRevision"))
    assert labels["controller-revision-hash"] == cluster.status(SETS, "web")["updateRevision"]


async def test_scale_down_removes_the_highest_first_and_keeps_claims(
    cluster: Any, make_set: Callable[..., Any]
) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    make_set(volumeClaimTemplates=[claim])
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 3)
    cluster.registry.patch(SETS, "default", "web", {"spec": {"replicas": 1}})
    await cluster.until(lambda: cluster.names() == ["web-0"])
    assert cluster.deleted == ["web-2", "web-1"]
    claims = [c["metadata"]["name"] for c in cluster.registry.list("persistentvolumeclaims")]
    assert claims == ["data-web-0", "data-web-1", "data-web-2"]
    volumes = cluster.get("pods", "web-0")["spec"]["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}} in volumes


CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
}


def claim_list(cluster: Any) -> list[str]:
    return [claim["metadata"]["name"] for claim in cluster.registry.list("persistentvolumeclaims")]


@pytest.mark.parametrize("when_deleted", ["Retain", "Delete"])
async def test_claims_go_or_stay_with_the_set_as_its_policy_says(
    when_deleted: str, cluster: Any, make_set: Callable[..., Any]
) -> None:
    policy = {"whenDeleted": when_deleted, "whenScaled": "Retain"}
    make_set(volumeClaimTemplates=[CLAIM], persistentVolumeClaimRetentionPolicy=policy)
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 3)
    cluster.registry.patch(SETS, "default", "web", {"spec": {"replicas": 2}})
    await cluster.until(lambda: len(cluster.names()) == 2)
    await cluster.settle()
    assert len(claim_list(cluster)) == 3, "scaling retains them"
    cluster.registry.delete(SETS, "default", "web")
    await cluster.until(lambda: not cluster.names())
    await cluster.settle()
    assert claim_list(cluster) == (
        [] if when_deleted == "Delete" else ["data-web-0", "data-web-1", "data-web-2"]
    )


async def test_claim_of_a_pod_that_is_scaled_away_goes_where_the_policy_says_so(
    cluster: Any, make_set: Callable[..., Any]
) -> None:
    policy = {"whenDeleted": "Retain", "whenScaled": "Delete"}
    make_set(volumeClaimTemplates=[CLAIM], persistentVolumeClaimRetentionPolicy=policy)
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 3)
    cluster.registry.patch(SETS, "default", "web", {"spec": {"replicas": 1}})
    await cluster.until(lambda: claim_list(cluster) == ["data-web-0"])
    cluster.registry.delete("pods", "default", "web-0")
    await cluster.until(lambda: cluster.created.count("web-0") == 1 and cluster.names() == ["web-0"])
    await cluster.settle()
    assert claim_list(cluster) == ["data-web-0"], "a pod that only restarts keeps its claim"


async def test_a_pod_waits_for_the_end_of_a_claim_that_is_being_deleted_and_gets_a_new_one(
    cluster: Any, make_set: Callable[..., Any]
) -> None:
    make_set(volumeClaimTemplates=[CLAIM])
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 3)
    claims = ("persistentvolumeclaims", "default", "data-web-0")
    before = cluster.registry.get(*claims)["metadata"]["uid"]
    cluster.registry.patch(*claims, {"metadata": {"finalizers": ["tests.faultlab.dev/hold"]}})
    cluster.registry.delete(*claims)
    cluster.registry.delete("pods", "default", "web-0")
    await cluster.until(lambda: cluster.names() == ["web-1", "web-2"])
    await cluster.settle()
    assert cluster.names() == ["web-1", "web-2"], "no pod is made on a volume that goes"
    cluster.registry.patch(*claims, {"metadata": {"finalizers": None}})
    await cluster.until(lambda: cluster.names() == ["web-0", "web-1", "web-2"])
    assert cluster.registry.get(*claims)["metadata"]["uid"] != before


async def test_deleted_pod_comes_back_under_its_name(cluster: Any, make_set: Callable[..., Any]) -> None:
    make_set()
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 3)
    before = cluster.get("pods", "web-1")["metadata"]["uid"]
    cluster.registry.delete("pods", "default", "web-1")
    await cluster.until(
        lambda: "web-1" in cluster.names() and cluster.get("pods", "web-1")["metadata"]["uid"] != before
    )


async def test_failed_pod_is_replaced(cluster: Any, make_set: Callable[..., Any]) -> None:
    make_set(replicas=1)
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 1)
    before = cluster.get("pods", "web-0")
    cluster.set_phase(before, "Failed")
    await cluster.until(
        lambda: (
            cluster.names() and cluster.get("pods", "web-0")["metadata"]["uid"] != before["metadata"]["uid"]
        )
    )


async def test_rolling_update_goes_one_by_one_from_the_last(
    cluster: Any, make_set: Callable[..., Any]
) -> None:
    make_set()
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 3)
    old = cluster.status(SETS, "web")["updateRevision"]
    change_template(cluster)
    await cluster.until(lambda: cluster.status(SETS, "web").get("currentRevision") not in (None, old))
    assert cluster.deleted == ["web-2", "web-1", "web-0"]
    status = cluster.status(SETS, "web")
    assert status["currentRevision"] == status["updateRevision"] != old
    assert status["updatedReplicas"] == 3


async def test_rolling_update_stops_at_a_pod_that_is_not_ready(
    cluster: Any, make_set: Callable[..., Any]
) -> None:
    make_set(podManagementPolicy="Parallel")
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 3)
    cluster.stuck = {"web-2"}
    change_template(cluster)
    await cluster.until(lambda: cluster.deleted == ["web-2"])
    await cluster.settle()
    assert cluster.deleted == ["web-2"]


async def test_partition_keeps_the_lower_pods_at_the_old_revision(
    cluster: Any, make_set: Callable[..., Any]
) -> None:
    make_set(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 3)
    old = cluster.status(SETS, "web")["updateRevision"]
    change_template(cluster)
    await cluster.until(lambda: cluster.status(SETS, "web").get("updatedReplicas") == 1)
    cluster.registry.delete("pods", "default", "web-0")
    await cluster.until(
        lambda: (
            cluster.created.count("web-0") == 1 and "web-0" in cluster.deleted and "web-0" in cluster.names()
        )
    )
    hashes = [p["metadata"]["labels"]["controller-revision-hash"] for p in cluster.pods()]
    assert hashes[:2] == [old, old]
    assert hashes[2] != old
    assert cluster.get("pods", "web-0")["spec"]["containers"][0]["image"] == "i"


async def test_on_delete_waits_for_somebody_to_delete(cluster: Any, make_set: Callable[..., Any]) -> None:
    make_set(updateStrategy={"type": "OnDelete"})
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 3)
    change_template(cluster)
    await cluster.settle()
    assert cluster.deleted == []
    assert "updatedReplicas" not in cluster.status(SETS, "web")
    cluster.registry.delete("pods", "default", "web-1")
    await cluster.until(lambda: cluster.status(SETS, "web").get("updatedReplicas") == 1)
    assert cluster.get("pods", "web-1")["spec"]["containers"][0]["image"] == "new"
    assert cluster.deleted == ["web-1"]


async def test_returning_to_an_old_template_uses_its_revision_again(
    cluster: Any, make_set: Callable[..., Any]
) -> None:
    make_set(replicas=1)
    await cluster.until(lambda: cluster.status(SETS, "web").get("readyReplicas") == 1)
    first = cluster.status(SETS, "web")["updateRevision"]
    change_template(cluster, "new")
    await cluster.until(lambda: cluster.status(SETS, "web")["currentRevision"] != first)
    change_template(cluster, "i")
    await cluster.until(lambda: cluster.status(SETS, "web")["currentRevision"] == first)
    assert len(cluster.registry.list("controllerrevisions.apps")) == 2


def change_template(cluster: Any, image: str = "new") -> None:
    def change(obj: Any) -> Any:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image
        return obj

    cluster.registry.modify(SETS, "default", "web", change)
