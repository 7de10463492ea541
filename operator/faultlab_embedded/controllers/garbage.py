"""Owner garbage collection: who has no owner left goes; Foreground, Background and Orphan as Kubernetes
has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from faultlab_embedded.controllers.runtime import Key, Source
from faultlab_embedded.store.errors import NotFound
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class _Node:
    resource: str
    namespace: str
    name: str
    owners: frozenset[str]


class GarbageCollector:
    """Keeps a graph of uids; its keys are ("", uid)."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._nodes: dict[str, _Node] = {}
        self._dependents: dict[str, set[str]] = {}

    def sources(self) -> list[Source]:
        """Everything."""
        return [Source("*", self._observe)]

    def reconcile(self, _namespace: str, uid: str) -> None:
        """Looks at one object: at what it waits for, or at whether its owners are still there."""
        node = self._nodes.get(uid)
        found = self._registry.find(node.resource, node.namespace, node.name) if node else None
        if node is None or found is None or found.uid != uid:
            return
        obj = found.decode()
        finalizers = obj["metadata"].get("finalizers") or ()
        if "deletionTimestamp" in obj["metadata"]:
            if ORPHAN in finalizers:
                self._orphan_dependents(uid)
                self._drop_finalizer(node, ORPHAN)
            elif FOREGROUND in finalizers and not self._delete_dependents(uid):
                self._drop_finalizer(node, FOREGROUND)
        elif obj["metadata"].get("ownerReferences"):
            self._check_owners(node, obj)

    def _observe(self, event: str, obj: Object) -> Iterable[Key]:
        meta = obj["metadata"]
        uid = meta["uid"]
        old = self._nodes.pop(uid, None)
        for owner in old.owners if old else ():
            self._dependents.get(owner, set()).discard(uid)
        if event == "DELETED":
            woken = [*self._dependents.pop(uid, ()), *(old.owners if old else ())]
            return [("", other) for other in woken]
        owners = frozenset(reference["uid"] for reference in meta.get("ownerReferences") or ())
        try:
            resource = self._registry.catalog.of_kind(obj["apiVersion"], obj["kind"]).key
        except NotFound:
            return []
        self._nodes[uid] = _Node(resource, meta.get("namespace", ""), meta["name"], owners)
        for owner in owners:
            self._dependents.setdefault(owner, set()).add(uid)
        return [("", uid)]

    def _check_owners(self, node: _Node, obj: Object) -> None:
        references = obj["metadata"]["ownerReferences"]
        present = [reference for reference in references if self._owner_state(node, reference) != "absent"]
        if not present:
            self._registry.delete(node.resource, node.namespace, node.name)
        elif all(self._owner_state(node, r) == "waiting" and r.get("blockOwnerDeletion") for r in present):
            own = "Foreground" if self._dependents.get(obj["metadata"]["uid"]) else "Background"
            self._registry.delete(node.resource, node.namespace, node.name, propagation=own)
        elif len(present) < len(references):
            change = {"metadata": {"ownerReferences": present}}
            self._registry.patch(node.resource, node.namespace, node.name, change)

    def _owner_state(self, node: _Node, reference: Object) -> str:
        """`present`, `absent`, or `waiting` (being deleted in the foreground: for its dependents to go)."""
        try:
            kind = self._registry.catalog.of_kind(reference["apiVersion"], reference["kind"])
        except NotFound:
            return "absent"
        found = self._registry.find(kind.key, node.namespace or None, reference["name"])
        if found is None or found.uid != reference["uid"]:
            return "absent"
        meta = found.decode()["metadata"]
        waits = "deletionTimestamp" in meta and FOREGROUND in (meta.get("finalizers") or ())
        return "waiting" if waits else "present"

    def _delete_dependents(self, uid: str) -> bool:
        """Deletes what `uid` owns; whether something is left that blocks its own end."""
        blocked = False
        for dependent in list(self._dependents.get(uid, ())):
            node = self._nodes[dependent]
            found = self._registry.find(node.resource, node.namespace, node.name)
            if found is None or found.uid != dependent:
                continue
            meta = found.decode()["metadata"]
            if "deletionTimestamp" not in meta:
                own = "Foreground" if self._dependents.get(dependent) else "Background"
                self._registry.delete(node.resource, node.namespace, node.name, propagation=own)
                found = self._registry.find(node.resource, node.namespace, node.name)
            references = meta.get("ownerReferences") or ()
            blocks = any(r["uid"] == uid and r.get("blockOwnerDeletion") for r in references)
            blocked = blocked or (found is not None and blocks)
        return blocked

    def _orphan_dependents(self, uid: str) -> None:
        for dependent in list(self._dependents.get(uid, ())):
            node = self._nodes[dependent]
            found = self._registry.find(node.resource, node.namespace, node.name)
            if found is None or found.uid != dependent:
                continue
            references = found.decode()["metadata"].get("ownerReferences") or ()
            kept = [reference for reference in references if reference["uid"] != uid]
            change = {"metadata": {"ownerReferences": kept or None}}
            self._registry.patch(node.resource, node.namespace, node.name, change)

    def _drop_finalizer(self, node: _Node, finalizer: str) -> None:
        def without(obj: dict[str, Any]) -> dict[str, Any]:
            meta = obj["metadata"]
            meta["finalizers"] = [name for name in meta.get("finalizers") or () if name != finalizer]
            return obj

        self._registry.modify(node.resource, node.namespace or None, node.name, without)
