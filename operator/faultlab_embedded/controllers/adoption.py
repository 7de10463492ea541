"""Who controls what: a controller takes what its selector matches and nobody has, and lets go of what it no
longer matches.

So what `kubectl delete --cascade=orphan` left behind is found again by a successor of the same name, and a
pod whose label is taken away stays, alone, to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from faultlab_embedded.controllers.runtime import Key, controller_key, controller_of, own_key, owner_reference
from faultlab_embedded.store.registry import Registry
from faultlab_embedded.store.selectors import match_labels

Object = Mapping[str, Any]


def settle(
    registry: Registry, resource: str, owner: Object, fits: Callable[[str], bool] = lambda _: True
) -> None:
    """Makes the owner references of all `resource` in the owner's namespace agree with its selector.

    `fits` says of a name whether the owner could have made it. What is being deleted stays as it is.
    """
    matches, uid = match_labels(owner["spec"].get("selector")), owner["metadata"]["uid"]
    for held in registry.list(resource, owner["metadata"]["namespace"]):
        meta, controller = held["metadata"], controller_of(held)
        if "deletionTimestamp" in meta:
            continue
        wanted = matches(meta.get("labels") or {}) and fits(meta["name"])
        if controller is None and wanted:
            _refer(registry, resource, held, [*(meta.get("ownerReferences") or ()), owner_reference(owner)])
        elif controller is not None and controller["uid"] == uid and not wanted:
            others = [ref for ref in meta["ownerReferences"] if ref["uid"] != uid]
            _refer(registry, resource, held, others)


def _refer(registry: Registry, resource: str, held: Object, references: list[Any]) -> None:
    meta = held["metadata"]
    patch = {"metadata": {"ownerReferences": references or None}}
    registry.patch(resource, meta["namespace"], meta["name"], patch)


def claim_keys(registry: Registry, resource: str, kind: str) -> Callable[[str, Object], Iterable[Key]]:
    """The controller of that kind that owns the object, or those of `resource` that may take what nobody
    has."""
    owner = controller_key(kind)

    def keys(event: str, obj: Object) -> Iterable[Key]:
        if controller_of(obj) is not None or event == "DELETED":
            return owner(event, obj)
        labels = obj["metadata"].get("labels") or {}
        candidates = registry.list(resource, obj["metadata"]["namespace"])
        return [
            key
            for candidate in candidates
            if match_labels(candidate["spec"].get("selector"))(labels)
            for key in own_key(event, candidate)
        ]

    return keys
