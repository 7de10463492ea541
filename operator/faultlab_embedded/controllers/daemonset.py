"""DaemonSets: one pod on each node, and there is one node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faultlab_embedded.controllers import adoption, pods, revisions
from faultlab_embedded.controllers.runtime import Key, Source, own_key
from faultlab_embedded.node.places import NODE_NAME
from faultlab_embedded.node.recorder import Recorder
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
RESOURCE = "daemonsets.apps"


class DaemonSetReconciler:
    """The pod is replaced when the template changes (RollingUpdate), or when somebody deletes it
    (OnDelete)."""

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._registry = registry
        self._recorder = recorder

    def sources(self) -> list[Source]:
        """The sets, their pods, and the node (its labels decide)."""
        return [
            Source(RESOURCE, own_key),
            Source("pods", adoption.claim_keys(self._registry, RESOURCE, "DaemonSet")),
            Source("nodes", self._all),
        ]

    def _all(self, _event: str, _node: Object) -> list[Key]:
        return [(s["metadata"]["namespace"], s["metadata"]["name"]) for s in self._registry.list(RESOURCE)]

    def reconcile(self, namespace: str, name: str) -> None:
        """One look."""
        found = self._registry.find(RESOURCE, namespace, name)
        if found is None:
            return
        obj = found.decode()
        if "deletionTimestamp" in obj["metadata"]:
            return
        adoption.settle(self._registry, revisions.RESOURCE, obj)
        adoption.settle(self._registry, "pods", obj)
        revision, digest = revisions.update_revision(self._registry, obj, hash_label_is_name=False)
        held = pods.owned_pods(self._registry, obj)
        wanted = self._fits(obj)
        rolling = (obj["spec"].get("updateStrategy") or {}).get("type") != "OnDelete"
        keep = [p for p in held if wanted and pods.is_active(p) and (not rolling or _hash(p) == digest)]
        for pod in held:
            if not pods.is_terminating(pod) and pod not in keep[:1]:
                self._registry.delete("pods", namespace, pod["metadata"]["name"])
                self._recorder.normal(obj, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
        if wanted and not keep and not any(pods.is_terminating(pod) for pod in held):
            pod = pods.from_template(obj, obj["spec"]["template"], {revisions.HASH_LABEL: digest})
            pod["metadata"]["generateName"] = f"{name}-"
            made = self._registry.create("pods", pod)
            self._recorder.normal(obj, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        revisions.prune(self._registry, obj, {revision})
        self._write_status(obj, digest, wanted)

    def _fits(self, obj: Object) -> bool:
        found = self._registry.find("nodes", None, NODE_NAME)
        selector = obj["spec"]["template"]["spec"].get("nodeSelector") or {}
        return found is not None and selector.items() <= found.labels.items()

    def _write_status(self, obj: Object, digest: str, wanted: bool) -> None:
        held = [pod for pod in pods.owned_pods(self._registry, obj) if pods.is_active(pod)]
        ready = sum(pods.is_ready(pod) for pod in held)
        min_ready_s = float(obj["spec"].get("minReadySeconds") or 0)
        available = sum(pods.is_available(pod, min_ready_s) for pod in held)
        status = {
            "currentNumberScheduled": len(held),
            "desiredNumberScheduled": int(wanted),
            "numberAvailable": available,
            "numberMisscheduled": 0,
            "numberReady": ready,
            "numberUnavailable": int(wanted) - available,
            "observedGeneration": obj["metadata"].get("generation", 1),
            "updatedNumberScheduled": sum(_hash(pod) == digest for pod in held),
        }
        pods.set_status(self._registry, RESOURCE, obj, {k: v for k, v in status.items() if v or k in _ALWAYS})


_ALWAYS = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")


def _hash(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(revisions.HASH_LABEL, ""))
