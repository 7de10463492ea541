"""Questions about pods that several controllers ask. Pure but for `owned_pods`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from faultlab_embedded.controllers.runtime import controller_of, owner_reference
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]


def owned_pods(registry: Registry, owner: Object) -> list[dict[str, Any]]:
    """The pods that `owner` controls, by name."""
    uid = owner["metadata"]["uid"]
    pods = registry.list("pods", owner["metadata"]["namespace"])
    return [pod for pod in pods if (controller_of(pod) or {}).get("uid") == uid]


def condition(pod: Object, kind: str) -> bool:
    """Whether the pod's condition is True."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def is_terminating(pod: Object) -> bool:
    """Whether its deletion has begun."""
    return "deletionTimestamp" in pod["metadata"]


def is_ready(pod: Object) -> bool:
    """Whether it serves: Ready, and not on its way out."""
    return condition(pod, "Ready") and not is_terminating(pod)


def is_available(pod: Object, min_ready_s: float) -> bool:
    """Ready for at least `min_ready_s`."""
    if not is_ready(pod):
        return False
    if not min_ready_s:
        return True
    since = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready").get("lastTransitionTime")
    began = datetime.fromisoformat(str(since).replace("Z", "+00:00"))
    return (datetime.now(UTC) - began).total_seconds() >= min_ready_s


def phase(pod: Object) -> str:
    """Pending until the node says otherwise."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_finished(pod: Object) -> bool:
    """Whether all its containers have ended for good."""
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Neither finished nor being deleted."""
    return not is_finished(pod) and not is_terminating(pod)


def template_hash(template: Object, salt: int = 0) -> str:
    """A short name for a pod template; `salt` tells apart two that collide."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":")) + (str(salt) if salt else "")
    digest = hashlib.sha256(text.encode()).hexdigest()
    safe = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes: no vowels, no accidental words
    return "".join(safe[int(digest[i : i + 2], 16) % len(safe)] for i in range(0, 20, 2))


def from_template(owner: Object, template: Object, labels: Mapping[str, str]) -> dict[str, Any]:
    """A pod of `template`, owned; without a name."""
    meta = template.get("metadata") or {}
    metadata: dict[str, Any] = {
        "namespace": owner["metadata"]["namespace"],
        "labels": {**(meta.get("labels") or {}), **labels},
        "ownerReferences": [owner_reference(owner)],
    }
    if meta.get("annotations"):
        metadata["annotations"] = dict(meta["annotations"])
    spec = json.loads(json.dumps(template["spec"]))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def set_status(registry: Registry, resource: str, obj: Object, status: Mapping[str, Any]) -> None:
    """Writes the status if it differs from the one that `obj` has."""
    if (obj.get("status") or {}) != status:
        meta = obj["metadata"]
        registry.modify(
            resource,
            meta.get("namespace"),
            meta["name"],
            lambda now: {**now, "status": {**status}},
            "status",
        )
