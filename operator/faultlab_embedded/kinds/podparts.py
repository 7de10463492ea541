"""Checks of the smaller parts of a pod's spec: references in env, files of volumes, tolerations, hooks.

Source: kubernetes `pkg/apis/core/validation`.
"""

from __future__ import annotations

import re
from typing import Any

from faultlab_embedded.kinds.checks import one_of
from faultlab_embedded.schema import quantity
from faultlab_embedded.store import names
from faultlab_embedded.store.errors import FieldError
from faultlab_embedded.store.strategy import Object

HANDLERS = ("exec", "grpc", "httpGet", "sleep", "tcpSocket")
_ENV_FIELDS = re.compile(
    r"metadata\.(name|namespace|uid)|metadata\.(labels|annotations)\['[^']+'\]|"
    r"spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?)"
)
_ENV_RESOURCES = tuple(
    f"{listed}.{name}" for listed in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_FILES = ("configMap", "secret", "projected", "downwardAPI")
_MOST_ID = 2**31 - 1


def check_source(source: Object, path: str) -> list[FieldError]:
    """What is wrong with the one thing that an environment variable's value comes from."""
    errors: list[FieldError] = []
    if "fieldRef" in source:
        field = source["fieldRef"].get("fieldPath", "")
        if not field:
            errors.append(FieldError.required(f"{path}.fieldRef.fieldPath"))
        elif not _ENV_FIELDS.fullmatch(field):
            text = f"error converting fieldPath: field label not supported: {field}"
            errors.append(FieldError.invalid(f"{path}.fieldRef.fieldPath", field, text))
    if "resourceFieldRef" in source:
        resource = source["resourceFieldRef"].get("resource", "")
        where = f"{path}.resourceFieldRef.resource"
        if not resource:
            errors.append(FieldError.required(where))
        elif resource not in _ENV_RESOURCES and "hugepages-" not in resource:
            errors.append(FieldError.not_supported(where, resource, _ENV_RESOURCES))
    for name in ("configMapKeyRef", "secretKeyRef"):
        if name in source:
            errors += names.subdomain(f"{path}.{name}.name", source[name].get("name", ""))
            if not source[name].get("key"):
                errors.append(FieldError.required(f"{path}.{name}.key"))
    return errors


def check_hooks(container: Object, path: str) -> list[FieldError]:
    """That lifecycle hooks and exec probes say what to do."""
    errors = []
    for hook in ("postStart", "preStop"):
        handler = (container.get("lifecycle") or {}).get(hook)
        if handler is not None:
            errors += check_exec(handler, f"{path}.lifecycle.{hook}")
            if not any(name in handler for name in HANDLERS):
                where = f"{path}.lifecycle.{hook}"
                errors.append(FieldError.required(where, "must specify a handler type"))
    policies = ("File", "FallbackToLogsOnError")
    where = f"{path}.terminationMessagePolicy"
    errors += one_of(where, container.get("terminationMessagePolicy"), policies)
    return errors + check_ids(container.get("securityContext") or {}, f"{path}.securityContext")


def check_exec(handler: Object, path: str) -> list[FieldError]:
    """That an exec handler has a command."""
    if "exec" in handler and not handler["exec"].get("command"):
        return [FieldError.required(f"{path}.exec.command")]
    return []


def check_ids(context: Object, path: str) -> list[FieldError]:
    """That users and groups are numbers that there may be."""
    errors = []
    for field in ("fsGroup", "runAsUser", "runAsGroup"):
        value = context.get(field)
        if value is not None and not 0 <= value <= _MOST_ID:
            text = f"must be between 0 and {_MOST_ID}, inclusive"
            errors.append(FieldError.invalid(f"{path}.{field}", value, text))
    return errors


def check_resource_names(resources: Object, path: str) -> list[FieldError]:
    """That a container limits and requests what there is."""
    errors = []
    for listed in ("limits", "requests"):
        for name in resources.get(listed) or {}:
            if name in _RESOURCES or name.startswith("hugepages-"):
                continue
            where = f"{path}.{listed}[{name}]"
            if "/" in name:
                errors += names.qualified(where, name)
                continue
            for text in (
                "must be a standard resource type or fully qualified",
                "must be a standard resource for containers",
            ):
                errors.append(FieldError.invalid(where, name, text))
    return errors


def check_files(volume: Object, path: str) -> list[FieldError]:
    """That the files of a volume have modes, keys and places inside of it."""
    errors: list[FieldError] = []
    for kind in _FILES:
        source = volume.get(kind)
        if source is None:
            continue
        mode = source.get("defaultMode")
        if mode is not None and not 0 <= mode <= 0o777:
            text = "must be a number between 0 and 0777 (octal), both inclusive"
            errors.append(FieldError.invalid(f"{path}.{kind}.defaultMode", mode, text))
        if kind in ("configMap", "secret"):
            for index, item in enumerate(source.get("items") or ()):
                errors += _check_item(item, f"{path}.{kind}.items[{index}]")
    limit = (volume.get("emptyDir") or {}).get("sizeLimit")
    if limit is not None and quantity.parse(limit) < 0:
        text = "SizeLimit field must be a valid resource quantity"
        errors.append(FieldError.forbidden(f"{path}.emptyDir.sizeLimit", text))
    return errors


def _check_item(item: Object, path: str) -> list[FieldError]:
    errors = [] if item.get("key") else [FieldError.required(f"{path}.key")]
    place = str(item.get("path", ""))
    if not place:
        errors.append(FieldError.required(f"{path}.path"))
    elif place.startswith("/"):
        errors.append(FieldError.invalid(f"{path}.path", place, "must be a relative path"))
    elif ".." in place.split("/"):
        errors.append(FieldError.invalid(f"{path}.path", place, "must not contain '..'"))
    return errors


def check_tolerations(tolerations: list[Object], path: str) -> list[FieldError]:
    """That tolerations mean something."""
    errors = []
    for index, toleration in enumerate(tolerations):
        where, effect = f"{path}[{index}]", toleration.get("effect", "")
        operator, value = toleration.get("operator") or "Equal", toleration.get("value")
        if toleration.get("key"):
            errors += names.qualified(f"{where}.key", toleration["key"])
        elif operator != "Exists":
            text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(FieldError.invalid(f"{where}.operator", toleration.get("operator", ""), text))
        if "tolerationSeconds" in toleration and effect != "NoExecute":
            text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(FieldError.invalid(f"{where}.effect", effect, text))
        if operator == "Exists" and value:
            text = "value must be empty when `operator` is 'Exists'"
            errors.append(FieldError.invalid(f"{where}.operator", value, text))
        errors += one_of(f"{where}.operator", operator, ("Equal", "Exists"))
        errors += one_of(f"{where}.effect", effect, ("NoSchedule", "PreferNoSchedule", "NoExecute"))
    return errors


def within(field: str, value: Any, least: int) -> list[FieldError]:
    """That a number of seconds, where given, is one that there may be."""
    if value is None or least <= value <= _MOST_ID:
        return []
    return [FieldError.invalid(field, value, f"must be between {least} and {_MOST_ID}, inclusive")]
