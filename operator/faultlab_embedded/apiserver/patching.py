"""PATCH: from a body and its content type to a change of an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonpatch
import jsonpointer
import msgspec
from aiohttp import web

from faultlab_embedded.apiserver.formats import NO_OBJECT, Object, json_error, load_yaml
from faultlab_embedded.schema.builtin import schema_of
from faultlab_embedded.store.catalog import Resource
from faultlab_embedded.store.errors import BadRequest, PatchFailed, UnsupportedMediaType
from faultlab_embedded.store.merge import merge
from faultlab_embedded.store.strategic import strategic_merge

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
MAX_OPERATIONS = 10_000
_WRONG = (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError, ValueError)

Change = Callable[[Object], Object]


async def read_change(request: web.Request, resource: Resource) -> Change:
    """The change that a patch makes; UnsupportedMediaType or BadRequest where it is none."""
    media = request.content_type
    raw = await request.read()
    if media == JSON_PATCH:
        return json_patch(raw)
    if media == MERGE_PATCH:
        patch = _read_object(raw, "error decoding patch: ")
        return lambda obj: _object(merge(obj, patch))
    if media == STRATEGIC_MERGE_PATCH and not resource.custom:
        patch = _read_object(raw, "")
        schema = schema_of(resource.group, resource.storage_version, resource.kind)
        return lambda obj: _object(strategic_merge(obj, patch, schema))
    if resource.custom:
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: "
            f"{JSON_PATCH}, {MERGE_PATCH}, {APPLY_PATCH}"
        )
    raise UnsupportedMediaType("415: Unsupported Media Type", details={})


def read_applied(raw: bytes, name: str) -> Object:
    """The object that an apply sends for the path of `name`; BadRequest where it does not say what it is."""
    try:
        value = load_yaml(raw)
    except ValueError as error:
        raise BadRequest(f"error decoding YAML: error converting YAML to JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest(
            f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {no_object(value)}"
        )
    if not value.get("apiVersion") or not value.get("kind"):
        group, _, version = str(value.get("apiVersion") or "").rpartition("/")
        raise BadRequest(f"invalid object type: {group}/{version}, Kind={value.get('kind') or ''}")
    meta = value.get("metadata") or {}
    if isinstance(meta, dict) and not meta.get("name"):
        raise BadRequest(
            f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    return value


def json_patch(raw: bytes) -> Change:
    """The change of an RFC 6902 patch."""
    operations = _read_json(raw, "error decoding patch: ")
    if not isinstance(operations, list):
        raise BadRequest(f"error decoding patch: {no_object(operations, '[]handlers.jsonPatchOp')}")
    if wrong := [operation for operation in operations if not isinstance(operation, dict)]:
        raise BadRequest(f"error decoding patch: {no_object(wrong[0], 'handlers.jsonPatchOp')}")
    if len(operations) > MAX_OPERATIONS:
        raise BadRequest(
            f"the JSON patch has {len(operations)} operations, at most {MAX_OPERATIONS} are taken"
        )

    def change(obj: Object) -> Object:
        try:
            for operation in operations:
                obj = jsonpatch.JsonPatch([_lenient(operation, obj)]).apply(obj, in_place=True)
        except _WRONG as error:
            # kube-apiserver does not say which operation it was, nor why.
            raise PatchFailed from error
        return _object(obj)

    return change


def _lenient(operation: Any, obj: Object) -> Any:
    """The operation; a replacement of a member that an object does not have adds it, as kube-apiserver does
    it, which RFC 6902 forbids."""
    if operation["op"] != "replace" or not operation["path"]:
        return operation
    parent, _ = jsonpointer.JsonPointer(operation["path"]).to_last(obj)
    return {**operation, "op": "add"} if isinstance(parent, dict) else operation


def _read_object(raw: bytes, prefix: str) -> Object:
    value = _read_json(raw, prefix)
    if not isinstance(value, dict):
        raise BadRequest(prefix + no_object(value))
    return value


def _read_json(raw: bytes, prefix: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{prefix}{json_error(error)}") from None


def no_object(value: Any, wanted: str = "map[string]interface {}") -> str:
    """What Go's decoder says of a value that is not the object or list that it should be."""
    return f"json: cannot unmarshal {NO_OBJECT.get(type(value), 'number')} into Go value of type {wanted}"


def _object(value: object) -> Object:
    if not isinstance(value, dict):
        raise PatchFailed
    return value
