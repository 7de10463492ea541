"""Strategic merge patch: a merge patch that knows which lists are keyed.

Source: kubernetes/community, `contributors/devel/sig-api-machinery/strategic-merge-patch.md`. What is merged
by which key is read from the kind's schema (`x-kubernetes-patch-merge-key`, `x-kubernetes-patch-strategy`).
"""

from __future__ import annotations

from typing import Any

from faultlab_embedded.store.errors import Unclassified
from faultlab_embedded.store.gotext import go_value

Schema = dict[str, Any]

PATCH = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList/"
ELEMENT_ORDER = "$setElementOrder/"
_DIRECTIVES = (PATCH, RETAIN_KEYS)


def strategic_merge(target: Any, patch: Any, schema: Schema | None) -> Any:
    """`target` with `patch` merged in. Raises Unclassified for a directive that cannot be followed."""
    if not isinstance(patch, dict):
        return patch
    directive = patch.get(PATCH)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != PATCH}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise Unclassified(f"unknown patch type: {directive} in map: {go_value(patch)}")
    result = dict(target) if isinstance(target, dict) else {}
    if RETAIN_KEYS in patch:
        keep = set(patch[RETAIN_KEYS])
        result = {key: value for key, value in result.items() if key in keep}
    for key, value in patch.items():
        if key.startswith(DELETE_FROM):
            field = key.removeprefix(DELETE_FROM)
            result[field] = [item for item in result.get(field) or [] if item not in value]
    for key, value in patch.items():
        if key in _DIRECTIVES or key.startswith((DELETE_FROM, ELEMENT_ORDER)):
            continue
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge_field(result.get(key), value, _child(schema, key))
    for key, order in patch.items():
        if key.startswith(ELEMENT_ORDER):
            field = key.removeprefix(ELEMENT_ORDER)
            if isinstance(result.get(field), list):
                live = target.get(field) if isinstance(target, dict) else None
                result[field] = _ordered(result[field], order, live or [], _merge_key(_child(schema, field)))
    return result


def _merge_field(current: Any, value: Any, schema: Schema | None) -> Any:
    if isinstance(value, dict):
        if value.get(PATCH) == "delete":
            return {}
        return strategic_merge(current if isinstance(current, dict) else {}, value, schema)
    if not isinstance(value, list) or not _merges(schema):
        return value
    key = _merge_key(schema)
    live = current or []
    if key is None:
        merged = [*live, *(item for item in value if item not in live)]
    else:
        merged = _merge_keyed(live, value, key, (schema or {}).get("items"))
    return _ordered(merged, value, live, key)


def _merge_keyed(current: list[Any], patch: list[Any], key: str, schema: Schema | None) -> list[Any]:
    if any(isinstance(item, dict) and item.get(PATCH) == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and PATCH in item)]
    result = list(current)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise Unclassified(f"map: {go_value(item)} does not contain declared merge key: {key}")
        place = next((i for i, old in enumerate(result) if old.get(key) == item[key]), None)
        if item.get(PATCH) == "delete":
            result = [old for old in result if old.get(key) != item[key]]
        elif place is None:
            result.append(strategic_merge({}, item, schema))
        else:
            result[place] = strategic_merge(result[place], item, schema)
    return result


def _ordered(items: list[Any], order: list[Any], live: list[Any], key: str | None) -> list[Any]:
    """Items that `order` names in that order; the others keep theirs, and go before the next item of `order`
    that they stood before in `live`."""

    def identity(item: Any) -> Any:
        return item.get(key) if isinstance(item, dict) and key else item

    wanted, was = [identity(item) for item in order], [identity(item) for item in live]
    named = sorted((i for i in items if identity(i) in wanted), key=lambda i: wanted.index(identity(i)))
    others = [item for item in items if identity(item) not in wanted]
    others.sort(key=lambda i: was.index(identity(i)) if identity(i) in was else len(was))
    result: list[Any] = []
    while named and others:
        left, right = identity(others[0]), identity(named[0])
        stood_before = left in was and right in was and was.index(left) < was.index(right)
        result.append((others if stood_before else named).pop(0))
    return [*result, *named, *others]


def _child(schema: Schema | None, key: str) -> Schema | None:
    if schema is None:
        return None
    child = (schema.get("properties") or {}).get(key)
    if child is None:
        child = schema.get("additionalProperties")
    return child if isinstance(child, dict) else None


def _merges(schema: Schema | None) -> bool:
    return "merge" in str((schema or {}).get("x-kubernetes-patch-strategy", "")).split(",")


def _merge_key(schema: Schema | None) -> str | None:
    key = (schema or {}).get("x-kubernetes-patch-merge-key")
    return str(key) if key else None
