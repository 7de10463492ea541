"""CustomResourceDefinitions: a schema is refused here that objects could not be checked against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import re2

from faultlab_embedded.kinds.base import BuiltinStrategy
from faultlab_embedded.schema.cel import compile_errors
from faultlab_embedded.schema.jsonpath import compile_path
from faultlab_embedded.store import names
from faultlab_embedded.store.errors import FieldError
from faultlab_embedded.store.objects import now_rfc3339
from faultlab_embedded.store.strategy import Object, Schema

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_FORBIDDEN_IN_STRUCTURAL = (
    "$ref",
    "definitions",
    "dependencies",
    "patternProperties",
    "additionalItems",
    "id",
)


class CrdStrategy(BuiltinStrategy):
    """Accepted names and the Established condition are there from the first moment."""

    def default(self, obj: Object) -> None:
        spec = obj.get("spec") or {}
        kind_names = spec.setdefault("names", {})
        kind = kind_names.get("kind", "")
        kind_names.setdefault("singular", kind.lower())
        kind_names.setdefault("listKind", f"{kind}List")
        spec.setdefault("conversion", {"strategy": "None"})

    def prepare_create(self, obj: Object) -> None:
        self._set_status(obj, {})

    def prepare_update(self, obj: Object, old: Object, subresource: str | None) -> None:
        del subresource
        self._set_status(obj, old.get("status") or {})

    def prepare_delete(self, obj: Object) -> None:
        conditions = obj["status"]["conditions"]
        if not any(condition["type"] == "Terminating" for condition in conditions):
            message = "CustomResource deletion is in progress"
            conditions.append(_condition("Terminating", "InstanceDeletionInProgress", message))

    @staticmethod
    def _set_status(obj: Object, old: Object) -> None:
        spec = obj.get("spec") or {}
        status = obj.setdefault("status", {})
        status["acceptedNames"] = dict(spec.get("names") or {})
        stored = list(status.get("storedVersions") or old.get("storedVersions") or [])
        for version in spec.get("versions") or ():
            if version.get("storage") and version.get("name") not in stored:
                stored.append(version.get("name"))
        status["storedVersions"] = stored
        given = [
            c for c in status.get("conditions") or [] if c.get("type") not in ("NamesAccepted", "Established")
        ]
        known = {c["type"]: c for c in old.get("conditions") or []}
        own = (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
        status["conditions"] = [
            known.get(kind) or _condition(kind, why, text) for kind, why, text in own
        ] + given

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        spec = obj.get("spec") or {}
        errors = _check_names(obj, spec)
        if spec.get("scope") not in ("Cluster", "Namespaced"):
            errors.append(
                FieldError.not_supported("spec.scope", spec.get("scope", ""), ["Cluster", "Namespaced"])
            )
        if spec.get("conversion", {}).get("strategy") != "None":
            detail = "this server converts between versions by their apiVersion only: use strategy None"
            errors.append(
                FieldError.invalid("spec.conversion.strategy", spec["conversion"].get("strategy"), detail)
            )
        errors += _check_versions(spec.get("versions") or [])
        if old is not None and not errors:
            for field in ("group", "scope"):
                if spec[field] != old["spec"][field]:
                    errors.append(FieldError.invalid(f"spec.{field}", spec[field], "field is immutable"))
        return errors


def _condition(kind: str, reason: str, message: str) -> Object:
    return {
        "type": kind,
        "status": "True",
        "lastTransitionTime": now_rfc3339(),
        "reason": reason,
        "message": message,
    }


def _check_names(obj: Object, spec: Object) -> list[FieldError]:
    given = spec.get("names") or {}
    missing = [field for field in ("plural", "kind") if not given.get(field)]
    errors = [FieldError.required(f"spec.names.{field}") for field in missing]
    if not spec.get("group"):
        errors.append(FieldError.required("spec.group"))
    elif "." not in spec["group"]:
        detail = "should be a domain with at least one dot"
        errors.append(FieldError.invalid("spec.group", spec["group"], detail))
    if given.get("plural"):
        errors += names.label("spec.names.plural", given["plural"])
    if errors:
        return errors
    wanted = f"{given['plural']}.{spec['group']}"
    if obj["metadata"]["name"] != wanted:
        detail = 'must be spec.names.plural+"."+spec.group'
        errors.append(FieldError.invalid("metadata.name", obj["metadata"]["name"], detail))
    return errors


def _check_versions(versions: list[Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    if not versions:
        errors.append(FieldError.required("spec.versions", "must have at least one version"))
    storing = [version for version in versions if version.get("storage")]
    if versions and len(storing) != 1:
        detail = "must have exactly one version marked as storage version"
        errors.append(FieldError.invalid("spec.versions", [v.get("name") for v in versions], detail))
    if versions and not any(version.get("served") for version in versions):
        errors.append(
            FieldError.invalid("spec.versions", [v.get("name") for v in versions], "must serve a version")
        )
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not version.get("name"):
            errors.append(FieldError.required(f"{path}.name"))
        if not schema:
            errors.append(FieldError.required(f"{path}.schema.openAPIV3Schema", "schemas are required"))
            continue
        errors += _check_schema(schema, f"{path}.schema.openAPIV3Schema", root=True)
        errors += compile_errors(schema, f"{path}.schema.openAPIV3Schema")
        errors += _check_columns(version.get("additionalPrinterColumns") or [], path)
        errors += _check_scale((version.get("subresources") or {}).get("scale"), f"{path}.subresources.scale")
    return errors


def _check_schema(schema: Schema, path: str, *, root: bool = False) -> Iterable[FieldError]:
    """That a schema is structural, as far as this server relies on it."""
    for key in _FORBIDDEN_IN_STRUCTURAL:
        if key in schema:
            yield FieldError.forbidden(f"{path}.{key}", f"{key} is not supported in a structural schema")
    if root and schema.get("type") != "object":
        yield FieldError.invalid(f"{path}.type", schema.get("type", ""), "must be object at the root")
    has_type = schema.get("type") or schema.get("x-kubernetes-int-or-string")
    if not has_type and not schema.get("x-kubernetes-preserve-unknown-fields"):
        yield FieldError.required(f"{path}.type", "must not be empty for specified object fields")
    if schema.get("properties") and schema.get("additionalProperties"):
        yield FieldError.forbidden(f"{path}.additionalProperties", "mutual exclusive with properties")
    for bound in ("exclusiveMinimum", "exclusiveMaximum"):
        if bound in schema and not isinstance(schema[bound], bool):
            yield FieldError.type_invalid(f"{path}.{bound}", schema[bound], "must be a boolean")
    if pattern := schema.get("pattern"):
        try:
            re2.compile(pattern)
        except re2.error as error:
            detail = f"must be a valid regular expression (RE2): {error}"
            yield FieldError.invalid(f"{path}.pattern", pattern, detail)
    if schema.get("x-kubernetes-list-type") == "map" and not schema.get("x-kubernetes-list-map-keys"):
        detail = "must not be empty if x-kubernetes-list-type is map"
        yield FieldError.required(f"{path}.x-kubernetes-list-map-keys", detail)
    for name, child in (schema.get("properties") or {}).items():
        if root and name == "metadata":
            continue
        yield from _check_schema(child, f"{path}.properties[{name}]")
    for nested in ("items", "additionalProperties"):
        if isinstance(schema.get(nested), dict):
            yield from _check_schema(schema[nested], f"{path}.{nested}")
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        yield FieldError.required(f"{path}.items", "must be specified")


def _check_columns(columns: list[Object], path: str) -> Iterable[FieldError]:
    for index, column in enumerate(columns):
        where = f"{path}.additionalPrinterColumns[{index}]"
        for field in ("name", "type", "jsonPath"):
            if not column.get(field):
                yield FieldError.required(f"{where}.{field}")
        if column.get("type") and column["type"] not in _COLUMN_TYPES:
            yield FieldError.not_supported(f"{where}.type", column["type"], _COLUMN_TYPES)
        try:
            compile_path(column.get("jsonPath", ""))
        except ValueError as error:
            yield FieldError.invalid(f"{where}.jsonPath", column.get("jsonPath"), str(error))


def _check_scale(scale: Object | None, path: str) -> Iterable[FieldError]:
    if scale is None:
        return
    for field, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        value = scale.get(field, "")
        if not value:
            yield FieldError.required(f"{path}.{field}")
        elif not value.startswith(root):
            yield FieldError.invalid(f"{path}.{field}", value, f"should be a json path under {root[:-1]}")
