"""Claim protection: a PersistentVolumeClaim that is being deleted stays while a pod on a node uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from faultlab_embedded.controllers.runtime import Key, Source, own_key
from faultlab_embedded.kinds.core import CLAIM_PROTECTION
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
RESOURCE = "persistentvolumeclaims"


class ProtectionReconciler:
    """Takes the finalizer away from claims that may go."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def sources(self) -> list[Source]:
        """Claims, and the pods that use them."""
        return [Source(RESOURCE, own_key), Source("pods", _claims_of)]

    def reconcile(self, namespace: str, name: str) -> None:
        """Looks at one claim."""
        found = self._registry.find(RESOURCE, namespace, name)
        if found is None:
            return
        meta = found.decode()["metadata"]
        finalizers = meta.get("finalizers") or []
        if "deletionTimestamp" not in meta or CLAIM_PROTECTION not in finalizers:
            return
        pods = self._registry.list("pods", namespace)
        if any(pod["spec"].get("nodeName") and (namespace, name) in _claims_of("", pod) for pod in pods):
            return
        left = [finalizer for finalizer in finalizers if finalizer != CLAIM_PROTECTION]
        self._registry.patch(RESOURCE, namespace, name, {"metadata": {"finalizers": left or None}})


def _claims_of(_event: str, pod: Object) -> Iterable[Key]:
    namespace = pod["metadata"]["namespace"]
    volumes = [volume.get("persistentVolumeClaim") for volume in pod["spec"].get("volumes") or ()]
    return [(namespace, claim["claimName"]) for claim in volumes if claim]
