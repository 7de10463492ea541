"""How objects of built-in kinds are read: values of the wrong type are refused in the words of Go's decoder,
and what is left is brought into the form that Kubernetes' own types give it.

Source: Go's `encoding/json` and apimachinery's types with a decoder of their own (Time, MicroTime, Quantity,
IntOrString).
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Any

from faultlab_embedded.schema import quantity
from faultlab_embedded.schema.structural import INT_OR_STRING, PRESERVE, Schema

GO_TYPE = "x-go-type"
"""Where `builtin` notes the name of the Go type that a definition was made from."""
_LIMITS = {"int32": 2**31, "int64": 2**63}
_SECONDS = "2006-01-02T15:04:05Z07:00"
_MICROSECONDS = "2006-01-02T15:04:05.000000Z07:00"
_LAYOUT = re.compile(r"2006|01|02|15|04|05|\.000000|Z07:00|.")
_VALUES = {
    "2006": r"\d{4}",
    "01": r"0[1-9]|1[0-2]",
    "02": r"\d\d",
    "15": r"[01]\d|2[0-3]",
    "04": r"[0-5]\d",
    "05": r"[0-5]\d",
    ".000000": r"\.\d{6}",
    "Z07:00": r"Z|[+-]\d\d:\d\d",
}
_NO_BASE64 = re.compile(r"[^A-Za-z0-9+/=\r\n]")


def type_error(value: Any, schema: Schema, struct: str = "", path: str = "") -> str | None:
    """The first value, in the order of the document, that does not fit; None where all do.

    `struct` and `path`: the innermost Go type around the value, and the fields that lead to it.
    """
    if value is None or schema.get(PRESERVE):
        return None
    if schema.get(INT_OR_STRING):
        return _own_decoder(value, schema, struct, path)
    kind = schema.get("type")
    if kind == "array" and isinstance(value, list):
        items = schema.get("items") or {}
        return next((text for item in value if (text := type_error(item, items, struct, path))), None)
    if kind in (None, "object") and isinstance(value, dict):
        return _of_object(value, schema, struct, path)
    if kind == "string" and isinstance(value, str):
        return _of_text(value, schema)
    if kind == "boolean" and isinstance(value, bool):
        return None
    if kind in ("integer", "number") and isinstance(value, int | float) and not isinstance(value, bool):
        most = _LIMITS[schema.get("format") or "int64"] if kind == "integer" else None
        if most is None or (isinstance(value, int) and -most <= value < most):
            return None
        return mismatch(f"number {value}", go_type(schema), struct, path)
    return None if kind is None else mismatch(json_type(value), go_type(schema), struct, path)


def _of_object(value: dict[str, Any], schema: Schema, struct: str, path: str) -> str | None:
    properties, additional = schema.get("properties"), schema.get("additionalProperties")
    inner_struct = str(schema.get(GO_TYPE, struct)).rpartition(".")[2]
    for key, inner in value.items():
        if properties is not None and key in properties:
            text = type_error(inner, properties[key], inner_struct, f"{path}.{key}" if path else key)
        elif isinstance(additional, dict):
            text = type_error(inner, additional, struct, path)
        else:
            text = None
        if text:
            return text
    return None


def _own_decoder(value: Any, schema: Schema, struct: str, path: str) -> str | None:
    if schema.get("format") == "quantity":
        try:
            quantity.parse(value)
        except ValueError as error:
            return str(error)
        return None
    if isinstance(value, int | str) and not isinstance(value, bool):
        return None
    found = f"number {value}" if isinstance(value, float) else json_type(value)
    return mismatch(found, "int32", struct, path)


def _of_text(value: str, schema: Schema) -> str | None:
    if schema.get("format") == "date-time":
        return _time_error(value, _layout(schema)) if value else None
    if schema.get("format") == "byte":
        try:
            base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
        except ValueError:
            wrong = _NO_BASE64.search(value)
            return f"illegal base64 data at input byte {wrong.start() if wrong else len(value)}"
    return None


def _time_error(value: str, layout: str) -> str | None:
    """What Go's time.Parse says about a text, None where it reads it."""
    rest = value
    for part in _LAYOUT.findall(layout):
        found = re.match(_VALUES.get(part, re.escape(part)), rest)
        if found is None:
            stuck = f"cannot parse {_quoted(rest)} as {_quoted(part)}"
            return f"parsing time {_quoted(value)} as {_quoted(layout)}: {stuck}"
        rest = rest[found.end() :]
        if part == "05" and ".000000" not in layout:
            rest = re.sub(r"^\.\d+", "", rest)
    if rest:
        return f"parsing time {_quoted(value)}: extra text: {_quoted(rest)}"
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return f"parsing time {_quoted(value)}: day out of range"
    return None


def go_type(schema: Schema) -> str:
    """The Go type of a value, as its decoder names it. Named kinds of text are not told from plain text."""
    if GO_TYPE in schema:
        return str(schema[GO_TYPE])
    kind = schema.get("type")
    if kind == "array":
        return "[]" + go_type(schema.get("items") or {})
    if isinstance(additional := schema.get("additionalProperties"), dict):
        return (
            "v1.ResourceList"
            if additional.get("format") == "quantity"
            else f"map[string]{go_type(additional)}"
        )
    if kind == "string":
        return "[]uint8" if schema.get("format") == "byte" else "string"
    if kind == "integer":
        return str(schema.get("format") or "int64")
    return {"boolean": "bool", "number": "float64"}.get(kind or "", "interface {}")


def canonical(value: dict[str, Any], schema: Schema) -> None:
    """Bring a value without type errors into the form that Go's types write, in place.

    Nulls and empty lists and maps are fields left out; quantities and times are written in one way.
    """
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    required = schema.get("required") or ()
    for key in list(value):
        child = properties.get(key, additional)
        inner = value[key]
        if not isinstance(child, dict):
            if inner is None:
                del value[key]
            continue
        if inner is None:
            if key in properties or child.get("type") != "string":
                del value[key]
            else:
                value[key] = ""  # a text of a map that is null is an empty one
            continue
        value[key] = _canonical_value(inner, child)
        may_be_empty = child.get("type") != "array" and not isinstance(
            child.get("additionalProperties"), dict
        )
        if value[key] in ([], {}) and not may_be_empty and key not in required and key in properties:
            del value[key]


def _canonical_value(value: Any, schema: Schema) -> Any:
    if schema.get(PRESERVE):
        return value
    if isinstance(value, dict):
        canonical(value, schema)
    elif isinstance(value, list):
        items = schema.get("items") or {}
        return [_canonical_value(item, items) for item in value]
    elif schema.get("format") == "quantity":
        return quantity.canonical(value)
    elif schema.get("format") == "date-time" and value:
        return _utc(value, _layout(schema))
    return value


def _utc(value: str, layout: str) -> str:
    moment = datetime.fromisoformat(value).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if layout == _MICROSECONDS else "%Y-%m-%dT%H:%M:%SZ")


def _layout(schema: Schema) -> str:
    return _MICROSECONDS if schema.get(GO_TYPE) == "v1.MicroTime" else _SECONDS


def mismatch(found: str, wanted: str, struct: str, path: str) -> str:
    """What Go's decoder says about a value of another type than its field's."""
    return f"json: cannot unmarshal {found} into Go struct field {struct}.{path} of type {wanted}"


def json_type(value: Any) -> str:
    """The JSON type of a value, as Go's decoder names it."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _quoted(text: str) -> str:
    return f'"{text}"'
