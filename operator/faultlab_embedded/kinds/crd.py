"""CustomResourceDefinitions: a schema is refused here that objects could not be checked against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faultlab_embedded.kinds.base import BuiltinStrategy
from faultlab_embedded.schema.celrules import rule_errors
from faultlab_embedded.schema.jsonpath import compile_path
from faultlab_embedded.schema.wellformed import check_schema
from faultlab_embedded.store import names
from faultlab_embedded.store.errors import FieldError
from faultlab_embedded.store.objects import now_rfc3339
from faultlab_embedded.store.strategy import Object

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")


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
        if not version.get("name"):
            errors.append(FieldError.required(f"spec.versions[{index}].name"))
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        path = f"{_path_of('schema', versions, index, 'validation')}.openAPIV3Schema"
        if not schema:
            errors.append(FieldError.required(path, "schemas are required"))
            continue
        errors += check_schema(schema, path)
        errors += rule_errors(schema, path)
        columns = _path_of("additionalPrinterColumns", versions, index, "additionalPrinterColumns")
        errors += _check_columns(version.get("additionalPrinterColumns") or [], columns)
        scale = (version.get("subresources") or {}).get("scale")
        errors += _check_scale(scale, f"{_path_of('subresources', versions, index, 'subresources')}.scale")
    return list(dict.fromkeys(errors))


def _path_of(part: str, versions: list[Any], index: int, shared: str) -> str:
    """Where a part of a version is told to be: what all versions have in common, Kubernetes moves up."""
    alike = all(version.get(part) == versions[0].get(part) for version in versions)
    return f"spec.{shared}" if alike else f"spec.versions[{index}].{part}"


def _check_columns(columns: list[Object], path: str) -> Iterable[FieldError]:
    for index, column in enumerate(columns):
        where = f"{path}[{index}]"
        for field in ("name", "type", "jsonPath"):
            if not column.get(field):
                yield FieldError.required(f"{where}.{field}")
        if column.get("type") and column["type"] not in _COLUMN_TYPES:
            detail = f"must be one of {','.join(_COLUMN_TYPES)}"
            yield FieldError.invalid(f"{where}.type", column["type"], detail)
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
