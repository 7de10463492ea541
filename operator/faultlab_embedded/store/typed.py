"""What server-side apply refuses at once: values that are not as the kind's schema declares them.

Source of rules and wording: sigs.k8s.io/structured-merge-diff, `typed/validate.go`.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from faultlab_embedded.store.catalog import Resource
from faultlab_embedded.store.errors import Unclassified
from faultlab_embedded.store.fields import item_name, list_keys
from faultlab_embedded.store.gotext import go_value
from faultlab_embedded.store.strategy import Object, Schema

_SCALARS: dict[str, tuple[str, tuple[type, ...]]] = {
    "string": ("string", (str,)),
    "boolean": ("boolean", (bool,)),
    "integer": ("numeric (int or float)", (int, float)),
    "number": ("numeric (int or float)", (int, float)),
}
_UNDECLARED_OK = ("additionalProperties", "x-kubernetes-preserve-unknown-fields")


def check_applied(kind: Resource, version: str, obj: Object) -> None:
    """Raises Unclassified (as kube-apiserver does, with a 500) naming every value that does not fit."""
    schema = kind.strategy(version).schema
    if schema is None:
        return
    content = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    wrong = _errors(content, schema, "")
    if not wrong:
        return
    meta = obj.get("metadata") or {}
    which = f"{meta.get('namespace', '')}/{meta.get('name', '')}; {kind.group}/{version}, Kind={kind.kind}"
    shown = wrong[0] if len(wrong) == 1 else "errors:\n" + "\n".join(f"  {error}" for error in wrong)
    raise Unclassified(f"failed to create typed patch object ({which}): {shown}")


def _errors(value: Any, schema: Schema, path: str) -> list[str]:
    kind = schema.get("type")
    if value is None or schema.get("x-kubernetes-int-or-string") or schema.get("format") == "quantity":
        return []
    if kind == "array":
        return _of_list(value, schema, path)
    if kind == "object" or "properties" in schema:
        return _of_map(value, schema, path)
    if kind not in _SCALARS:
        return []
    expected, types = _SCALARS[kind]
    if isinstance(value, types) and (bool in types or not isinstance(value, bool)):
        return []
    if isinstance(value, dict | list):
        return [f"{path}: expected {expected}, got &{{{go_value(value)}}}"]
    return [f"{path}: expected {expected}, got &value.valueUnstructured{{Value:{json.dumps(value)}}}"]


def _of_map(value: Any, schema: Schema, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: expected map, got &{{{go_value(value)}}}"]
    properties = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    free = not properties or any(schema.get(word) for word in _UNDECLARED_OK)
    found = []
    for key, inner in value.items():
        child = properties.get(key, others)
        if isinstance(child, dict):
            found += _errors(inner, child, f"{path}.{key}")
        elif not free:
            found.append(f"{path}.{key}: field not declared in schema")
    return found


def _of_list(value: Any, schema: Schema, path: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{path}: expected list, got &{{{go_value(value)}}}"]
    keys = list_keys(schema)
    names = [f"[{item_name(item, keys)}]" for item in value] if keys is not None else []
    found = [f"{path}: duplicate entries for key {name}" for name, n in Counter(names).items() if n > 1]
    for index, item in enumerate(value):
        where = names[index] if names else f"[{index}]"
        found += _errors(item, schema.get("items") or {}, path + where)
    return found
