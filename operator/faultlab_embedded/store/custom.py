"""Custom resources: from a CustomResourceDefinition to a resource that is served and checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from faultlab_embedded.schema.builtin import object_meta
from faultlab_embedded.schema.cel import Rules
from faultlab_embedded.schema.decoding import canonical, type_error
from faultlab_embedded.schema.structural import (
    IMPLIED,
    prune,
    prune_embedded,
    set_defaults,
    whole_numbers,
)
from faultlab_embedded.schema.validation import NOWHERE, validate
from faultlab_embedded.store.catalog import Resource, ScalePaths
from faultlab_embedded.store.errors import FieldError, Undecodable
from faultlab_embedded.store.strategy import Object, Schema, Strategy

_BLOCKING = frozenset(
    (
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    )
)
_RULES_NOT_ASKED = FieldError.invalid(
    NOWHERE,
    None,
    "some validation rules were not checked because the object was invalid; correct the existing errors to "
    "complete validation",
)
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
_MOST_REPLICAS = 2**31 - 1


class CustomStrategy(Strategy):
    """Objects of one version of a CRD: shaped, defaulted and checked by its schema and its CEL rules."""

    def __init__(self, schema: Schema, *, has_status: bool, scale: ScalePaths | None = None) -> None:
        properties = {**(schema.get("properties") or {}), "metadata": object_meta()}
        self.schema = {**schema, "properties": properties}
        self._schema = schema
        self._defaults = whole_numbers(schema)
        self._has_status = has_status
        self._scale = scale
        self._rules = Rules(schema)

    def published_schema(self) -> Schema:
        return self._schema

    def decode(self, obj: Object) -> list[str]:
        meta = obj["metadata"]
        wrong = type_error(meta, object_meta(), "ObjectMeta")
        if wrong is not None:
            kind, version = obj["kind"], obj["apiVersion"].rpartition("/")[2]
            raise Undecodable(kind, version, kind, wrong)
        unknown = prune(meta, object_meta(), path="metadata")
        canonical(meta, object_meta())
        for key in [key for key in obj if key not in IMPLIED]:
            obj[key] = whole_numbers(obj[key])
        unknown += sorted(prune(obj, self._schema, root=True))
        return unknown + prune_embedded(obj, self._schema, object_meta())

    def default(self, obj: Object) -> None:
        set_defaults(obj, self._defaults)

    def validate(self, obj: Object, old: Object | None, subresource: str | None) -> Sequence[FieldError]:
        if subresource == "status":
            errors = self._status_errors(obj)
        else:
            errors = validate(obj, self._schema)
            errors += _scale_errors(obj, self._scale, ("spec",))
        errors += _scale_errors(obj, self._scale, ("status",))
        if not self._rules:
            return errors
        if any(error.reason in _BLOCKING for error in errors):
            # Rules may rely on the schema: they are asked only of what has the right shape.
            return [*errors, _RULES_NOT_ASKED]
        return [*errors, *self._rules.check(obj, old)]

    def _status_errors(self, obj: Object) -> list[FieldError]:
        """Of the status alone, whose errors' texts name its fields from there."""
        schema = (self._schema.get("properties") or {}).get("status")
        if schema is None or "status" not in obj:
            return []
        found = validate(obj["status"], schema)
        return [FieldError(e.reason, f"status.{e.field}".rstrip("."), e.text) for e in found]

    def counts_as_spec(self, obj: Object) -> Object:
        hidden = ("metadata", "status") if self._has_status else ("metadata",)
        return {key: value for key, value in obj.items() if key not in hidden}


def custom_resource(crd: Object) -> Resource:
    """The resource that a valid CRD defines."""
    spec = crd["spec"]
    served = sorted(
        (version for version in spec["versions"] if version["served"]), key=_preference, reverse=True
    )
    storage = next(version for version in spec["versions"] if version["storage"])
    subresources = storage.get("subresources") or {}
    has_status = "status" in subresources
    every = {version["name"]: version for version in (*served, storage)}
    names = spec["names"]
    return Resource(
        group=spec["group"],
        versions=tuple(version["name"] for version in served),
        storage_version=storage["name"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        has_status=has_status,
        scale=_scale(subresources.get("scale")),
        generation=True,
        strategies={
            name: CustomStrategy(
                version["schema"]["openAPIV3Schema"],
                has_status=has_status,
                scale=_scale((version.get("subresources") or {}).get("scale")),
            )
            for name, version in every.items()
        },
        custom=True,
        selectable=frozenset(
            field["jsonPath"].removeprefix(".") for field in storage.get("selectableFields") or ()
        ),
        columns={
            name: tuple(version.get("additionalPrinterColumns") or ()) for name, version in every.items()
        },
    )


def _scale_errors(obj: Object, scale: ScalePaths | None, roots: tuple[str, ...]) -> list[FieldError]:
    """What is wrong with the numbers that the scale subresource reads."""
    if scale is None:
        return []
    found = []
    for path in (scale.spec_replicas, scale.status_replicas):
        if path.partition(".")[0] in roots:
            found += _replicas_errors(obj, f".{path}")
    return found


def _replicas_errors(obj: Object, path: str) -> list[FieldError]:
    value: Any = obj
    for part in path.removeprefix(".").split("."):
        if not isinstance(value, dict) or part not in value:
            return []
        value = value[part]
    if isinstance(value, bool) or not isinstance(value, int):
        shown = json.dumps(value) if isinstance(value, bool) else value
        named = {str: "string", float: "float64", bool: "bool", dict: "map[string]interface {}"}
        text = f"{path} accessor error: {shown} is of the type {named.get(type(value), '[]interface {}')}"
        return [FieldError.invalid(path, 0, f"{text}, expected int64")]
    if value < 0:
        return [FieldError.invalid(path, value, "should be a non-negative integer")]
    if value > _MOST_REPLICAS:
        return [FieldError.invalid(path, value, f"should be less than or equal to {_MOST_REPLICAS}")]
    return []


def _scale(paths: dict[str, Any] | None) -> ScalePaths | None:
    if not paths:
        return None
    selector = paths.get("labelSelectorPath")
    return ScalePaths(
        paths["specReplicasPath"].removeprefix("."),
        paths["statusReplicasPath"].removeprefix("."),
        selector.removeprefix(".") if selector else None,
    )


def _preference(version: dict[str, Any]) -> tuple[int, int, int]:
    """Kubernetes' order of versions: v2 before v1 before v1beta2 before v1beta1 before v1alpha1."""
    name = str(version["name"])
    for rank, word in ((1, "beta"), (0, "alpha")):
        major, found, minor = name.removeprefix("v").partition(word)
        if found and major.isdigit():
            return rank, int(major), int(minor or 0)
    major = name.removeprefix("v")
    return (2, int(major), 0) if major.isdigit() else (-1, 0, 0)
