"""Static pods: given to the node with the world, shown in the API as mirror pods."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from faultlab_embedded.node.places import NODE_NAME
from faultlab_embedded.store.errors import ApiError
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
MIRROR = "kubernetes.io/config.mirror"
_RETRY_S = 0.5
log = logging.getLogger(__name__)


class StaticPods:
    """Sees to it that each static pod has its object; one that is deleted comes back as a new pod.

    Unlike kubelet's, a mirror pod has the name that its manifest says, without the node's, and deleting it
    restarts the pod.
    """

    def __init__(self, registry: Registry, pods: Sequence[Object]) -> None:
        self._registry = registry
        self._pods = {self._key(pod): pod for pod in pods}

    @property
    def names(self) -> set[tuple[str, str]]:
        """(namespace, name) of each."""
        return set(self._pods)

    def create(self) -> None:
        """Replaces what an earlier life of the world left by pods as they are wanted now."""
        for old in self._registry.list("pods"):
            if MIRROR in (old["metadata"].get("annotations") or {}):
                namespace, name = self._key(old)
                self._registry.delete("pods", namespace, name, grace_seconds=0)
        for pod in self._pods.values():
            self._create(pod)

    def deleted(self, pod: Object) -> None:
        """A pod was deleted from the API; if it was one of these, it is made anew."""
        wanted = self._pods.get(self._key(pod))
        if wanted is not None:
            asyncio.get_running_loop().call_soon(self._recreate, wanted)

    def _recreate(self, pod: Object) -> None:
        namespace, name = self._key(pod)
        if self._registry.find("pods", namespace, name) is not None:
            return
        try:
            self._create(pod)
        except ApiError as error:
            log.warning("static pod %s/%s cannot be made yet: %s", namespace, name, error)
            asyncio.get_running_loop().call_later(_RETRY_S, self._recreate, pod)

    def _create(self, pod: Object) -> None:
        meta = dict(pod["metadata"])
        digest = hashlib.sha256(json.dumps(pod, sort_keys=True).encode()).hexdigest()[:32]
        meta["annotations"] = {
            **(meta.get("annotations") or {}),
            MIRROR: digest,
            "kubernetes.io/config.hash": digest,
            "kubernetes.io/config.source": "world",
        }
        spec = {**pod["spec"], "nodeName": NODE_NAME}
        self._registry.create("pods", {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    @staticmethod
    def _key(pod: Object) -> tuple[str, str]:
        return pod["metadata"].get("namespace") or "default", pod["metadata"]["name"]
