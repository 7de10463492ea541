"""Service endpoints: which addresses stand behind a Service's name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from faultlab_embedded.controllers import pods
from faultlab_embedded.controllers.runtime import Key, Source, own_key, owner_reference
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]


class EndpointsReconciler:
    """Keeps the Endpoints object of the same name for every Service that has a selector."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def sources(self) -> list[Source]:
        """Services, their Endpoints, and pods (which wake all Services of their namespace)."""
        return [
            Source("services", own_key),
            Source("endpoints", own_key),
            Source("pods", self._services_of_namespace),
        ]

    def _services_of_namespace(self, _event: str, pod: Object) -> Iterable[Key]:
        namespace = pod["metadata"]["namespace"]
        labels = pod["metadata"].get("labels") or {}
        for service in self._registry.list("services", namespace):
            selector = service["spec"].get("selector") or {}
            if selector and all(labels.get(key) == value for key, value in selector.items()):
                yield (namespace, service["metadata"]["name"])

    def reconcile(self, namespace: str, name: str) -> None:
        """Writes the Endpoints of one Service if they differ; removes what a deleted Service left."""
        service = self._registry.find("services", namespace, name)
        found = self._registry.find("endpoints", namespace, name)
        if service is None:
            if found is not None and _is_ours(found.decode()):
                self._registry.delete("endpoints", namespace, name)
            return
        wanted = service.decode()
        if not wanted["spec"].get("selector"):
            return
        subsets = self._subsets(wanted)
        if found is None:
            self._registry.create("endpoints", _endpoints(wanted, subsets))
        elif (found.decode().get("subsets") or []) != subsets:
            self._registry.patch("endpoints", namespace, name, {"subsets": subsets})

    def _subsets(self, service: Object) -> list[dict[str, Any]]:
        spec = service["spec"]
        early = bool(spec.get("publishNotReadyAddresses"))
        selector = ",".join(f"{key}={value}" for key, value in sorted(spec["selector"].items()))
        subsets: dict[str, dict[str, Any]] = {}
        for pod in self._registry.list("pods", service["metadata"]["namespace"], labels=selector):
            address = (pod.get("status") or {}).get("podIP")
            if not address or pods.is_finished(pod) or (pods.is_terminating(pod) and not early):
                continue
            ports = [found for port in spec.get("ports") or () if (found := _port(port, pod))]
            if spec.get("ports") and not ports:
                continue
            subset = subsets.setdefault(json.dumps(ports), {"ports": ports} if ports else {})
            kind = "addresses" if early or pods.is_ready(pod) else "notReadyAddresses"
            subset.setdefault(kind, []).append(_address(pod, address, service["metadata"]["name"]))
        return list(subsets.values())


def _address(pod: Object, address: str, service: str) -> dict[str, Any]:
    meta, spec = pod["metadata"], pod["spec"]
    target = {"kind": "Pod", "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]}
    entry: dict[str, Any] = {"ip": address, "nodeName": spec.get("nodeName", ""), "targetRef": target}
    if spec.get("hostname") and spec.get("subdomain") == service:
        entry["hostname"] = spec["hostname"]
    return entry


def _port(port: Object, pod: Object) -> dict[str, Any] | None:
    """Where the Service's port is to be found on the pod; None where it names one that the pod has not."""
    target, protocol = port.get("targetPort") or port["port"], port.get("protocol", "TCP")
    if isinstance(target, str):
        held = [held for container in pod["spec"]["containers"] for held in container.get("ports") or ()]
        named = [
            held["containerPort"]
            for held in held
            if held.get("name") == target and held.get("protocol", "TCP") == protocol
        ]
        if not named:
            return None
        target = named[0]
    entry = {"port": target, "protocol": protocol}
    return {**({"name": port["name"]} if port.get("name") else {}), **entry}


def _is_ours(endpoints: Object) -> bool:
    labels = endpoints["metadata"].get("labels") or {}
    return labels.get("endpoints.kubernetes.io/managed-by") == "endpoint-controller"


def _endpoints(service: Object, subsets: list[dict[str, Any]]) -> dict[str, Any]:
    meta = service["metadata"]
    labels = {
        **(meta.get("labels") or {}),
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    }
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        },
        "subsets": subsets,
    }
