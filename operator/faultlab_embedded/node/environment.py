"""A container's environment, computed from the pod and what it refers to.

Pure but for the lookups passed in.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

Object = Mapping[str, Any]
Lookup = Callable[[str, str], Object | None]
"""(`configmaps` or `secrets`, name in the pod's namespace) -> object or None."""

_REFERENCE = re.compile(r"\$(\$|\(([^()$]*)\))")


class ConfigError(Exception):
    """The pod refers to something that is not there; the message names it (CreateContainerConfigError)."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replaces `$(NAME)`; `$$` is a dollar sign; an unknown name stays as it is written."""

    def replace(match: re.Match[str]) -> str:
        if match.group(1) == "$":
            return "$"
        return values.get(match.group(2), match.group(0))

    return _REFERENCE.sub(replace, text)


def field_value(pod: Object, path: str) -> str:
    """A field of the downward API. Raises ConfigError for one that does not exist."""
    meta, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    subscript = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
    if subscript:
        return str((meta.get(subscript.group(1)) or {}).get(subscript.group(2), ""))
    simple: dict[str, Callable[[], str]] = {
        "metadata.name": lambda: meta["name"],
        "metadata.namespace": lambda: meta["namespace"],
        "metadata.uid": lambda: meta["uid"],
        "metadata.labels": lambda: _pairs(meta.get("labels")),
        "metadata.annotations": lambda: _pairs(meta.get("annotations")),
        "spec.nodeName": lambda: spec.get("nodeName", ""),
        "spec.serviceAccountName": lambda: spec.get("serviceAccountName", "default"),
        "status.podIP": lambda: status.get("podIP", ""),
        "status.podIPs": lambda: status.get("podIP", ""),
        "status.hostIP": lambda: status.get("hostIP", ""),
        "status.hostIPs": lambda: status.get("hostIP", ""),
    }
    if path not in simple:
        raise ConfigError(
            f"fieldRef {path!r} is not a field of the downward API; use one of {', '.join(simple)}"
        )
    return str(simple[path]())


def resource_value(container: Object, reference: Object) -> str:
    """A `resourceFieldRef`: the container's request or limit divided by the divisor, rounded up."""
    kind, _, name = str(reference.get("resource", "")).partition(".")
    amount = ((container.get("resources") or {}).get(kind) or {}).get(name)
    if amount is None:
        return "0"
    return str(-(-quantity_milli(str(amount)) // quantity_milli(str(reference.get("divisor") or "1"))))


_SUFFIX_MILLI = {
    "m": 1,
    "": 1000,
    **{unit: 1000 * 1000 ** (power + 1) for power, unit in enumerate("kMGTPE")},
    **{unit + "i": 1000 * 1024 ** (power + 1) for power, unit in enumerate("KMGTPE")},
}


def quantity_milli(text: str) -> int:
    """A Kubernetes quantity (`100m`, `64Mi`) in thousandths. Raises ConfigError."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)", text)
    if not match or match.group(2) not in _SUFFIX_MILLI:
        raise ConfigError(f"{text!r} is not a quantity such as 100m, 1, 64Mi")
    return max(1, round(float(match.group(1)) * int(_SUFFIX_MILLI[match.group(2)])))


def _pairs(values: Mapping[str, str] | None) -> str:
    return "\n".join(f'{key}="{value}"' for key, value in sorted((values or {}).items()))


def container_environment(
    pod: Object, container: Object, base: Mapping[str, str], lookup: Lookup
) -> dict[str, str]:
    """`base`, then `envFrom`, then `env` in order, each able to refer to those before it.

    Raises ConfigError.
    """
    env = dict(base)
    for source in container.get("envFrom") or ():
        env.update(_env_from(source, lookup))
    for entry in container.get("env") or ():
        value = _env_value(pod, container, entry, env, lookup)
        if value is not None:
            env[entry["name"]] = value
    return env


def _env_from(source: Object, lookup: Lookup) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for key, resource in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
        if reference := source.get(key):
            data = _data(resource, reference["name"], bool(reference.get("optional")), lookup)
            return {prefix + name: value.decode(errors="replace") for name, value in data.items()}
    return {}


def _env_value(
    pod: Object, container: Object, entry: Object, env: Mapping[str, str], lookup: Lookup
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(str(entry.get("value") or ""), env)
    if reference := source.get("fieldRef"):
        return field_value(pod, reference["fieldPath"])
    if reference := source.get("resourceFieldRef"):
        return resource_value(container, reference)
    for key, resource in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
        if reference := source.get(key):
            optional = bool(reference.get("optional"))
            data = _data(resource, reference["name"], optional, lookup)
            if reference["key"] in data:
                return data[reference["key"]].decode(errors="replace")
            if optional:
                return None
            raise ConfigError(f"couldn't find key {reference['key']} in {resource[:-1]} {reference['name']}")
    raise ConfigError(f"env {entry['name']!r}: valueFrom has no source that the embedded world knows")


def _data(resource: str, name: str, optional: bool, lookup: Lookup) -> dict[str, bytes]:
    found = lookup(resource, name)
    if found is None:
        if optional:
            return {}
        raise ConfigError(f'{resource[:-1]} "{name}" not found')
    return object_data(resource, found)


def object_data(resource: str, obj: Object) -> dict[str, bytes]:
    """What a ConfigMap or Secret holds, as bytes."""
    if resource == "secrets":
        held = {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
        held.update({key: value.encode() for key, value in (obj.get("stringData") or {}).items()})
        return held
    held = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    held.update({key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()})
    return held
