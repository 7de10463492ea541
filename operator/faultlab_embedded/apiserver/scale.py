"""The scale subresource: one small object through which replicas are read and set."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from faultlab_embedded.apiserver.formats import Object, accepted, read_body, reply_object
from faultlab_embedded.apiserver.patching import read_change
from faultlab_embedded.apiserver.target import Target, write_of
from faultlab_embedded.schema.builtin import schema_of
from faultlab_embedded.schema.decoding import type_error
from faultlab_embedded.store.catalog import Resource, ScalePaths
from faultlab_embedded.store.errors import (
    Conflict,
    FieldError,
    Invalid,
    MethodNotAllowed,
    PatchFailed,
    Undecodable,
)
from faultlab_embedded.store.registry import Registry


class Scales:
    """Handlers of `.../scale` for every resource that has it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def handle(self, request: web.Request, target: Target) -> web.Response:
        want = accepted(request)
        name = target.name or ""
        current = scale_of(target.resource, self._registry.get(target.resource.key, target.namespace, name))
        if request.method == "GET":
            return reply_object(current, as_yaml=want.yaml)
        if request.method == "PUT":
            wanted = await read_body(request, expected="Scale")
        elif request.method == "PATCH":
            wanted = (await read_change(request, target.resource))(current)
        else:
            raise MethodNotAllowed
        if wrong := type_error(wanted, schema_of("autoscaling", "v1", "Scale") or {}):
            if request.method == "PATCH":
                raise PatchFailed.making(wanted, wrong)
            raise Undecodable("Scale", "v1", "Scale", wrong)
        replicas = _replicas(wanted, name)
        version = (wanted.get("metadata") or {}).get("resourceVersion")
        paths = _paths(target.resource)

        def change(obj: Object) -> Object:
            if version and version != obj["metadata"]["resourceVersion"]:
                raise Conflict.of(target.resource.key, name)
            return _set(obj, paths.spec_replicas, replicas)

        scaled = self._registry.modify(
            target.resource.key, target.namespace, name, change, None, write_of(request)
        )
        return reply_object(scale_of(target.resource, scaled), as_yaml=want.yaml)


def scale_of(resource: Resource, obj: Object) -> Object:
    """The Scale of an object."""
    paths, meta = _paths(resource), obj["metadata"]
    selector = _selector(_get(obj, paths.selector) if paths.selector else _get(obj, "spec.selector"))
    status: Object = {"replicas": _get(obj, paths.status_replicas) or 0}
    if selector:
        status["selector"] = selector
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in kept if key in meta},
        # None is left out, as kube-apiserver does it.
        "spec": {"replicas": replicas} if (replicas := _get(obj, paths.spec_replicas)) else {},
        "status": status,
    }


def _paths(resource: Resource) -> ScalePaths:
    assert resource.scale is not None  # the router sends only such resources here
    return resource.scale


def _replicas(scale: Object, name: str) -> int:
    replicas = int((scale.get("spec") or {}).get("replicas") or 0)
    if replicas < 0:
        error = FieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise Invalid.of("Scale", "autoscaling", name, [error])
    return replicas


def _get(obj: Any, path: str) -> Any:
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def _set(obj: Object, path: str, value: int) -> Object:
    *parents, last = path.split(".")
    inner = obj
    for part in parents:
        inner = inner.setdefault(part, {})
    inner[last] = value
    return obj


def _selector(value: Any) -> str:
    """A selector as text; CRDs store theirs as text already."""
    if not isinstance(value, dict):
        return str(value or "")
    terms = [f"{key}={wanted}" for key, wanted in sorted((value.get("matchLabels") or {}).items())]
    for expression in value.get("matchExpressions") or ():
        key, operator = expression["key"], expression["operator"]
        if operator in ("In", "NotIn"):
            terms.append(f"{key} {operator.lower()} ({','.join(expression.get('values') or ())})")
        else:
            terms.append(key if operator == "Exists" else f"!{key}")
    return ",".join(terms)
