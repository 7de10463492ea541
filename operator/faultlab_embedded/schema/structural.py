"""Structural schemas at work: pruning and defaulting. See `validation` for checking.

Source: kubernetes.io, "Extend the Kubernetes API with CustomResourceDefinitions". Used for custom resources
with the schema of their CRD, and for built-in kinds with the schemas of `builtin`.
"""

from __future__ import annotations

import copy
from typing import Any

Schema = dict[str, Any]

IMPLIED = ("apiVersion", "kind", "metadata")
"""Fields that every object and every embedded resource has, whether its schema says so or not."""
PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"


def prune(value: Any, schema: Schema, *, root: bool = False, path: str = "") -> list[str]:
    """Drop what the schema does not know, in place; the paths that were dropped.

    At the root `metadata` is left alone: it has a schema of its own.
    """
    if isinstance(value, list):
        items = schema.get("items")
        if not isinstance(items, dict):
            return []
        return [
            dropped
            for index, item in enumerate(value)
            for dropped in prune(item, items, path=f"{path}[{index}]")
        ]
    if not isinstance(value, dict):
        return []
    dropped: list[str] = []
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    implied = IMPLIED if root or schema.get(EMBEDDED) else ()
    for key in list(value):
        below = f"{path}.{key}" if path else key
        if key in implied:
            continue
        if key in properties:
            dropped += prune(value[key], properties[key], path=below)
        elif isinstance(additional, dict):
            dropped += prune(value[key], additional, path=below)
        elif not additional and not schema.get(PRESERVE):
            dropped.append(below)
            del value[key]
    return dropped


def prune_embedded(value: Any, schema: Schema, metadata: Schema, *, path: str = "") -> list[str]:
    """Drop what the metadata of embedded resources does not know, in place; the paths that were dropped."""
    if isinstance(value, list):
        items = schema.get("items")
        inner = [(f"{path}[{index}]", item, items) for index, item in enumerate(value)]
    elif isinstance(value, dict):
        properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
        inner = [
            (f"{path}.{key}" if path else key, item, properties.get(key, additional))
            for key, item in value.items()
        ]
    else:
        return []
    dropped: list[str] = []
    if isinstance(value, dict) and schema.get(EMBEDDED) and isinstance(value.get("metadata"), dict):
        dropped += prune(value["metadata"], metadata, path=f"{path}.metadata")
    for below, item, child in inner:
        if isinstance(child, dict):
            dropped += prune_embedded(item, child, metadata, path=below)
    return dropped


def whole_numbers(value: Any) -> Any:
    """The value with whole numbers written as such (2.0 as 2), as Go writes what it read."""
    if isinstance(value, dict):
        return {key: whole_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value


def set_defaults(value: Any, schema: Schema) -> None:
    """Fill in defaults, in place. A null that the schema does not allow counts as left out, and goes."""
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                set_defaults(item, items)
        return
    if not isinstance(value, dict):
        return
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    for key in [key for key, inner in value.items() if inner is None]:
        child = properties.get(key, additional)
        if isinstance(child, dict) and not child.get("nullable"):
            del value[key]
    for key, child in properties.items():
        if "default" in child and key not in value:
            value[key] = copy.deepcopy(child["default"])
        if key in value:
            set_defaults(value[key], child)
    if isinstance(additional, dict):
        for key in value:
            if key not in properties:
                set_defaults(value[key], additional)
