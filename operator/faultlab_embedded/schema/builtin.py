"""The schemas of the built-in kinds (`builtin.json`, written by `generate`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from faultlab_embedded.schema.decoding import GO_TYPE

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_GROUPS = {
    "": "io.k8s.api.core",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "rbac.authorization.k8s.io": "io.k8s.api.rbac",
}


def definitions() -> dict[str, Schema]:
    """Every definition by its OpenAPI name, with `$ref`s between them. Read anew each time: it is large."""
    loaded: dict[str, Schema] = msgspec.json.decode(Path(__file__).with_name("builtin.json").read_bytes())
    return loaded


def definition_name(group: str, version: str, kind: str) -> str:
    """`io.k8s.api.apps.v1.StatefulSet` and the like."""
    prefix = _GROUPS.get(group) or f"io.k8s.api.{group.partition('.')[0]}"
    return f"{prefix}.{version}.{kind}"


def schema_of(group: str, version: str, kind: str) -> Schema | None:
    """A kind's schema with every `$ref` replaced by what it refers to; None for an unknown kind.

    The result is a graph that may contain itself (a CRD's schema does) and is shared: look, do not change.
    """
    return _resolved().get(definition_name(group, version, kind))


def object_meta() -> Schema:
    """The schema of `metadata`."""
    return _resolved()[f"{META}.ObjectMeta"]


@cache
def _resolved() -> dict[str, Schema]:
    found = definitions()
    made: dict[str, Schema] = {name: {} for name in found}
    for name, schema in found.items():
        made[name].update(_resolve(_without_text(schema), made))
        made[name][GO_TYPE] = ".".join(name.rsplit(".", 2)[1:])
    for schema in made.values():
        _settle(schema, made, set())
    return made


def _without_text(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "description"}


def _resolve(schema: Schema, made: dict[str, Schema]) -> Schema:
    """A part with its references followed, but for those that say more beside it (how a field merges)."""
    result = _without_text(schema)
    if "$ref" in schema and isinstance(schema["$ref"], str):
        return result if len(result) > 1 else made[schema["$ref"].removeprefix(REFERENCE)]
    if "properties" in schema:
        result["properties"] = {key: _resolve(value, made) for key, value in schema["properties"].items()}
    for nested in ("items", "additionalProperties"):
        if isinstance(schema.get(nested), dict):
            result[nested] = _resolve(schema[nested], made)
    return result


def _settle(schema: Schema, made: dict[str, Schema], done: set[int]) -> None:
    """Replace the references that say more by what they refer to and what they say, in place."""
    if id(schema) in done:
        return
    done.add(id(schema))
    for holder in (schema.get("properties") or {}, schema):
        for key, child in holder.items():
            if not isinstance(child, dict) or (
                holder is schema and key not in ("items", "additionalProperties")
            ):
                continue
            if isinstance(child.get("$ref"), str):
                rest = {name: value for name, value in child.items() if name != "$ref"}
                child = holder[key] = {**made[child["$ref"].removeprefix(REFERENCE)], **rest}
            _settle(child, made, done)
