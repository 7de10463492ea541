"""ReplicaSets: so many pods of one template, all alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faultlab_embedded.controllers import adoption, pods
from faultlab_embedded.controllers.runtime import Source, own_key
from faultlab_embedded.node.recorder import Recorder
from faultlab_embedded.store.errors import ApiError
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
RESOURCE = "replicasets.apps"
_MIN_READY_CHECK_S = 1.0


class ReplicaSetReconciler:
    """Creates and deletes pods until the number is right; the least useful go first."""

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._registry = registry
        self._recorder = recorder

    def sources(self) -> list[Source]:
        """The sets, and the pods that they own or may take."""
        claims = adoption.claim_keys(self._registry, RESOURCE, "ReplicaSet")
        return [Source(RESOURCE, own_key), Source("pods", claims)]

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One look."""
        found = self._registry.find(RESOURCE, namespace, name)
        if found is None:
            return None
        obj = found.decode()
        wanted = 1 if obj["spec"].get("replicas") is None else int(obj["spec"]["replicas"])
        if "deletionTimestamp" not in obj["metadata"]:
            adoption.settle(self._registry, "pods", obj)
            active = [pod for pod in pods.owned_pods(self._registry, obj) if pods.is_active(pod)]
            for _ in range(wanted - len(active)):
                self._create(obj)
            for pod in sorted(active, key=_usefulness)[: max(0, len(active) - wanted)]:
                self._delete(obj, pod)
        return self._write_status(namespace, name)

    def _create(self, obj: Object) -> None:
        pod = pods.from_template(obj, obj["spec"]["template"], {})
        pod["metadata"]["generateName"] = f"{obj['metadata']['name']}-"
        try:
            made = self._registry.create("pods", pod)
        except ApiError as error:
            self._recorder.warning(obj, "FailedCreate", f"Error creating: {error}")
            raise
        self._recorder.normal(obj, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")

    def _delete(self, obj: Object, pod: Object) -> None:
        meta = pod["metadata"]
        self._registry.delete("pods", meta["namespace"], meta["name"])
        self._recorder.normal(obj, "SuccessfulDelete", f"Deleted pod: {meta['name']}")

    def _write_status(self, namespace: str, name: str) -> float | None:
        found = self._registry.find(RESOURCE, namespace, name)
        if found is None:
            return None
        obj = found.decode()
        min_ready_s = float(obj["spec"].get("minReadySeconds") or 0)
        held = [pod for pod in pods.owned_pods(self._registry, obj) if pods.is_active(pod)]
        ready = [pod for pod in held if pods.is_ready(pod)]
        available = [pod for pod in ready if pods.is_available(pod, min_ready_s)]
        labels = ((obj["spec"]["template"].get("metadata") or {}).get("labels") or {}).items()
        full = [p for p in held if labels <= (p["metadata"].get("labels") or {}).items()]
        status: dict[str, Any] = {
            "replicas": len(held),
            "observedGeneration": obj["metadata"].get("generation", 1),
        }
        for key, counted in (
            ("fullyLabeledReplicas", full),
            ("readyReplicas", ready),
            ("availableReplicas", available),
        ):
            if counted:
                status[key] = len(counted)
        pods.set_status(self._registry, RESOURCE, obj, status)
        return _MIN_READY_CHECK_S if len(available) < len(ready) else None


def _usefulness(pod: Object) -> tuple[bool, int, bool, str]:
    """Sorts those first that are missed least: unbound, pending, unready, young."""
    rank = {"Pending": 0, "Unknown": 1}.get(pods.phase(pod), 2)
    # Younger ones sort first: their creation time is later, so its characters are turned around.
    created = "".join(chr(0x7F - ord(c)) for c in pod["metadata"].get("creationTimestamp") or "")
    return bool(pod["spec"].get("nodeName")), rank, pods.is_ready(pod), created
