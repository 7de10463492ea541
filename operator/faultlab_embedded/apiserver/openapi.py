"""OpenAPI v3: what `kubectl apply` asks before it sends, and what `kubectl explain` tells."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from aiohttp import web

from faultlab_embedded.apiserver.formats import Object, reply, reply_object
from faultlab_embedded.schema.builtin import META, REFERENCE, definition_name, definitions
from faultlab_embedded.store.catalog import Catalog, Resource
from faultlab_embedded.store.errors import NotAcceptable, NotFound

_PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)


class OpenApi:
    """Handlers of /openapi/v3 and below; a document is made when it is first asked for."""

    def __init__(self, catalog: Catalog, git_version: str) -> None:
        self._catalog = catalog
        self._git_version = git_version
        self._documents: dict[str, bytes] = {}
        self._revision = -1

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/openapi/v3", self.index),
            web.get("/openapi/v3/{path:.+}", self.document),
            web.get("/openapi/v2", self.no_v2),
        ]

    async def index(self, _: web.Request) -> web.Response:
        self._refresh()
        tag = hashlib.sha256(str(self._revision).encode()).hexdigest()[:16].upper()
        paths = {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={tag}"} for path in sorted(self._by_path())
        }
        return reply_object({"paths": paths})

    async def document(self, request: web.Request) -> web.Response:
        self._refresh()
        path = request.match_info["path"]
        if path not in self._documents:
            resources = self._by_path().get(path)
            if resources is None:
                raise NotFound.path()
            self._documents[path] = msgspec.json.encode(_document(path, resources, self._git_version))
        return reply(self._documents[path])

    async def no_v2(self, _: web.Request) -> web.Response:
        raise NotAcceptable("this server has OpenAPI v3 only (/openapi/v3): use kubectl 1.27 or later")

    def _refresh(self) -> None:
        if self._revision != self._catalog.revision:
            self._documents.clear()
            self._revision = self._catalog.revision

    def _by_path(self) -> dict[str, list[tuple[Resource, str]]]:
        found: dict[str, list[tuple[Resource, str]]] = {}
        for resource in self._catalog:
            for version in resource.versions:
                path = f"apis/{resource.group}/{version}" if resource.group else f"api/{version}"
                found.setdefault(path, []).append((resource, version))
        return found


def _document(path: str, resources: list[tuple[Resource, str]], git_version: str) -> Object:
    known = definitions()
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for resource, version in resources:
        name = _schema_name(resource, version)
        if resource.custom:
            _include(f"{META}.ObjectMeta", known, schemas)
            schemas[name] = _custom_schema(resource, version)
        else:
            _include(name, known, schemas)
            if name in schemas:
                schemas[name]["x-kubernetes-group-version-kind"] = [_gvk(resource, version)]
        paths |= _paths(f"/{path}", resource, version, name)
    _include(f"{META}.Status", known, schemas)
    _include(f"{META}.DeleteOptions", known, schemas)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": git_version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _schema_name(resource: Resource, version: str) -> str:
    if resource.custom:
        return f"{'.'.join(reversed(resource.group.split('.')))}.{version}.{resource.kind}"
    return definition_name(resource.group, version, resource.kind)


def _gvk(resource: Resource, version: str) -> dict[str, str]:
    return {"group": resource.group, "kind": resource.kind, "version": version}


def _include(name: str, known: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Add a definition and everything that it refers to."""
    if name in schemas or name not in known:
        return
    schemas[name] = _published(known[name])
    for referred in _references(known[name]):
        _include(referred, known, schemas)


def _published(schema: Any) -> Any:
    """A definition as kube-apiserver publishes it: a described `$ref` is wrapped, int-or-string spelled
    out."""
    if isinstance(schema, list):
        return [_published(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str):
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return {**rest, "allOf": [{"$ref": schema["$ref"]}]} if rest else schema
    result = {key: _published(value) for key, value in schema.items()}
    if result.pop("x-kubernetes-int-or-string", None) is True:
        result["oneOf"] = [{"type": "integer"}, {"type": "string"}]
        if result.get("format") == "quantity":
            del result["format"]
    return result


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for item in schema for name in _references(item)]
    if not isinstance(schema, dict):
        return []
    found = [name for value in schema.values() for name in _references(value)]
    if isinstance(schema.get("$ref"), str):
        found.append(schema["$ref"].removeprefix(REFERENCE))
    return found


def _custom_schema(resource: Resource, version: str) -> Object:
    own = resource.strategy(version).published_schema()
    properties = dict(own.get("properties") or {})
    properties["apiVersion"] = {
        "type": "string",
        "description": "The group and version of the object's schema.",
    }
    properties["kind"] = {"type": "string", "description": "The kind of the object."}
    properties["metadata"] = {
        "description": "Standard object's metadata.",
        "allOf": [{"$ref": f"{REFERENCE}{META}.ObjectMeta"}],
    }
    return {**own, "properties": properties, "x-kubernetes-group-version-kind": [_gvk(resource, version)]}


def _paths(prefix: str, resource: Resource, version: str, schema: str) -> Object:
    """The operations on a resource; what kubectl looks for is the patch with its kind and fieldValidation."""
    base = f"{prefix}/namespaces/{{namespace}}" if resource.namespaced else prefix
    gvk = _gvk(resource, version)
    place = ["namespace"] if resource.namespaced else []
    body = {"$ref": f"{REFERENCE}{schema}"}
    collection: Object = {
        "get": _operation(
            "list", gvk, body, ["labelSelector", "fieldSelector", "limit", "continue", "watch"]
        ),
        "post": _operation("post", gvk, body, ["dryRun", "fieldManager", "fieldValidation"], reads=True),
        "delete": _operation("deletecollection", gvk, body, ["labelSelector", "fieldSelector", "dryRun"]),
        "parameters": [_parameter(name, "path") for name in place],
    }
    single: Object = {
        "get": _operation("get", gvk, body, []),
        "put": _operation("put", gvk, body, ["dryRun", "fieldManager", "fieldValidation"], reads=True),
        "patch": _patch(gvk, body),
        "delete": _operation("delete", gvk, body, ["dryRun", "gracePeriodSeconds", "propagationPolicy"]),
        "parameters": [_parameter(name, "path") for name in ("name", *place)],
    }
    paths: Object = {f"{base}/{resource.plural}": collection, f"{base}/{resource.plural}/{{name}}": single}
    if resource.has_status:
        status = {key: single[key] for key in ("get", "put", "patch", "parameters")}
        paths[f"{base}/{resource.plural}/{{name}}/status"] = status
    return paths


def _operation(action: str, gvk: Object, body: Object, queries: list[str], *, reads: bool = False) -> Object:
    operation: Object = {
        "parameters": [_parameter(name, "query") for name in queries],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": body}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk,
    }
    if reads:
        operation["requestBody"] = {"content": {"*/*": {"schema": body}}, "required": True}
    return operation


def _patch(gvk: Object, body: Object) -> Object:
    operation = _operation("patch", gvk, body, ["dryRun", "fieldManager", "fieldValidation", "force"])
    patch = {"schema": {"type": "object"}}
    operation["requestBody"] = {"content": dict.fromkeys(_PATCH_TYPES, patch), "required": True}
    return operation


def _parameter(name: str, place: str) -> Object:
    kind = {"limit": "integer", "gracePeriodSeconds": "integer", "watch": "boolean", "force": "boolean"}
    parameter: Object = {"name": name, "in": place, "schema": {"type": kind.get(name, "string")}}
    return {**parameter, "required": True} if place == "path" else parameter
