"""Sets of fields in the notation of managedFields (FieldsV1), and what server-side apply does with them.

A set is a tree: `f:NAME` a field, `k:{"name":"x"}` an item of a keyed list, `v:"x"` a member of a set-like
list, `.` the containing map or item itself, an empty tree a field that is owned whole.
Source: kubernetes.io, "Server-Side Apply"; sigs.k8s.io/structured-merge-diff.
"""

from __future__ import annotations

from typing import Any

import msgspec

from faultlab_embedded.store.strategy import Schema

FieldSet = dict[str, Any]

SELF = "."


def extract(value: Any, schema: Schema, *, containers: bool = True) -> FieldSet:
    """The fields that a value says something about.

    With `containers` maps and lists are also owned for themselves, as by who wrote them whole; an applier
    owns but their items.
    """
    if isinstance(value, dict) and _is_granular(schema):
        found: FieldSet = {}
        if containers and "additionalProperties" in schema and value:
            found[SELF] = {}
        for key, inner in value.items():
            found[f"f:{key}"] = extract(inner, _property(schema, key), containers=containers)
        return found
    if isinstance(value, list) and (keys := list_keys(schema)) is not None:
        found = {SELF: {}} if value and containers else {}
        for item in value:
            inside = extract(item, schema.get("items") or {}, containers=containers) if keys else {}
            found[_item_key(item, keys)] = {SELF: {}, **inside} if keys else {}
        return found
    return {}


def merge(live: Any, applied: Any, schema: Schema) -> Any:
    """`live` with what was applied over it; keyed lists by their keys, everything atomic replaced."""
    if isinstance(applied, dict) and isinstance(live, dict) and _is_granular(schema):
        result = dict(live)
        for key, value in applied.items():
            result[key] = merge(live[key], value, _property(schema, key)) if key in live else value
        return result
    if isinstance(applied, list) and isinstance(live, list) and (keys := list_keys(schema)) is not None:
        return _merge_lists(live, applied, keys, schema)
    return applied


def remove(value: Any, dropped: FieldSet, schema: Schema) -> Any:
    """`value` without the fields of a set."""
    if isinstance(value, dict):
        result = dict(value)
        for key, below in dropped.items():
            name = key.removeprefix("f:")
            if key == SELF or name not in result:
                continue
            kept = remove(result[name], below, _property(schema, name)) if below else None
            if not below or (kept in ({}, []) and result[name] not in ({}, [])):
                del result[name]
            else:
                result[name] = kept
        return result
    if isinstance(value, list) and (keys := list_keys(schema)) is not None:
        items = []
        for item in value:
            below = dropped.get(_item_key(item, keys))
            if below is None:
                items.append(item)
            elif keys and SELF not in below:
                items.append(remove(item, below, schema.get("items") or {}))
        return items
    return value


def changed(
    before: Any, after: Any, old: FieldSet, new: FieldSet, schema: Schema, *, only_existing: bool = False
) -> FieldSet:
    """The part of `new` whose values differ between `before` and `after`.

    With `only_existing` fields that `before` does not have do not count.
    """
    result: FieldSet = {}
    for key, below in new.items():
        if key == SELF:
            if key not in old and not only_existing:
                result[key] = {}
            continue
        was, now, child = _at(before, key, schema), _at(after, key, schema), _child_schema(schema, key)
        if was is _ABSENT:
            if not only_existing:
                result[key] = below
            continue
        if not below:
            if was != now:
                result[key] = {}
            continue
        inner = changed(was, now, old.get(key, {}), below, child, only_existing=only_existing)
        if inner:
            result[key] = inner
    return result


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in `left` and not in `right`."""
    result: FieldSet = {}
    for key, below in left.items():
        if key not in right:
            result[key] = below
        elif below and (inner := difference(below, right[key])):
            result[key] = inner
    return result


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in both."""
    result: FieldSet = {}
    for key, below in left.items():
        if key not in right:
            continue
        if not below or not right[key]:
            if below == right[key]:
                result[key] = {}
        elif inner := intersection(below, right[key]):
            result[key] = inner
    return result


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in either."""
    result = dict(left)
    for key, below in right.items():
        result[key] = union(left[key], below) if key in left else below
    return result


def paths(owned: FieldSet, prefix: str = "") -> list[str]:
    """The leaves of a set as people read them: `.spec.template.spec.containers[name="a"].image`."""
    found = []
    for key, below in owned.items():
        if key == SELF:
            continue
        path = prefix + (f".{key[2:]}" if key.startswith("f:") else f"[{_readable(key)}]")
        found += paths(below, path) if set(below) - {SELF} else [path]
    return found


def without_nulls(value: Any) -> Any:
    """A value without the fields that are null: an apply cannot say more about them than leaving them out."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _merge_lists(live: list[Any], applied: list[Any], keys: list[str], schema: Schema) -> list[Any]:
    items = schema.get("items") or {}
    places = {_item_key(item, keys): index for index, item in enumerate(live)}
    result = list(live)
    for item in applied:
        key = _item_key(item, keys)
        if key not in places:
            places[key] = len(result)
            result.append(item)
        elif keys:
            result[places[key]] = merge(result[places[key]], item, items)
    return result


_ABSENT = object()


def _at(value: Any, key: str, schema: Schema) -> Any:
    if key.startswith("f:"):
        return value.get(key[2:], _ABSENT) if isinstance(value, dict) else _ABSENT
    keys = list_keys(schema)
    if not isinstance(value, list) or keys is None:
        return _ABSENT
    return next((item for item in value if _item_key(item, keys) == key), _ABSENT)


def _child_schema(schema: Schema, key: str) -> Schema:
    return _property(schema, key[2:]) if key.startswith("f:") else schema.get("items") or {}


def _property(schema: Schema, name: str) -> Schema:
    child = (schema.get("properties") or {}).get(name, schema.get("additionalProperties"))
    return child if isinstance(child, dict) else {}


def _is_granular(schema: Schema) -> bool:
    return schema.get("x-kubernetes-map-type") != "atomic"


def list_keys(schema: Schema) -> list[str] | None:
    """The keys of a keyed list, none for a set-like one, None for a list that is one value."""
    kind = schema.get("x-kubernetes-list-type")
    if kind == "map":
        return list(schema.get("x-kubernetes-list-map-keys") or [])
    return [] if kind == "set" else None


def item_name(item: Any, keys: list[str]) -> str:
    """An item of a keyed or set-like list as people read it: `name="a"`, `="a"`."""
    return _readable(_item_key(item, keys))


def _item_key(item: Any, keys: list[str]) -> str:
    if not keys:
        return "v:" + msgspec.json.encode(item).decode()
    values = {key: item.get(key) for key in keys} if isinstance(item, dict) else {}
    # The one key with a default in the built-in kinds; an item that leaves it out is the same item.
    if "protocol" in keys and values.get("protocol") is None:
        values["protocol"] = "TCP"
    return "k:" + msgspec.json.encode(values, order="sorted").decode()


def _readable(key: str) -> str:
    if key.startswith("v:"):
        return "=" + key[2:]
    values = msgspec.json.decode(key[2:])
    return ",".join(f"{name}={msgspec.json.encode(value).decode()}" for name, value in values.items())
