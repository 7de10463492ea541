"""Whether the schema of a CRD is structural and says nothing that contradicts itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import re2

from faultlab_embedded.schema.structural import INT_OR_STRING, PRESERVE, Schema, prune
from faultlab_embedded.schema.validation import validate
from faultlab_embedded.store.errors import FieldError

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_FORBIDDEN = ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id")


def check_schema(schema: Schema, path: str, *, root: bool = True) -> Iterable[FieldError]:
    """Everything that Kubernetes refuses in a schema and that this server relies on."""
    for key in _FORBIDDEN:
        if key in schema:
            yield FieldError.forbidden(f"{path}.{key}", f"{key} is not supported in a structural schema")
    yield from _check_type(schema, path, root=root)
    if schema.get("properties") and schema.get("additionalProperties"):
        detail = "additionalProperties and properties are mutual exclusive"
        yield FieldError.forbidden(f"{path}.additionalProperties", detail)
    if pattern := schema.get("pattern"):
        try:
            re2.compile(pattern)
        except re2.error as error:
            detail = f"must be a valid regular expression, but isn't: error parsing regexp: {_told(error)}"
            yield FieldError.invalid(f"{path}.pattern", pattern, detail)
    if schema.get("x-kubernetes-list-type") == "map":
        yield from _check_keys(schema, path)
    for name, child in (schema.get("properties") or {}).items():
        if root and name == "metadata":
            continue
        yield from check_schema(child, f"{path}.properties[{name}]", root=False)
    for nested in ("items", "additionalProperties"):
        if isinstance(schema.get(nested), dict):
            yield from check_schema(schema[nested], f"{path}.{nested}", root=False)
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        yield FieldError.required(f"{path}.items", "must be specified")
    if "default" in schema:
        yield from _check_default(schema, f"{path}.default")


def _check_type(schema: Schema, path: str, *, root: bool) -> Iterable[FieldError]:
    kind = schema.get("type")
    if kind and kind not in _TYPES:
        yield FieldError.not_supported(f"{path}.type", kind, _TYPES)
    elif root and kind != "object":
        yield FieldError.invalid(f"{path}.type", kind or "", "must be object at the root")
    elif not kind and not schema.get(INT_OR_STRING) and not schema.get(PRESERVE):
        yield FieldError.required(f"{path}.type", "must not be empty for specified object fields")


def _check_keys(schema: Schema, path: str) -> Iterable[FieldError]:
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    if not keys:
        detail = "must not be empty if x-kubernetes-list-type is map"
        yield FieldError.required(f"{path}.x-kubernetes-list-map-keys", detail)
    items = schema.get("items") or {}
    for index, key in enumerate(keys):
        if key not in (items.get("properties") or {}):
            detail = "entries must all be names of item properties"
            yield FieldError.invalid(f"{path}.x-kubernetes-list-map-keys[{index}]", key, detail)


def _check_default(schema: Schema, path: str) -> Iterable[FieldError]:
    default = schema["default"]
    if unknown := prune(_copied(default), schema):
        detail = f"must not have unknown fields, found {', '.join(unknown)}"
        yield FieldError.invalid(path, default, detail)
    plain = {key: value for key, value in schema.items() if key != "default"}
    for error in validate(default, plain):
        field = f"{path}.{error.field}" if error.field else path
        yield FieldError(error.reason, field, error.text)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _told(error: Exception) -> str:
    """RE2's text in the words of Go's, which is the same library in another language."""
    text = error.args[0] if error.args else ""
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    what, _, where = text.partition(": ")
    what = what.replace("missing )", "missing closing )").replace("missing ]", "missing closing ]")
    return f"{what}: `{where}`"
