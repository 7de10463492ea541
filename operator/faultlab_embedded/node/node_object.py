"""The Node object `embedded` and its heartbeat."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from faultlab_embedded.node.places import NODE_NAME
from faultlab_embedded.node.status import now
from faultlab_embedded.store.errors import ApiError
from faultlab_embedded.store.registry import Registry

_LEASE_NAMESPACE = "kube-node-lease"
_HEARTBEAT_S = 10.0
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class NodeObject:
    """What the API shows of the node."""

    def __init__(self, registry: Registry, address: str) -> None:
        self._registry = registry
        self._address = address
        architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
        self.labels = {
            "kubernetes.io/hostname": NODE_NAME,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture,
        }

    def mismatch(self, selector: Mapping[str, str]) -> str:
        """The first entry of a nodeSelector that the node does not have, empty if it has all.

        Labels that were added to the Node object count.
        """
        found = self._registry.find("nodes", None, NODE_NAME)
        labels = found.labels if found else self.labels
        return next((f"{key}={value}" for key, value in selector.items() if labels.get(key) != value), "")

    def register(self) -> None:
        """Creates the object, or brings the one of an earlier life up to date."""
        if self._registry.find("nodes", None, NODE_NAME) is None:
            node = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": NODE_NAME, "labels": self.labels},
            }
            self._registry.create("nodes", {**node, "spec": {}})
        self._registry.patch("nodes", None, NODE_NAME, {"status": self._status()}, "status")

    async def beat(self) -> None:
        """Renews the Lease in kube-node-lease, for ever."""
        while True:
            with suppress(ApiError):
                self._renew()
            await asyncio.sleep(_HEARTBEAT_S)

    def _renew(self) -> None:
        spec = {
            "holderIdentity": NODE_NAME,
            "leaseDurationSeconds": 40,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        resource = "leases.coordination.k8s.io"
        if self._registry.find(resource, _LEASE_NAMESPACE, NODE_NAME) is None:
            meta = {"name": NODE_NAME, "namespace": _LEASE_NAMESPACE}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
            self._registry.create(resource, {**lease, "spec": spec})
        else:
            self._registry.patch(resource, _LEASE_NAMESPACE, NODE_NAME, {"spec": spec})

    def _status(self) -> dict[str, Any]:
        memory_kib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
        amounts = {"cpu": str(os.cpu_count() or 1), "memory": f"{memory_kib}Ki", "pods": "250"}
        return {
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [
                {"type": "InternalIP", "address": self._address},
                {"type": "Hostname", "address": NODE_NAME},
            ],
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "message": "the embedded node runs",
                    "lastHeartbeatTime": now(),
                    "lastTransitionTime": now(),
                }
            ],
            "nodeInfo": {
                "architecture": self.labels["kubernetes.io/arch"],
                "operatingSystem": "linux",
                "kernelVersion": platform.release(),
                "osImage": "this machine",
                "containerRuntimeVersion": "embedded://1",
                "kubeletVersion": "v1.34.4+faultlab",
                "kubeProxyVersion": "",
                "bootID": "",
                "machineID": "",
                "systemUUID": "",
            },
        }
