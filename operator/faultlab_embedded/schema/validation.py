"""Checks a value against a structural schema, in the words of kube-apiserver (kube-openapi's validators)."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable, Iterable
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import msgspec
import re2

from faultlab_embedded.schema.structural import EMBEDDED, INT_OR_STRING, Schema
from faultlab_embedded.store.errors import FieldError

NOWHERE = "<nil>"
"""The field of errors that belong to none, as kube-apiserver prints it."""


def validate(value: Any, schema: Schema, path: str = "") -> list[FieldError]:
    """Everything in `value` that the schema does not allow."""
    if value is None:
        if schema.get("nullable") or not schema.get("type"):
            return []
        return [_wrong_type(path, value, schema["type"])]
    wanted = schema.get("type")
    if schema.get(INT_OR_STRING):
        if isinstance(value, bool) or not isinstance(value, int | str):
            return [_wrong_type(path, value, "integer,string")]
    elif wanted and not _has_type(value, wanted):
        return [_wrong_type(path, value, wanted)]
    errors = list(_enum(value, schema, path))
    if isinstance(value, bool):
        pass
    elif isinstance(value, int | float):
        errors += _number(value, schema, path)
    elif isinstance(value, str):
        errors += _string(value, schema, path)
    elif isinstance(value, list):
        errors += _array(value, schema, path)
    elif isinstance(value, dict):
        errors += _object(value, schema, path)
    errors += _combined(value, schema, path)
    return errors


def _object(value: dict[str, Any], schema: Schema, path: str) -> Iterable[FieldError]:
    properties = schema.get("properties") or {}
    if schema.get(EMBEDDED):
        for name in ("apiVersion", "kind"):
            if not value.get(name):
                detail = "must not be empty" if name in value else ""
                yield FieldError.required(_join(path, name), detail)
    count = len(value)
    if (most := schema.get("maxProperties")) is not None and count > most:
        yield FieldError.too_many(path, count, most)
    if (least := schema.get("minProperties")) is not None and count < least:
        yield FieldError.invalid(path, count, f"{path} in body should have at least {least} properties")
    additional = schema.get("additionalProperties")
    for key, inner in value.items():
        child = properties.get(key, additional)
        if isinstance(child, dict):
            yield from validate(inner, child, _join(path, key))
    for name in schema.get("required") or ():
        if name not in value:
            yield FieldError.required(_join(path, name))


def _array(value: list[Any], schema: Schema, path: str) -> Iterable[FieldError]:
    if (most := schema.get("maxItems")) is not None and len(value) > most:
        yield FieldError.too_many(path, len(value), most)
    if (least := schema.get("minItems")) is not None and len(value) < least:
        yield FieldError.invalid(path, len(value), f"{path} in body should have at least {least} items")
    if schema.get("uniqueItems") and len(set(map(_identity, value))) < len(value):
        yield FieldError.invalid(path, value, f"{path} in body shouldn't contain duplicates")
    items = schema.get("items")
    if isinstance(items, dict):
        for index, item in enumerate(value):
            yield from validate(item, items, f"{path}[{index}]")
    yield from _list_type(value, schema, path)


def _list_type(value: list[Any], schema: Schema, path: str) -> Iterable[FieldError]:
    kind = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys") or []
    if kind not in ("set", "map"):
        return
    known: set[bytes] = set()
    for index, item in enumerate(value):
        shown = item
        if kind == "map":
            if not isinstance(item, dict):
                continue
            shown = {key: item.get(key) for key in keys if key in item}
        identity = _identity(shown)
        if identity in known:
            yield FieldError.duplicate(f"{path}[{index}]", shown)
        known.add(identity)


def _number(value: float, schema: Schema, path: str) -> Iterable[FieldError]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None:
        exclusive = schema.get("exclusiveMinimum") is True
        if value < least or (exclusive and value == least):
            than = "greater than" if exclusive else "greater than or equal to"
            yield FieldError.invalid(path, value, f"{path} in body should be {than} {_plain(least)}")
    if most is not None:
        exclusive = schema.get("exclusiveMaximum") is True
        if value > most or (exclusive and value == most):
            than = "less than" if exclusive else "less than or equal to"
            yield FieldError.invalid(path, value, f"{path} in body should be {than} {_plain(most)}")
    step = schema.get("multipleOf")
    if step and abs(value / step - round(value / step)) > 1e-9:
        yield FieldError.invalid(path, value, f"{path} in body should be a multiple of {_plain(step)}")
    bits = {"int32": 31, "int64": 63}.get(schema.get("format", ""))
    if bits and isinstance(value, int) and not -(2**bits) <= value < 2**bits:
        yield FieldError.invalid(path, value, f"{path} in body must be of type {schema['format']}: {value}")


def _string(value: str, schema: Schema, path: str) -> Iterable[FieldError]:
    pattern = schema.get("pattern")
    if (most := schema.get("maxLength")) is not None and len(value) > most:
        yield FieldError.too_long(path, most)
    elif (least := schema.get("minLength")) is not None and len(value) < least:
        yield FieldError.invalid(path, value, f"{path} in body should be at least {least} chars long")
    elif pattern and not _pattern(pattern).search(value):
        yield FieldError.invalid(path, value, f"{path} in body should match '{pattern}'")
    known = _FORMATS.get(schema.get("format", ""))
    if known is not None and not _parses(known, value):
        detail = f'{path} in body must be of type {schema["format"]}: "{value}"'
        yield FieldError.type_invalid(path, value, detail)


def _enum(value: Any, schema: Schema, path: str) -> Iterable[FieldError]:
    options = schema.get("enum")
    if options is not None and not any(_identity(value) == _identity(option) for option in options):
        yield FieldError.not_supported(path, value, [str(option) for option in options])


def _combined(value: Any, schema: Schema, path: str) -> Iterable[FieldError]:
    """allOf, anyOf, oneOf and not. What fits none is told with the errors of the nearest alternative."""
    for part in schema.get("allOf") or ():
        yield from validate(value, part, path)
    for word, text in (
        ("anyOf", "must validate at least one schema (anyOf)"),
        ("oneOf", "must validate one and only one schema (oneOf). Found none valid"),
    ):
        tried = [validate(value, option, path) for option in schema.get(word) or ()]
        if tried and all(tried):
            yield _of_the_whole(path, text)
            yield from min(tried, key=len)
        elif word == "oneOf" and (fitting := tried.count([])) > 1:
            text = f"must validate one and only one schema (oneOf). Found {fitting} valid alternatives"
            yield _of_the_whole(path, text)
    if (excluded := schema.get("not")) is not None and not validate(value, excluded, path):
        yield _of_the_whole(path, "must not validate the schema (not)")


def _of_the_whole(path: str, text: str) -> FieldError:
    """An error that kube-apiserver cannot place in a field."""
    return FieldError.invalid(NOWHERE, "", f'"{path}" {text}')


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "number": (int, float),
    "integer": int,
}


def _has_type(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    if wanted == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[wanted])


def type_name(value: Any) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = {"integer": int, "number": float, "string": str, "array": list, "object": dict}
    return next(name for name, kind in names.items() if isinstance(value, kind))


def _wrong_type(path: str, value: Any, wanted: str) -> FieldError:
    found = type_name(value)
    return FieldError.type_invalid(path, found, f'{path} in body must be of type {wanted}: "{found}"')


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _identity(value: Any) -> bytes:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return msgspec.json.encode(value, order="sorted")


@lru_cache(maxsize=512)
def _pattern(text: str) -> Any:
    # RE2, as Kubernetes: the same syntax, and no pattern takes exponential time.
    return re2.compile(text)


def _parses(parse: Callable[[str], object], value: str) -> bool:
    try:
        parse(value)
    except (ValueError, binascii.Error):
        return False
    return True


def _date_time(value: str) -> object:
    if not re.match(r"^\d{4}-\d{2}-\d{2}[Tt ]", value):
        raise ValueError(value)
    parsed = datetime.fromisoformat(value.upper().replace("Z", "+00:00"))
    if parsed.tzinfo is None:
        raise ValueError(value)
    return parsed


def _duration(value: str) -> object:
    if not re.fullmatch(
        r"[-+]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*)",
        value,
    ):
        raise ValueError(value)
    return value


_FORMATS: dict[str, Callable[[str], object]] = {
    "date-time": _date_time,
    "date": date.fromisoformat,
    "duration": _duration,
    "byte": lambda value: base64.b64decode(value, validate=True),
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "cidr": ipaddress.ip_network,
    "uuid": uuid.UUID,
}
