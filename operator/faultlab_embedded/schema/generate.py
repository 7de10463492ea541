"""Writes `builtin.json`, the schemas of the built-in kinds, from Kubernetes' own OpenAPI documents.

Run as `python -m faultlab_embedded.schema.generate DIRECTORY`, where DIRECTORY is `api/openapi-spec/v3` of a
checkout
of kubernetes/kubernetes at the version that `apiserver.settings` names. Only what the served kinds need is
kept, in the form that `builtin` reads: `$ref` beside its description, int-or-string and quantities marked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

OUTPUT = Path(__file__).with_name("builtin.json")
REFERENCE = "#/components/schemas/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1"
ROOTS = {
    "io.k8s.api.core.v1": (
        "ConfigMap Endpoints Event Namespace Node PersistentVolumeClaim Pod Secret Service ServiceAccount"
    ),
    "io.k8s.api.apps.v1": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
    "io.k8s.api.autoscaling.v1": "Scale",
    "io.k8s.api.batch.v1": "Job",
    "io.k8s.api.coordination.v1": "Lease",
    "io.k8s.api.discovery.v1": "EndpointSlice",
    "io.k8s.api.events.v1": "Event",
    "io.k8s.api.networking.v1": "NetworkPolicy",
    "io.k8s.api.policy.v1": "Eviction PodDisruptionBudget",
    "io.k8s.api.rbac.v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "io.k8s.api.storage.v1": "StorageClass",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1": "CustomResourceDefinition",
    META: "DeleteOptions ListMeta Status",
}
_SPECIAL = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
}
_KEPT = (
    "description",
    "type",
    "format",
    "required",
    "x-kubernetes-patch-strategy",
    "x-kubernetes-patch-merge-key",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)


def main(arguments: list[str]) -> int:
    """Write the file anew; returns the process's exit code."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("expected one directory: api/openapi-spec/v3 of kubernetes/kubernetes", file=sys.stderr)
        return 2
    source = read_documents(Path(arguments[0]))
    wanted = [f"{prefix}.{kind}" for prefix, kinds in ROOTS.items() for kind in kinds.split()]
    kept: dict[str, Schema] = {}
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = convert(source[name], name)
            wanted += referred(kept[name])
    lines = [f"{json.dumps(name)}: {json.dumps(schema)}" for name, schema in sorted(kept.items())]
    OUTPUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{OUTPUT}: {len(lines)} definitions")
    return 0


def read_documents(directory: Path) -> dict[str, Schema]:
    """Every definition in a directory of OpenAPI v3 documents."""
    found: dict[str, Schema] = {}
    for path in sorted(directory.glob("*.json")):
        found |= json.loads(path.read_text())["components"].get("schemas", {})
    return found


def convert(schema: Schema, name: str = "") -> Schema:
    """One definition or part of one, in the form that is kept."""
    if name in _SPECIAL:
        described = {"description": schema["description"]} if "description" in schema else {}
        return {**described, "x-kubernetes-int-or-string": True, "format": _SPECIAL[name]}
    result = {key: schema[key] for key in _KEPT if key in schema}
    for part in schema.get("allOf") or ():
        result["$ref"] = part["$ref"]
    if "$ref" in schema:
        result["$ref"] = schema["$ref"]
    if "properties" in schema:
        result["properties"] = {key: convert(value) for key, value in schema["properties"].items()}
    for nested in ("items", "additionalProperties"):
        if isinstance(schema.get(nested), dict):
            result[nested] = convert(schema[nested])
    untyped = result.get("type") in (None, "object") and "$ref" not in result
    if untyped and "properties" not in result and "additionalProperties" not in result:
        result["x-kubernetes-preserve-unknown-fields"] = True
    return result


def referred(schema: Any) -> Iterable[str]:
    """The definitions that a schema refers to."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(REFERENCE)
        for value in schema.values():
            yield from referred(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
