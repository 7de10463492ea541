"""What every object has in common: apiVersion, kind and the metadata that the server keeps."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from faultlab_embedded.schema.decoding import json_type, mismatch
from faultlab_embedded.store import names
from faultlab_embedded.store.catalog import Resource
from faultlab_embedded.store.errors import (
    BadRequest,
    Conflict,
    FieldError,
    Invalid,
    Unclassified,
    Undecodable,
)
from faultlab_embedded.store.log import Record
from faultlab_embedded.store.metadata import check_metadata, finalizer_advice, without_twins
from faultlab_embedded.store.strategy import Object

OTHER_NAMESPACE = "the namespace of the provided object does not match the namespace sent on the request"
_LEFT_OUT_WHERE_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences")
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
        kind, version = str(obj.get("kind", "")), str(obj.get("apiVersion", "")).rpartition("/")[2]
        why = mismatch(json_type(meta), "v1.ObjectMeta", kind, "metadata")
        raise Undecodable(kind, version, kind, why)
    return meta


def identify(kind: Resource, obj: Object) -> Object:
    """Fill in apiVersion, kind and namespace where left out, refuse others than the resource's.

    Returns the metadata.
    """
    if not obj.get("apiVersion"):
        obj["apiVersion"] = kind.api_version()
    if not obj.get("kind"):
        obj["kind"] = kind.kind
    check_type(kind, obj, [kind.api_version(version) for version in kind.versions])
    meta = metadata(obj)
    if not kind.namespaced:
        meta.pop("namespace", None)
    elif not meta.get("namespace"):
        meta["namespace"] = "default"
    return meta


def check_type(kind: Resource, obj: Object, expected: Sequence[str]) -> None:
    """Refuse another apiVersion than those that are expected, or another kind, in kube-apiserver's words."""
    sent_version, sent = str(obj["apiVersion"]), str(obj["kind"])
    version = sent_version.rpartition("/")[2]
    if sent_version in expected and sent == kind.kind:
        return
    if kind.custom and sent_version not in expected:
        raise BadRequest(
            f"the API version in the data ({sent_version}) does not match the expected API version "
            f"({', '.join(expected)})"
        )
    if kind.custom:
        meta = obj.get("metadata")
        name = str(meta.get("name", "")) if isinstance(meta, dict) else ""
        raise Invalid.of(sent, kind.group, name, [FieldError.invalid("kind", sent, f"must be {kind.kind}")])
    if sent_version not in expected:
        why = (
            f'no kind "{sent}" is registered for version "{sent_version}" in scheme '
            '"pkg/runtime/scheme.go:110"'
        )
    else:
        package = kind.group.partition(".")[0]
        why = (
            f"converting ({package}{version}.{sent}) to ({package or 'core'}.{kind.kind}): unknown conversion"
        )
    raise Undecodable(sent, version, kind.kind, why)


def stamp(kind: Resource, meta: Object) -> None:
    """Give a new object's metadata what only the server sets."""
    if meta.get("resourceVersion"):
        raise Unclassified("resourceVersion should not be set on objects to be created")
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


def check_identity(kind: Resource, meta: Object, old: Record, *, patching: bool) -> None:
    """Refuse a write that is meant for another version of the object, or for another object of its name."""
    version, uid = meta.get("resourceVersion"), meta.get("uid")
    if version not in (None, "", "0", str(old.version)):
        if not str(version).isdigit():
            raise Unclassified(f"strconv.ParseUint: parsing {json.dumps(version)}: invalid syntax")
        raise Conflict.of(kind.key, old.name)
    grace = meta.get("deletionGracePeriodSeconds")
    if grace is not None and grace != old.decode()["metadata"].get("deletionGracePeriodSeconds"):
        field = "metadata.deletionGracePeriodSeconds"
        error = FieldError.invalid(field, grace, "field is immutable")
        raise Invalid.of(kind.kind, kind.group, old.name, [error, error])
    if uid in (None, "", old.uid):
        return
    if patching:
        error = FieldError.invalid("metadata.uid", uid, "field is immutable")
        raise Invalid.of(kind.kind, kind.group, old.name, [error, error])
    why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old.uid}"
    parts = ["/registry", kind.group if kind.custom else "", kind.plural, old.namespace, old.name]
    place = f"Key: {'/'.join(filter(None, parts))}, ResourceVersion: 0"
    head = "StorageError: invalid object, Code: 4"
    raise Conflict.of(kind.key, old.name, f"{head}, {place}, AdditionalErrorMsg: {why}")


def leave_out_empty(meta: Object) -> None:
    """Take away what metadata does not say, in place: an empty map of labels is none."""
    for field in _LEFT_OUT_WHERE_EMPTY:
        if field in meta and not meta[field]:
            del meta[field]


def decode(
    kind: Resource, obj: Object, *, strict: bool, warnings: list[str] | None, twice: Sequence[str] = ()
) -> None:
    """Bring an object into its kind's shape, in place; unknown fields are refused, told or dropped in
    silence, and so are those that were given `twice`."""
    version = obj["apiVersion"].rpartition("/")[2]
    unknown = kind.strategy(version).decode(obj)
    odd = [*(f'duplicate field "{path}"' for path in twice), *(f'unknown field "{path}"' for path in unknown)]
    if odd and strict:
        raise Undecodable(kind.kind, version, kind.kind, f"strict decoding error: {', '.join(odd)}")
    told = without_twins(obj["metadata"])
    if kind.custom:
        told += finalizer_advice(obj["metadata"])
    if warnings is not None:
        warnings.extend([*odd, *told])


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
