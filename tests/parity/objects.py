"""Objects that conversations send."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def configmap(name: str, data: dict[str, str] | None = None, **meta: Any) -> Object:
    obj: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}}
    return obj if data is None else {**obj, "data": data}


def pod(name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    """A pod that nobody schedules, without a token's volume."""
    meta: Object = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod_spec(**spec)}


def pod_spec(**more: Any) -> Object:
    base = {"schedulerName": "nobody", "automountServiceAccountToken": False}
    return {**base, "containers": [{"name": "c", "image": "i:1"}], **more}


def template(**labels: str) -> Object:
    """A pod template with these labels."""
    return {"metadata": {"labels": labels}, "spec": pod_spec()}


def workload(kind: str, name: str, **spec: Any) -> Object:
    """An object of apps/v1 without replicas, unless `spec` says otherwise."""
    base: Object = {"selector": {"matchLabels": {"app": name}}, "template": template(app=name)}
    if kind != "DaemonSet":
        base["replicas"] = 0
    if kind == "StatefulSet":
        base["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {**base, **spec}}


def service(name: str, **spec: Any) -> Object:
    """A headless Service."""
    base = {"clusterIP": "None", "ports": [{"name": "http", "port": 80}], "selector": {"app": name}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {**base, **spec}}


def widget(name: str, spec: Object | None = None, **meta: Any) -> Object:
    obj: Object = {"apiVersion": WIDGETS, "kind": "Widget", "metadata": {"name": name, **meta}}
    return obj if spec is None else {**obj, "spec": spec}


WIDGETS = "parity.example.dev/v1"
WIDGET_CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.parity.example.dev"},
    "spec": {
        "group": "parity.example.dev",
        "scope": "Namespaced",
        "names": {
            "plural": "widgets",
            "singular": "widget",
            "kind": "Widget",
            "shortNames": ["wi"],
            "categories": ["parity"],
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
                },
                "selectableFields": [{"jsonPath": ".spec.colour"}],
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Colour", "type": "string", "jsonPath": ".spec.colour", "priority": 1},
                    {
                        "name": "Ready",
                        "type": "string",
                        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
                        "description": "whether it is",
                    },
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1, "maximum": 9},
                                    "colour": {"type": "string"},
                                    "tags": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "set",
                                        "items": {"type": "string"},
                                    },
                                    "parts": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {
                                                "name": {"type": "string"},
                                                "count": {"type": "integer"},
                                            },
                                        },
                                    },
                                    "options": {
                                        "type": "object",
                                        "additionalProperties": {"type": "string"},
                                    },
                                },
                            },
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            },
                        },
                    }
                },
            }
        ],
    },
}
