"""Writes `builtin.json`, the schemas of the built-in kinds, from lightkube's models of the Kubernetes API.

Run as `python -m faultlab_embedded.schema.generate`; needs the development dependencies, the server itself
does not. lightkube-models are generated from Kubernetes' swagger and carry types, descriptions and what is
required; they lack how lists merge and what maps hold, which is written down here (source: the struct tags in
kubernetes/api, `patchStrategy`, `patchMergeKey`, `listType`, `listMapKey`).
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import sys
import textwrap
import types
import typing
from datetime import datetime
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

OUTPUT = Path(__file__).with_name("builtin.json")
PREFIXES = {
    "meta_v1": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "resource": "io.k8s.apimachinery.pkg.api.resource",
    "util_intstr": "io.k8s.apimachinery.pkg.util.intstr",
    "runtime": "io.k8s.apimachinery.pkg.runtime",
    "apiextensions_v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
}
ROOTS = {
    "core_v1": (
        "ConfigMap Endpoints Event Namespace Node PersistentVolumeClaim Pod Secret Service ServiceAccount"
    ),
    "apps_v1": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
    "apiextensions_v1": "CustomResourceDefinition",
    "authentication_v1": "TokenReview",
    "authorization_v1": "SelfSubjectAccessReview",
    "autoscaling_v1": "Scale",
    "batch_v1": "Job",
    "coordination_v1": "Lease",
    "discovery_v1": "EndpointSlice",
    "events_v1": "Event",
    "meta_v1": "DeleteOptions ListMeta Status",
    "networking_v1": "NetworkPolicy",
    "policy_v1": "Eviction PodDisruptionBudget",
    "rbac_v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "storage_v1": "StorageClass",
}
# Lists that are merged: (type, field) -> keys, the first of which is the strategic merge patch's.
KEYED: dict[tuple[str, str], tuple[str, ...]] = {
    ("PodSpec", "volumes"): ("name",),
    ("PodSpec", "containers"): ("name",),
    ("PodSpec", "initContainers"): ("name",),
    ("PodSpec", "ephemeralContainers"): ("name",),
    ("PodSpec", "imagePullSecrets"): ("name",),
    ("PodSpec", "hostAliases"): ("ip",),
    ("PodSpec", "schedulingGates"): ("name",),
    ("PodSpec", "resourceClaims"): ("name",),
    ("PodSpec", "topologySpreadConstraints"): ("topologyKey", "whenUnsatisfiable"),
    ("PodStatus", "podIPs"): ("ip",),
    ("PodStatus", "hostIPs"): ("ip",),
    ("Container", "ports"): ("containerPort", "protocol"),
    ("Container", "env"): ("name",),
    ("Container", "volumeMounts"): ("mountPath",),
    ("Container", "volumeDevices"): ("devicePath",),
    ("EphemeralContainer", "ports"): ("containerPort", "protocol"),
    ("EphemeralContainer", "env"): ("name",),
    ("EphemeralContainer", "volumeMounts"): ("mountPath",),
    ("EphemeralContainer", "volumeDevices"): ("devicePath",),
    ("ResourceRequirements", "claims"): ("name",),
    ("ServiceSpec", "ports"): ("port", "protocol"),
    ("ServiceAccount", "secrets"): ("name",),
    ("NodeStatus", "addresses"): ("type",),
    ("ObjectMeta", "ownerReferences"): ("uid",),
}
SETS = {("ObjectMeta", "finalizers"), ("NodeSpec", "podCIDRs"), ("NamespaceSpec", "finalizers")}
RETAIN_KEYS = {("PodSpec", "volumes"), ("PodSpec", "resourceClaims"), ("DeploymentSpec", "strategy")}
ATOMIC = {
    "LabelSelector",
    "NodeSelector",
    "NodeSelectorTerm",
    "ObjectReference",
    "LocalObjectReference",
    "SecretKeySelector",
    "ConfigMapKeySelector",
    "ObjectFieldSelector",
    "ResourceFieldSelector",
    "TypedLocalObjectReference",
    "OwnerReference",
    "RoleRef",
    "Subject",
    "ScopeSelector",
}
QUANTITIES = {
    "limits",
    "requests",
    "capacity",
    "allocatable",
    "allocatedResources",
    "overhead",
    "hard",
    "used",
}
QUANTITY_FIELDS = {"sizeLimit", "divisor"}
BYTES = {("Secret", "data"), ("ConfigMap", "binaryData")}
RAW = {("ManagedFieldsEntry", "fieldsV1"), ("ControllerRevision", "data")}
SCHEMA_MAPS = {"properties", "patternProperties", "definitions"}
ANYTHING = {"FieldsV1", "RawExtension", "JSON", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrArray"}
ANYTHING |= {"JSONSchemaPropsOrStringArray"}


def main() -> int:
    """Write the file anew; returns the process's exit code."""
    definitions = Definitions()
    for module, kinds in ROOTS.items():
        for kind in kinds.split():
            definitions.add(getattr(importlib.import_module(f"lightkube.models.{module}"), kind))
    lines = [
        f"{json.dumps(name)}: {json.dumps(schema)}" for name, schema in sorted(definitions.known.items())
    ]
    OUTPUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{OUTPUT}: {len(lines)} definitions")
    return 0


class Definitions:
    """Schemas by their OpenAPI name, each added with everything that it refers to."""

    def __init__(self) -> None:
        self.known: dict[str, Schema] = {}

    def add(self, model: type) -> str:
        """The name of a model's schema, which is known after this."""
        module = model.__module__.rpartition(".")[2]
        name = f"{_prefix(module)}.{model.__name__}"
        if name in self.known:
            return name
        summary, described = _describe(model.__doc__ or "")
        schema: Schema = {"description": summary, "type": "object"}
        self.known[name] = schema
        if model.__name__ in ATOMIC:
            schema["x-kubernetes-map-type"] = "atomic"
        properties: Schema = {}
        required = []
        hints = typing.get_type_hints(model)
        for field in dataclasses.fields(model):
            wire = str(field.metadata.get("json", field.name))
            properties[wire] = {
                **({"description": described[field.name]} if described.get(field.name) else {}),
                **self._field(model.__name__, wire, hints[field.name]),
            }
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                required.append(wire)
        schema["properties"] = properties
        if required:
            schema["required"] = required
        return name

    def _field(self, owner: str, name: str, hint: Any) -> Schema:
        schema = self._type(owner, name, hint)
        if owner == "JSONSchemaProps" and name in ("default", "example", "enum"):
            return {"x-kubernetes-preserve-unknown-fields": True}
        if name in QUANTITY_FIELDS:
            return {"x-kubernetes-int-or-string": True, "format": "quantity"}
        if (owner, name) in RAW:
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        keys = KEYED.get((owner, name))
        if keys is None and name == "conditions" and owner.endswith("Status"):
            keys = ("type",)
        strategy = ["merge"] if keys or (owner, name) in SETS else []
        strategy += ["retainKeys"] if (owner, name) in RETAIN_KEYS else []
        if strategy:
            schema["x-kubernetes-patch-strategy"] = ",".join(strategy)
        if keys:
            schema["x-kubernetes-patch-merge-key"] = keys[0]
            schema["x-kubernetes-list-type"] = "map"
            schema["x-kubernetes-list-map-keys"] = list(keys)
        elif (owner, name) in SETS:
            schema["x-kubernetes-list-type"] = "set"
        elif schema.get("type") == "array":
            schema["x-kubernetes-list-type"] = "atomic"
        if (owner, name) in (("ServiceSpec", "selector"), ("PodSpec", "nodeSelector")):
            schema["x-kubernetes-map-type"] = "atomic"
        return schema

    def _type(self, owner: str, name: str, hint: Any) -> Schema:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            options = [arg for arg in args if arg is not type(None)]
            if set(options) == {int, str}:
                return {"x-kubernetes-int-or-string": True, "format": "int-or-string"}
            if len(options) != 1:
                return {"x-kubernetes-preserve-unknown-fields": True}
            return self._type(owner, name, options[0])
        if origin is list:
            return {"type": "array", "items": self._type(owner, name, args[0])}
        if hint is dict or origin is dict:
            return {"type": "object", "additionalProperties": self._map_values(owner, name)}
        if hint is datetime:
            return {"type": "string", "format": "date-time"}
        scalars = {str: "string", int: "integer", bool: "boolean", float: "number"}
        if hint in scalars:
            return {"type": scalars[hint]}
        if isinstance(hint, type) and dataclasses.is_dataclass(hint) and hint.__name__ not in ANYTHING:
            return {"$ref": f"#/components/schemas/{self.add(hint)}"}
        return {"x-kubernetes-preserve-unknown-fields": True}

    def _map_values(self, owner: str, name: str) -> Schema:
        if name in QUANTITIES:
            return {"x-kubernetes-int-or-string": True, "format": "quantity"}
        if (owner, name) in BYTES:
            return {"type": "string", "format": "byte"}
        if owner == "JSONSchemaProps":
            if name in SCHEMA_MAPS:
                return {"$ref": f"#/components/schemas/{PREFIXES['apiextensions_v1']}.JSONSchemaProps"}
            return {"x-kubernetes-preserve-unknown-fields": True}
        return {"type": "string"}


def _prefix(module: str) -> str:
    if module in PREFIXES:
        return PREFIXES[module]
    group, _, version = module.rpartition("_")
    return f"io.k8s.api.{group}.{version}"


def _describe(text: str) -> tuple[str, dict[str, str]]:
    """A docstring's summary and its parameters' descriptions."""
    summary, _, parameters = text.partition("**parameters**")
    described = {}
    for entry in re.split(r"\n\s*\* \*\*", parameters)[1:]:
        name, _, rest = entry.partition("**")
        described[name] = _plain(rest.partition("`` - ")[2])
    return _plain(summary), described


def _plain(text: str) -> str:
    paragraphs = re.split(r"\n\s*\n", textwrap.dedent(text).strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip()


if __name__ == "__main__":
    sys.exit(main())
