"""Which addresses stand behind a Service."""

from __future__ import annotations

import copy
from typing import Any


def make_service(cluster: Any, **spec: Any) -> None:
    base = {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}
    meta = {"name": "web", "namespace": "default"}
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {**base, **spec}}
    cluster.registry.create("services", obj)


def addresses(cluster: Any, kind: str = "addresses") -> list[str]:
    found = cluster.registry.find("endpoints", "default", "web")
    subsets = (found.decode().get("subsets") or []) if found else []
    return [address.get("hostname", "") for subset in subsets for address in subset.get(kind) or ()]


async def test_ready_pods_are_listed_under_their_names(cluster: Any, make_set: Any) -> None:
    make_service(cluster)
    make_set()
    await cluster.until(lambda: addresses(cluster) == ["web-0", "web-1", "web-2"])
    found = cluster.get("endpoints", "web")
    assert found["subsets"][0]["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]


async def test_a_named_target_port_is_looked_up_on_each_pod(cluster: Any, template: Any) -> None:
    make_service(cluster, ports=[{"name": "http", "port": 80, "targetPort": "web"}])
    for name, held in (("a", [8080]), ("b", [8081]), ("c", [])):
        pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
        pod["metadata"] |= {"name": name, "namespace": "default"}
        pod["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": port} for port in held]
        cluster.registry.create("pods", pod)

    def seen() -> dict[str, list[int]]:
        found = cluster.registry.find("endpoints", "default", "web")
        subsets = (found.decode().get("subsets") or []) if found else []
        return {
            address["targetRef"]["name"]: [port["port"] for port in subset["ports"]]
            for subset in subsets
            for address in subset.get("addresses") or ()
        }

    await cluster.until(lambda: seen() == {"a": [8080], "b": [8081]})
    await cluster.settle()
    assert seen() == {"a": [8080], "b": [8081]}


async def test_unready_pod_moves_to_the_other_list_unless_published_early(
    cluster: Any, make_set: Any
) -> None:
    make_service(cluster)
    make_set(podManagementPolicy="Parallel")
    await cluster.until(lambda: len(addresses(cluster)) == 3)
    cluster.set_phase(cluster.get("pods", "web-1"), "Running", ready=False)
    await cluster.until(lambda: addresses(cluster) == ["web-0", "web-2"])
    assert addresses(cluster, "notReadyAddresses") == ["web-1"]
    cluster.registry.patch("services", "default", "web", {"spec": {"publishNotReadyAddresses": True}})
    await cluster.until(lambda: len(addresses(cluster)) == 3)


async def test_deleted_service_takes_its_endpoints_along(cluster: Any) -> None:
    make_service(cluster)
    await cluster.until(lambda: cluster.registry.find("endpoints", "default", "web"))
    cluster.registry.delete("services", "default", "web")
    await cluster.until(lambda: cluster.registry.find("endpoints", "default", "web") is None)


async def test_service_without_selector_is_left_to_its_owner(cluster: Any) -> None:
    make_service(cluster, selector=None)
    meta = {"name": "web", "namespace": "default"}
    mine = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": meta,
        "subsets": [{"addresses": [{"ip": "10.1.1.1"}]}],
    }
    cluster.registry.create("endpoints", mine)
    await cluster.settle()
    assert cluster.get("endpoints", "web")["subsets"][0]["addresses"][0]["ip"] == "10.1.1.1"


async def test_slice_says_what_the_endpoints_say(cluster: Any, make_set: Any) -> None:
    resource = "endpointslices.discovery.k8s.io"
    make_service(cluster)
    make_set()

    def names() -> list[str]:
        found = cluster.registry.find(resource, "default", "web")
        entries = (found.decode().get("endpoints") or []) if found else []
        return [entry["hostname"] for entry in entries if entry["conditions"]["ready"]]

    await cluster.until(lambda: names() == ["web-0", "web-1", "web-2"])
    assert cluster.get(resource, "web")["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
    cluster.registry.delete("services", "default", "web")
    await cluster.until(lambda: cluster.registry.find(resource, "default", "web") is None)
