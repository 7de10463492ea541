"""Strategic merge patch: a merge patch that knows which lists are keyed.

Source: kubernetes/community, `contributors/devel/sig-api-machinery/strategic-merge-patch.md`. What is merged
by which key is read from the kind's schema (`x-kubernetes-patch-merge-key`, `x-kubernetes-patch-strategy`).
"""

from __future__ import annotations

from typing import Any

from faultlab_embedded.store.errors import BadRequest

Schema = dict[str, Any]

PATCH = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList/"
ELEMENT_ORDER = "$setElementOrder/"
_DIRECTIVES = (PATCH, RETAIN_KEYS)


def strategic_merge(target: Any, patch: Any, schema: Schema | None) -> Any:
    """`target` with `patch` merged in. Raises BadRequest for a directive that cannot be followed."""
    if not isinstance(patch, dict):
        return patch
    directive = patch.get(PATCH)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != PATCH}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise BadRequest(f"unknown {PATCH} directive {directive!r}: expected replace, delete or merge")
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
                result[field] = _ordered(result[field], order, _merge_key(_child(schema, field)))
    return result


def _merge_field(current: Any, value: Any, schema: Schema | None) -> Any:
    if isinstance(value, dict):
        if value.get(PATCH) == "delete":
            return {}
        return strategic_merge(current if isinstance(current, dict) else {}, value, schema)
    if not isinstance(value, list) or not _merges(schema):
        return value
    key = _merge_key(schema)
    if key is None:
        return [*(current or []), *(item for item in value if item not in (current or []))]
    return _merge_keyed(current or [], value, key, (schema or {}).get("items"))


def _merge_keyed(current: list[Any], patch: list[Any], key: str, schema: Schema | None) -> list[Any]:
    if any(isinstance(item, dict) and item.get(PATCH) == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and PATCH in item)]
    result = list(current)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise BadRequest(f"map: {item} does not contain declared merge key: {key}")
        place = next((i for i, old in enumerate(result) if old.get(key) == item[key]), None)
        if item.get(PATCH) == "delete":
            result = [old for old in result if old.get(key) != item[key]]
        elif place is None:
            result.append(strategic_merge({}, item, schema))
        else:
            result[place] = strategic_merge(result[place], item, schema)
    return result


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """Items in the wanted order; those that it does not name stay behind the neighbour they had."""
    wanted = [entry.get(key) if isinstance(entry, dict) and key else entry for entry in order]

    def identity(item: Any) -> Any:
        return item.get(key) if isinstance(item, dict) and key else item

    named = sorted(
        (item for item in items if identity(item) in wanted), key=lambda i: wanted.index(identity(i))
    )
    remaining = iter(named)
    return [next(remaining) if identity(item) in wanted else item for item in items]


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
