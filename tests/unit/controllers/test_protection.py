"""Claims that are being deleted stay while a pod on a node uses them."""

from __future__ import annotations

from typing import Any

CLAIMS = "persistentvolumeclaims"
CLAIM = {
    "metadata": {"name": "data", "namespace": "default"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
}


def user(name: str) -> dict[str, Any]:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": [volume]}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def test_a_claim_goes_when_the_last_pod_on_a_node_that_uses_it_has_gone(cluster: Any) -> None:
    cluster.registry.create(CLAIMS, CLAIM)
    cluster.registry.create("pods", user("p"))
    await cluster.until(lambda: cluster.get("pods", "p")["spec"].get("nodeName"))
    cluster.registry.delete(CLAIMS, "default", "data")
    await cluster.settle()
    assert "deletionTimestamp" in cluster.get(CLAIMS, "data")["metadata"]
    cluster.registry.delete("pods", "default", "p")
    await cluster.until(lambda: cluster.registry.find(CLAIMS, "default", "data") is None)


async def test_a_claim_that_no_pod_uses_goes_at_once(cluster: Any) -> None:
    cluster.registry.create(CLAIMS, CLAIM)
    left = cluster.registry.delete(CLAIMS, "default", "data")
    assert left["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    await cluster.until(lambda: cluster.registry.find(CLAIMS, "default", "data") is None)
