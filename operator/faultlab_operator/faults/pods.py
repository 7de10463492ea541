"""Pods as faults need them: where they run, their address, and how an agent finds them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from faultlab_chaos.contract.grudges import Edge
from faultlab_chaos.contract.wire import Deafness, PartitionInjection, PodRef

COMPONENT = "app.kubernetes.io/component"
SYSTEM_KIND = "faultlab.dev/system-kind"
SYSTEM_NAME = "faultlab.dev/system-name"


@dataclass(frozen=True)
class PodAt:
    """A running pod."""

    ref: PodRef
    node: str
    address: str


def lacks_ipv4(pod: Mapping[str, Any]) -> bool:
    """Whether it has addresses, and no IPv4 one among them: the agents cut by IPv4 addresses."""
    addresses = _addresses(pod)
    return bool(addresses) and all(":" in address for address in addresses)


def located(pod: Mapping[str, Any]) -> PodAt | None:
    """The pod's place, or None as long as it has no IPv4 address or no container."""
    status = pod.get("status") or {}
    node = (pod.get("spec") or {}).get("nodeName")
    address = next((each for each in _addresses(pod) if ":" not in each), None)
    container = next(
        (each["containerID"] for each in status.get("containerStatuses") or () if each.get("containerID")),
        None,
    )
    if not (node and address and container) or status.get("phase") in ("Succeeded", "Failed"):
        return None
    metadata = pod["metadata"]
    ref = PodRef(metadata["namespace"], metadata["name"], container, metadata.get("uid", ""))
    return PodAt(ref, node, address)


def injections(
    fault_id: str, lease_ms: int, edges: Iterable[Edge], pods: Mapping[str, PodAt]
) -> dict[str, PartitionInjection]:
    """What each node's agent is to make so that the edges are cut, by the node's name.

    Pods that do not run have no place in it: they cannot hear anybody, and come in when they run again.
    """
    unheard: dict[str, set[str]] = {}
    for edge in edges:
        if edge.source in pods and edge.target in pods:
            unheard.setdefault(edge.target, set()).add(pods[edge.source].address)
    by_node: dict[str, list[Deafness]] = {}
    for name in sorted(unheard):
        at = pods[name]
        by_node.setdefault(at.node, []).append(Deafness(at.ref, tuple(sorted(unheard[name]))))
    return {node: PartitionInjection(fault_id, lease_ms, tuple(deaf)) for node, deaf in by_node.items()}


def _addresses(pod: Mapping[str, Any]) -> list[str]:
    """The pod's addresses; with two address families the cluster's first one is the first."""
    status = pod.get("status") or {}
    several = [str(each["ip"]) for each in status.get("podIPs") or () if each.get("ip")]
    return several or ([str(status["podIP"])] if status.get("podIP") else [])
