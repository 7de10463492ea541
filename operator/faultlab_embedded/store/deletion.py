"""How an object goes: at once, after a grace period, or when its last finalizer is taken away."""

from __future__ import annotations

from dataclasses import dataclass

from faultlab_embedded.store.catalog import Resource
from faultlab_embedded.store.errors import Conflict, FieldError, Invalid
from faultlab_embedded.store.log import Record
from faultlab_embedded.store.objects import now_rfc3339
from faultlab_embedded.store.strategy import Object

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_FINALIZERS = {"Foreground": FOREGROUND, "Orphan": ORPHAN, "Background": None}
DEFAULT_GRACE_S = 30
JOBS = "jobs.batch"
ORPHANS_WARNING = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove "
    "them or set propagationPolicy=Orphan to suppress this warning"
)
_CONTAINERS = ("namespaces", "customresourcedefinitions.apiextensions.k8s.io")
"""What holds other objects, has a deletion of its own in Kubernetes and says nothing of a grace period."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a delete asks for. `uid` and `version` are preconditions; without a `propagation` it is the one
    that an earlier delete asked for, else the kind's."""

    grace_seconds: int | None = None
    propagation: str | None = None
    uid: str | None = None
    version: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """An object after a delete: `gone`, or marked and still there."""

    obj: Object
    gone: bool


def check_preconditions(kind: Resource, record: Record, options: DeleteOptions) -> None:
    """Raises Conflict where the object is not the one that is meant; it names the kind, not the resource."""
    named = f"{kind.kind}.{kind.group}".rstrip(".")
    if options.uid is not None and options.uid != record.uid:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({record.uid}). "
            "The object might have been deleted and then recreated"
        )
        raise Conflict.of(named, record.name, why)
    if options.version is not None and options.version != str(record.version):
        why = (
            f"the ResourceVersion in the precondition ({options.version}) does not match the ResourceVersion "
            f"in record ({record.version}). The object might have been modified"
        )
        raise Conflict.of(named, record.name, why)


def mark(resource: str, obj: Object, options: DeleteOptions, *, holds_content: bool) -> bool:
    """Mark an object as being deleted, in place; True where nothing keeps it and it may go at once.

    `holds_content` stands for a namespace or CRD with objects in it. A grace period may be shortened by a
    second delete, never lengthened.
    """
    meta = obj["metadata"]
    _set_propagation(meta, options.propagation or default_propagation(resource, meta))
    grace = grace_seconds(resource, obj, options.grace_seconds)
    if "deletionTimestamp" in meta:
        grace = min(grace, int(meta.get("deletionGracePeriodSeconds") or 0))
    if grace == 0 and not meta.get("finalizers") and not holds_content:
        if resource == "pods":
            if "deletionTimestamp" not in meta:
                meta["generation"] = meta.get("generation", 0) + 1
            meta.setdefault("deletionTimestamp", now_rfc3339())
            meta["deletionGracePeriodSeconds"] = 0
        return True
    if "deletionTimestamp" not in meta:
        if "generation" in meta:
            meta["generation"] += 1
    elif grace == meta.get("deletionGracePeriodSeconds", 0):
        return False
    meta["deletionTimestamp"] = now_rfc3339(grace)
    if resource not in _CONTAINERS:
        meta["deletionGracePeriodSeconds"] = grace
    return False


def default_propagation(resource: str, meta: Object) -> str:
    """What becomes of an object's dependents when nobody says it: only Jobs orphan theirs."""
    for propagation in ("Orphan", "Foreground"):
        if _FINALIZERS[propagation] in (meta.get("finalizers") or ()):
            return propagation
    return "Orphan" if resource == JOBS else "Background"


def may_go(meta: Object) -> bool:
    """Whether an object that is being deleted is kept by nothing that its metadata shows."""
    going = "deletionTimestamp" in meta and not meta.get("finalizers")
    return going and not meta.get("deletionGracePeriodSeconds")


def grace_seconds(resource: str, obj: Object, asked: int | None) -> int:
    """How long the object may live on: only pods on a node get any time; less than none counts as 1 s."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if resource != "pods" or not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    grace = int(asked if asked is not None else spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S))
    return grace if grace >= 0 else 1


def _set_propagation(meta: Object, propagation: str) -> None:
    if propagation not in _FINALIZERS:
        options = ("Foreground", "Background", "Orphan", "nil")
        error = FieldError.not_supported("propagationPolicy", propagation, options)
        raise Invalid.of("DeleteOptions", "meta.k8s.io", "", [error])
    finalizers = [name for name in meta.get("finalizers") or [] if name not in (FOREGROUND, ORPHAN)]
    wanted = _FINALIZERS[propagation]
    if wanted:
        finalizers.append(wanted)
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
