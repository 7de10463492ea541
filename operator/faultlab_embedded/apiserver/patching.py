"""PATCH: from a body and its content type to a change of an object."""

from __future__ import annotations

from collections.abc import Callable

import jsonpatch
import jsonpointer
from aiohttp import web

from faultlab_embedded.apiserver.formats import Object, decode_json
from faultlab_embedded.schema.builtin import schema_of
from faultlab_embedded.store.catalog import Resource
from faultlab_embedded.store.errors import ApiError, BadRequest, UnsupportedMediaType
from faultlab_embedded.store.merge import merge
from faultlab_embedded.store.strategic import strategic_merge

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
MAX_OPERATIONS = 10_000

Change = Callable[[Object], Object]


class PatchFailed(ApiError):
    """A JSON patch that does not fit the object: a failed test, a path that is not there (422)."""

    code = 422
    reason = "Invalid"

    def __init__(self, message: str) -> None:
        super().__init__(message, details={})


async def read_change(request: web.Request, resource: Resource) -> Change:
    """The change that a patch makes; UnsupportedMediaType or BadRequest where it is none."""
    media = request.content_type
    raw = await request.read()
    if media == JSON_PATCH:
        return json_patch(raw)
    if media == MERGE_PATCH:
        patch = decode_json(raw, "a merge patch")
        return lambda obj: _object(merge(obj, patch))
    if media == STRATEGIC_MERGE_PATCH:
        if resource.custom:
            raise UnsupportedMediaType(
                "the body of the request was in an unknown format - accepted media types include: "
                f"{JSON_PATCH}, {MERGE_PATCH}, {APPLY_PATCH}"
            )
        patch = decode_json(raw, "a strategic merge patch")
        schema = schema_of(resource.group, resource.storage_version, resource.kind)
        return lambda obj: _object(strategic_merge(obj, patch, schema))
    raise UnsupportedMediaType(
        f"the patch is {media or 'of no type'}, expected one of "
        f"{JSON_PATCH}, {MERGE_PATCH}, {STRATEGIC_MERGE_PATCH}, {APPLY_PATCH}"
    )


def json_patch(raw: bytes) -> Change:
    """The change of an RFC 6902 patch."""
    try:
        patch = jsonpatch.JsonPatch.from_string(raw.decode())
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, ValueError, TypeError) as error:
        raise BadRequest(f"the body is no JSON patch (RFC 6902): {error}") from error
    if len(patch.patch) > MAX_OPERATIONS:
        raise BadRequest(
            f"the JSON patch has {len(patch.patch)} operations, at most {MAX_OPERATIONS} are taken"
        )

    def change(obj: Object) -> Object:
        try:
            return _object(patch.apply(obj, in_place=True))
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError) as error:
            raise PatchFailed(
                f"the server rejected our request due to an error in our request: {error}"
            ) from error

    return change


def _object(value: object) -> Object:
    if not isinstance(value, dict):
        raise BadRequest(f"the patch makes the object a {type(value).__name__}")
    return value
