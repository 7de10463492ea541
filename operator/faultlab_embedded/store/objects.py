"""What every object has in common: apiVersion, kind and the metadata that the server keeps."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import msgspec

from faultlab_embedded.store import names
from faultlab_embedded.store.catalog import Resource
from faultlab_embedded.store.errors import BadRequest, FieldError, Invalid
from faultlab_embedded.store.strategy import Object

KEPT_BY_SERVER = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)


def now_rfc3339(plus_seconds: int = 0) -> str:
    """The time of metadata: UTC, whole seconds."""
    return (datetime.now(UTC) + timedelta(seconds=plus_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def copy(obj: Object) -> Object:
    """A deep copy through JSON. Raises BadRequest for what JSON cannot hold."""
    try:
        copied: Object = msgspec.json.decode(msgspec.json.encode(obj))
    except (TypeError, msgspec.MsgspecError) as error:
        raise BadRequest(f"the object cannot be written as JSON: {error}") from error
    return copied


def metadata(obj: Object) -> Object:
    """An object's metadata, made where missing; BadRequest where it is no object."""
    meta = obj.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise BadRequest("metadata must be an object")
    return meta


def identify(kind: Resource, obj: Object) -> Object:
    """Fill in apiVersion, kind and namespace where left out, refuse others than the resource's.

    Returns the metadata.
    """
    if not obj.get("apiVersion"):
        obj["apiVersion"] = kind.api_version()
    if not obj.get("kind"):
        obj["kind"] = kind.kind
    if obj["kind"] != kind.kind or obj["apiVersion"] not in map(kind.api_version, kind.versions):
        raise BadRequest(
            f"the object is {obj['apiVersion']} {obj['kind']}, expected {kind.api_version()} {kind.kind}"
        )
    meta = metadata(obj)
    if not kind.namespaced:
        meta.pop("namespace", None)
    elif not meta.get("namespace"):
        meta["namespace"] = "default"
    return meta


def stamp(kind: Resource, meta: Object) -> None:
    """Give a new object's metadata what only the server sets."""
    if meta.get("resourceVersion"):
        raise BadRequest("resourceVersion should not be set on objects to be created")
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = names.generate(str(meta["generateName"]))
    for server_side in (*KEPT_BY_SERVER, "selfLink", "resourceVersion"):
        meta.pop(server_side, None)
    meta["uid"] = str(uuid.uuid4())
    meta["creationTimestamp"] = now_rfc3339()
    if kind.generation:
        meta["generation"] = 1


def keep(meta: Object, old: Object) -> None:
    """Undo what an update may not change in metadata."""
    for field in KEPT_BY_SERVER:
        if field in old:
            meta[field] = old[field]
        else:
            meta.pop(field, None)
    meta["resourceVersion"] = old["resourceVersion"]


def decode(kind: Resource, obj: Object, *, strict: bool, warnings: list[str] | None) -> None:
    """Bring an object into its kind's shape, in place; unknown fields are refused, told or dropped in
    silence."""
    version = obj["apiVersion"].rpartition("/")[2]
    unknown = kind.strategy(version).decode(obj)
    if unknown and strict:
        shown = ", ".join(f'unknown field "{path}"' for path in unknown)
        shown = f"strict decoding error: {shown}"
        raise BadRequest(f'{kind.kind} in version "{version}" cannot be handled as a {kind.kind}: {shown}')
    if warnings is not None:
        warnings.extend(f'unknown field "{path}"' for path in unknown)


def check(kind: Resource, obj: Object, before: Object | None, subresource: str | None) -> None:
    """Raise Invalid with everything that is wrong with an object; `before` is what it replaces."""
    errors = check_metadata(kind, obj["metadata"], before["metadata"] if before else None)
    version = obj["apiVersion"].rpartition("/")[2]
    errors += kind.strategy(version).validate(obj, before, subresource)
    if errors:
        raise Invalid.of(kind.kind, kind.group, obj["metadata"].get("name", ""), errors)


def only(obj: Object, before: Object, subresource: str | None, *, has_status: bool) -> Object:
    """`obj` where only what the subresource is about differs from `before`."""
    if subresource == "status":
        kept = {
            **before,
            "metadata": {**before["metadata"], "managedFields": obj["metadata"].get("managedFields")},
        }
        source: Object = obj
    elif subresource is None and has_status:
        kept, source = obj, before
    else:
        return obj
    kept.pop("status", None)
    if "status" in source:
        kept["status"] = source["status"]
    if kept["metadata"].get("managedFields", ...) is None:
        del kept["metadata"]["managedFields"]
    return kept


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
    if old is not None and "deletionTimestamp" in old:
        added = [name for name in meta.get("finalizers") or [] if name not in (old.get("finalizers") or [])]
        if added:
            shown = "[]string{" + ", ".join(f'"{name}"' for name in added) + "}"
            detail = (
                f"no new finalizers can be added if the object is being deleted, found new finalizers {shown}"
            )
            errors.append(FieldError.forbidden("metadata.finalizers", detail))
    return errors


def _check_owners(owners: list[Object]) -> list[FieldError]:
    errors = []
    for index, owner in enumerate(owners):
        errors += [
            FieldError.required(f"metadata.ownerReferences[{index}].{field}", "must not be empty")
            for field in ("apiVersion", "kind", "name", "uid")
            if not owner.get(field)
        ]
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        detail = "Only one reference can have Controller set to true"
        errors.append(
            FieldError.invalid("metadata.ownerReferences", [c.get("name") for c in controllers], detail)
        )
    return errors
