"""What may stand in an object's metadata. Source: apimachinery's `api/validation/objectmeta.go`."""

from __future__ import annotations

from faultlab_embedded.store import names
from faultlab_embedded.store.catalog import Resource
from faultlab_embedded.store.errors import FieldError
from faultlab_embedded.store.strategy import Object

FINALIZERS = "metadata.finalizers"
OWNERS = "metadata.ownerReferences"
_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
_COLLECTORS = ("orphan", "foregroundDeletion")
_WITHOUT_DOMAIN = (*_COLLECTORS, "kubernetes")


def check_metadata(kind: Resource, meta: Object, old: Object | None) -> list[FieldError]:
    """Everything wrong with an object's metadata; `old` is the metadata it replaces."""
    errors: list[FieldError] = []
    if not meta.get("name"):
        errors.append(FieldError.required("metadata.name", "name or generateName is required"))
    elif old is None:
        errors += kind.name_rule("metadata.name", str(meta["name"]))
    errors += names.label_errors("metadata.labels", meta.get("labels"))
    errors += names.annotation_errors("metadata.annotations", meta.get("annotations"))
    errors += _check_owners(meta.get("ownerReferences") or [])
    errors += _check_finalizers(meta.get("finalizers") or [])
    if old is not None and "deletionTimestamp" in old:
        added = [name for name in meta.get("finalizers") or [] if name not in (old.get("finalizers") or [])]
        if added:
            shown = "[]string{" + ", ".join(f'"{name}"' for name in added) + "}"
            detail = (
                f"no new finalizers can be added if the object is being deleted, found new finalizers {shown}"
            )
            # Kubernetes asks twice what an update may change, as of any kind and as of this one.
            errors += [FieldError.forbidden(FINALIZERS, detail)] * 2
    return errors


def without_twins(meta: Object) -> list[str]:
    """Drop owner references that stand there twice, in place; what the client should be told of it."""
    owners = meta.get("ownerReferences") or []
    kept: list[Object] = []
    twins: list[str] = []
    for owner in owners:
        if owner in kept:
            twins.append(str(owner.get("uid", "")))
        else:
            kept.append(owner)
    if not twins:
        return []
    meta["ownerReferences"] = kept
    return [
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, "
        "and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
        + ", ".join(dict.fromkeys(twins))
    ]


def finalizer_advice(meta: Object) -> list[str]:
    """What is said of finalizers of custom resources whose names somebody else may use as well."""
    return [
        f'{FINALIZERS}: "{name}": prefer a domain-qualified finalizer name to avoid accidental conflicts '
        "with other finalizer writers"
        for name in meta.get("finalizers") or ()
        if "/" not in name and name not in _WITHOUT_DOMAIN
    ]


def _check_finalizers(finalizers: list[str]) -> list[FieldError]:
    errors = [error for name in finalizers for error in names.qualified(FINALIZERS, name)]
    if all(name in finalizers for name in _COLLECTORS):
        text = f"finalizer {' and '.join(_COLLECTORS)} cannot be both set"
        errors.append(FieldError.invalid(FINALIZERS, finalizers, text))
    return errors


def _check_owners(owners: list[Object]) -> list[FieldError]:
    errors: list[FieldError] = []
    for owner in owners:
        version = str(owner.get("apiVersion", ""))
        readable = version.count("/") < 2 and bool(version.rpartition("/")[2])
        if not readable:
            errors.append(FieldError.invalid(f"{OWNERS}.apiVersion", version, "version must not be empty"))
        missing = [field for field in ("kind", "name", "uid") if not owner.get(field)]
        errors += [FieldError.invalid(f"{OWNERS}.{field}", "", "must not be empty") for field in missing]
        if (version, owner.get("kind")) == ("v1", "Event"):
            text = "/v1, Kind=Event is disallowed from being an owner"
            errors.append(FieldError.invalid(OWNERS, _shown(owner), text))
    controllers = [f"{owner.get('kind')}/{owner.get('name')}" for owner in owners if owner.get("controller")]
    for other in controllers[1:]:
        text = (
            'Only one reference can have Controller set to true. Found "true" in references for '
            f"{controllers[0]} and {other}"
        )
        errors.append(FieldError.invalid(OWNERS, [_shown(owner) for owner in owners], text))
    return errors


def _shown(owner: Object) -> Object:
    """An owner reference in the order in which Go writes it."""
    return {field: owner[field] for field in _OWNER_FIELDS if field in owner}
