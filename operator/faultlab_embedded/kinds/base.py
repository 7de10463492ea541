"""Behaviour that all built-in kinds share: their shape comes from Kubernetes' own schemas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faultlab_embedded.kinds import quantity
from faultlab_embedded.schema.builtin import schema_of
from faultlab_embedded.schema.structural import prune
from faultlab_embedded.schema.validation import validate
from faultlab_embedded.store.errors import BadRequest, FieldError
from faultlab_embedded.store.strategy import Object, Schema, Strategy

_WITH_QUANTITIES = (
    "DaemonSet",
    "Deployment",
    "Job",
    "Node",
    "PersistentVolumeClaim",
    "Pod",
    "ReplicaSet",
    "StatefulSet",
)


class BuiltinStrategy(Strategy):
    """A built-in kind: decoded by its schema. Kinds override `default` and `check`."""

    def __init__(self, group: str, version: str, kind: str) -> None:
        schema = schema_of(group, version, kind)
        assert schema is not None, (
            f"{kind} of {group} is not in builtin.json: run faultlab_embedded.schema.generate"
        )
        self.schema: Schema = schema
        self._decoding = _for_decoding(schema)
        self._has_quantities = kind in _WITH_QUANTITIES
        self._kind = kind
        self._version = version

    def decode(self, obj: Object) -> list[str]:
        _drop_nulls(obj)
        wrong = validate(obj, self._decoding)
        if wrong:
            shown = "; ".join(
                f"{error.field}: {error.text.rpartition(': ')[0] or error.text}" for error in wrong
            )
            raise BadRequest(
                f'{self._kind} in version "{self._version}" cannot be handled as a {self._kind}: {shown}'
            )
        if self._has_quantities:
            _canonical_quantities(obj, self.schema)
        return prune(obj, self.schema)

    def validate(self, obj: Object, old: Object | None, subresource: str | None) -> Sequence[FieldError]:
        if subresource == "status":
            return ()
        return self.check(obj, old)

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        """Everything wrong with an object, status apart."""
        del obj, old
        return []


def _drop_nulls(value: Object) -> None:
    """A null is a field left out, as it is for Kubernetes' own types. In place."""
    for key in [key for key, inner in value.items() if inner is None]:
        del value[key]
    for inner in value.values():
        if isinstance(inner, dict):
            _drop_nulls(inner)
        elif isinstance(inner, list):
            for item in inner:
                if isinstance(item, dict):
                    _drop_nulls(item)


def _canonical_quantities(value: Any, schema: Schema) -> Any:
    """Quantities in the spelling that is stored, in place; what is none is left for validation to refuse."""
    if schema.get("format") == "quantity":
        try:
            return quantity.canonical(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        for key, inner in value.items():
            child = properties.get(key, additional)
            if isinstance(child, dict):
                value[key] = _canonical_quantities(inner, child)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            value[index] = _canonical_quantities(item, schema["items"])
    return value


def _for_decoding(schema: Schema) -> Schema:
    """The schema's types alone: what is required or keyed is for validation to say, not for decoding."""
    made: dict[int, Schema] = {}

    def typed(part: Schema) -> Schema:
        if id(part) in made:
            return made[id(part)]
        result = made[id(part)] = {
            key: part[key] for key in ("type", "x-kubernetes-int-or-string") if key in part
        }
        if part.get("format") == "quantity":
            result = made[id(part)] = {}
        if "properties" in part:
            result["properties"] = {key: typed(child) for key, child in part["properties"].items()}
        for nested in ("items", "additionalProperties"):
            if isinstance(part.get(nested), dict):
                result[nested] = typed(part[nested])
        return result

    return typed(schema)
