"""PodDisruptionBudgets: how many of the selected pods may be taken away now. Evictions read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from faultlab_embedded.controllers import pods
from faultlab_embedded.controllers.deployment import absolute
from faultlab_embedded.controllers.runtime import Key, Source, controller_of, own_key
from faultlab_embedded.node.status import now
from faultlab_embedded.store.registry import Registry
from faultlab_embedded.store.selectors import match_labels

Object = Mapping[str, Any]
RESOURCE = "poddisruptionbudgets.policy"
_SCALED = {
    "StatefulSet": "statefulsets.apps",
    "ReplicaSet": "replicasets.apps",
}


class DisruptionReconciler:
    """Writes the budget's status."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def sources(self) -> list[Source]:
        """Budgets, and pods (which wake all budgets of their namespace)."""
        return [Source(RESOURCE, own_key), Source("pods", self._of_pod)]

    def _of_pod(self, _event: str, pod: Object) -> Iterable[Key]:
        namespace = pod["metadata"]["namespace"]
        for budget in self._registry.list(RESOURCE, namespace):
            yield (namespace, budget["metadata"]["name"])

    def reconcile(self, namespace: str, name: str) -> None:
        """One look."""
        found = self._registry.find(RESOURCE, namespace, name)
        if found is None:
            return
        obj = found.decode()
        selects = match_labels(obj["spec"].get("selector") or {})
        chosen = [
            pod
            for pod in self._registry.list("pods", namespace)
            if selects(pod["metadata"].get("labels") or {}) and not pods.is_finished(pod)
        ]
        healthy = sum(pods.is_ready(pod) for pod in chosen)
        expected, desired = self._numbers(obj, chosen)
        allowed = max(0, healthy - desired) if expected else 0
        status = {
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "disruptionsAllowed": allowed,
            "expectedPods": expected,
            "observedGeneration": obj["metadata"].get("generation", 1),
            "conditions": [_condition(obj, allowed > 0)],
        }
        pods.set_status(self._registry, RESOURCE, obj, status)

    def _numbers(self, obj: Object, chosen: list[dict[str, Any]]) -> tuple[int, int]:
        """Pods that should be there, and healthy ones that have to remain."""
        spec = obj["spec"]
        if spec.get("maxUnavailable") is not None:
            expected = self._scale(chosen)
            return expected, max(0, expected - absolute(spec["maxUnavailable"], expected, "0", up=True))
        minimum = spec.get("minAvailable")
        by_share = isinstance(minimum, str) and minimum.endswith("%")
        expected = self._scale(chosen) if by_share else len(chosen)
        return expected, absolute(minimum, expected, "1", up=True)

    def _scale(self, chosen: list[dict[str, Any]]) -> int:
        """The replicas that the pods' controllers want; a pod without one counts as itself."""
        total, seen = 0, set()
        for pod in chosen:
            owner = controller_of(pod)
            resource = _SCALED.get(owner["kind"]) if owner else None
            if owner is None or resource is None:
                total += 1
            elif owner["uid"] not in seen:
                seen.add(owner["uid"])
                found = self._registry.find(resource, pod["metadata"]["namespace"], owner["name"])
                wanted = found.decode()["spec"].get("replicas") if found else 0
                total += 1 if wanted is None else int(wanted)
        return total


def _condition(obj: Object, allowed: bool) -> dict[str, Any]:
    status = "True" if allowed else "False"
    old: Object = next(iter((obj.get("status") or {}).get("conditions") or ()), {})
    same = old.get("status") == status
    return {
        "type": "DisruptionAllowed",
        "status": status,
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
        "observedGeneration": obj["metadata"].get("generation", 1),
        "lastTransitionTime": old.get("lastTransitionTime", now()) if same else now(),
    }
