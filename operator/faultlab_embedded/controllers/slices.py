"""EndpointSlices: what Endpoints say, in the form that newer clients ask for (`kubectl describe service`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from faultlab_embedded.controllers.runtime import Key, Source, own_key, owner_reference
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
RESOURCE = "endpointslices.discovery.k8s.io"
SERVICE_LABEL = "kubernetes.io/service-name"


class SliceReconciler:
    """One slice for each Service that has Endpoints, under the same name."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def sources(self) -> list[Source]:
        """Endpoints, and the slices themselves."""
        return [Source("endpoints", own_key), Source(RESOURCE, self._own)]

    def _own(self, event: str, piece: Object) -> Iterable[Key]:
        return own_key(event, piece) if SERVICE_LABEL in (piece["metadata"].get("labels") or {}) else []

    def reconcile(self, namespace: str, name: str) -> None:
        """Writes the slice if it differs. That of deleted Endpoints goes with them: they own it."""
        found = self._registry.find("endpoints", namespace, name)
        if found is None:
            return
        endpoints = found.decode()
        wanted = {"endpoints": _entries(endpoints), "ports": _ports(endpoints)}
        old = self._registry.find(RESOURCE, namespace, name)
        if old is None:
            self._registry.create(
                RESOURCE,
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "name": name,
                        "namespace": namespace,
                        "labels": {SERVICE_LABEL: name},
                        "ownerReferences": [owner_reference(endpoints)],
                    },
                    "addressType": "IPv4",
                    **wanted,
                },
            )
        elif any(old.decode().get(key) != value for key, value in wanted.items()):
            self._registry.patch(RESOURCE, namespace, name, wanted)


def _entries(endpoints: Object) -> list[dict[str, Any]]:
    entries = []
    for subset in endpoints.get("subsets") or ():
        for key, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(key) or ():
                entry = {
                    "addresses": [address["ip"]],
                    "conditions": {"ready": ready, "serving": ready, "terminating": False},
                }
                kept = ("hostname", "nodeName", "targetRef")
                entries.append({**entry, **{k: address[k] for k in kept if address.get(k)}})
    return entries


def _ports(endpoints: Object) -> list[dict[str, Any]]:
    for subset in endpoints.get("subsets") or ():
        return [{"name": "", **port} for port in subset.get("ports") or ()]
    return []
