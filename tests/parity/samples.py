"""Objects that several conversations begin with."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
GROUP = "parity.example.dev"


def pod_spec(**more: Any) -> Object:
    """A pod that no scheduler takes, in a cluster either, and without the account's token, whose volume has a
    generated name."""
    return {
        "schedulerName": "nobody",
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "i:1"}],
        **more,
    }


def template(**more: Any) -> Object:
    """A pod template labelled `app: web`."""
    return {"metadata": {"labels": {"app": "web"}}, "spec": pod_spec(**more)}


def workload(name: str, **spec: Any) -> Object:
    """What StatefulSets, Deployments, DaemonSets and ReplicaSets have in common."""
    selector = {"matchLabels": {"app": "web"}}
    return {"metadata": {"name": name}, "spec": {"selector": selector, "template": template(), **spec}}


def claim_template(name: str = "data", **spec: Any) -> Object:
    """A claim that is bound to nothing."""
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {"metadata": {"name": name}, "spec": {"storageClassName": "", **wanted, **spec}}


def config_map(name: str, **meta: Any) -> Object:
    return {"metadata": {"name": name, **meta}}


def owner(kind: str, name: str, uid: str, api_version: str = "v1", **more: Any) -> Object:
    """An owner reference; `uid` may be what an earlier step saved."""
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, **more}


def crd(
    plural: str,
    kind: str,
    spec: Object,
    *,
    status: Object | None = None,
    scope: str = "Namespaced",
    **more: Any,
) -> Object:
    """A CRD of the tests' group with a schema for spec and, with `status`, a status subresource; `more` goes
    into its one version."""
    properties: Object = {"spec": spec}
    version: Object = {"name": "v1", "served": True, "storage": True, **more}
    if status is not None:
        properties["status"] = status
        version["subresources"] = {"status": {}, **version.get("subresources", {})}
    version["schema"] = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"plural": plural, "kind": kind},
            "versions": [version],
        },
    }


def custom(kind: str, name: str, spec: Any = None, **more: Any) -> Object:
    """An object of such a CRD."""
    obj = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, **more}
    return obj if spec is None else {**obj, "spec": spec}


def going(_code: int, body: Any) -> bool:
    """That the deletion of an object has begun, for `until`."""
    return "deletionTimestamp" in body.get("metadata", {})
