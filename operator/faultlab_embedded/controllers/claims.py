"""What becomes of a StatefulSet's claims: `persistentVolumeClaimRetentionPolicy`, by way of owner references.

A claim that is to go with the set is owned by the set; one that is to go with a pod that is scaled away is
owned by that pod. Garbage collection does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faultlab_embedded.controllers.runtime import owner_reference
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
RESOURCE = "persistentvolumeclaims"


def claim_names(stateful_set: Object, number: int) -> dict[str, str]:
    """Volume name -> claim name of one pod."""
    name = stateful_set["metadata"]["name"]
    templates = stateful_set["spec"].get("volumeClaimTemplates") or ()
    return {t["metadata"]["name"]: f"{t['metadata']['name']}-{name}-{number}" for t in templates}


def wanted_owner(stateful_set: Object, pod: Object, *, scaled_away: bool) -> Object | None:
    """Who owns a pod's claims: the set, the pod, or nobody."""
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    if scaled_away and policy.get("whenScaled") == "Delete":
        return pod
    return stateful_set if policy.get("whenDeleted") == "Delete" else None


def settle_owner(
    registry: Registry, stateful_set: Object, number: int, pod: Object, scaled_away: bool
) -> None:
    """Gives the claims of one pod the owner that the policy wants, and takes away the other."""
    owner = wanted_owner(stateful_set, pod, scaled_away=scaled_away)
    ours = {stateful_set["metadata"]["uid"], pod["metadata"]["uid"]}
    namespace = stateful_set["metadata"]["namespace"]
    for name in claim_names(stateful_set, number).values():
        found = registry.find(RESOURCE, namespace, name)
        if found is None:
            continue
        references = found.decode()["metadata"].get("ownerReferences") or []
        wanted = [reference for reference in references if reference["uid"] not in ours]
        if owner is not None:
            wanted.append(owner_reference(owner))
        if wanted != references:
            registry.patch(RESOURCE, namespace, name, {"metadata": {"ownerReferences": wanted or None}})
