"""Custom resources: from a CustomResourceDefinition to a resource that is served and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faultlab_embedded.schema.builtin import object_meta
from faultlab_embedded.schema.cel import Rules
from faultlab_embedded.schema.structural import prune, set_defaults
from faultlab_embedded.schema.validation import NOWHERE, validate
from faultlab_embedded.store.catalog import Resource, ScalePaths
from faultlab_embedded.store.errors import BadRequest, FieldError
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


class CustomStrategy(Strategy):
    """Objects of one version of a CRD: shaped, defaulted and checked by its schema and its CEL rules."""

    def __init__(self, schema: Schema, *, has_status: bool) -> None:
        properties = {**(schema.get("properties") or {}), "metadata": object_meta()}
        self.schema = {**schema, "properties": properties}
        self._schema = schema
        self._has_status = has_status
        self._rules = Rules(schema)

    def published_schema(self) -> Schema:
        return self._schema

    def decode(self, obj: Object) -> list[str]:
        wrong = validate(obj["metadata"], object_meta(), "metadata")
        if wrong:
            kind, version = obj["kind"], obj["apiVersion"].rpartition("/")[2]
            shown = "; ".join(map(str, wrong))
            raise BadRequest(f'{kind} in version "{version}" cannot be handled as a {kind}: {shown}')
        unknown = prune(obj, self._schema, root=True) + prune(obj["metadata"], object_meta(), path="metadata")
        return sorted(unknown)

    def default(self, obj: Object) -> None:
        set_defaults(obj, self._schema)

    def validate(self, obj: Object, old: Object | None, subresource: str | None) -> Sequence[FieldError]:
        del subresource
        errors = validate(obj, self._schema)
        if not self._rules:
            return errors
        if any(error.reason in _BLOCKING for error in errors):
            # Rules may rely on the schema: they are asked only of what has the right shape.
            return [*errors, _RULES_NOT_ASKED]
        return [*errors, *self._rules.check(obj, old)]

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
            name: CustomStrategy(version["schema"]["openAPIV3Schema"], has_status=has_status)
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
