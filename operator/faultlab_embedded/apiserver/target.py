"""What a request's path and query speak of: resource, version, namespace, name, subresource, options."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from faultlab_embedded.store.catalog import Catalog, Resource
from faultlab_embedded.store.errors import BadRequest, FieldError, Invalid, NotFound
from faultlab_embedded.store.registry import Selection, Write
from faultlab_embedded.store.selectors import field_terms

MAX_MANAGER_LENGTH = 128
_OPTIONS = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions"}


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed path. `rest` is what follows the subresource (a proxy's path, with its leading slash)."""

    resource: Resource
    version: str
    namespace: str | None
    name: str | None = None
    subresource: str | None = None
    rest: str = ""


def parse_target(catalog: Catalog, group: str, version: str, tail: str) -> Target:
    """The target of `/api/v1/TAIL` or `/apis/GROUP/VERSION/TAIL`; NotFound where nothing is served there."""
    parts = tail.split("/")
    namespace = None
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize", ""):
        namespace, parts = parts[1], parts[2:]
    resource = catalog.at_path(group, version, parts[0])
    if namespace is not None and not resource.namespaced:
        raise NotFound.path()
    name = parts[1] if len(parts) > 1 and parts[1] else None
    if name and resource.namespaced and namespace is None:
        raise NotFound.path()
    subresource = parts[2] if len(parts) > 2 and parts[2] else None
    rest = "/" + "/".join(parts[3:]) if len(parts) > 3 else ""
    return Target(resource, version, namespace, name, subresource, rest)


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean parameter; Kubernetes takes everything but `false` and `0` as true."""
    return query.get(name, "false").lower() not in ("false", "0")


def integer(query: Mapping[str, str], name: str, *, least: int | None = None) -> int | None:
    """A number, or None where it is not given; BadRequest where it is none or too small."""
    text = query.get(name, "")
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        raise BadRequest(f"strconv.ParseInt: parsing {json.dumps(text)}: invalid syntax") from None
    if least is not None and value < least:
        raise BadRequest(f"invalid {name}: {value} is less than {least}")
    return value


def version_number(query: Mapping[str, str]) -> int | None:
    """resourceVersion, or None where it is not given. Raises ValueError with kube-apiserver's words."""
    text = query.get("resourceVersion", "")
    if text and not re.fullmatch(r"[0-9]+", text):
        shown = json.dumps(text)
        raise ValueError(
            f"resourceVersion: Invalid value: {shown}: strconv.ParseUint: parsing {shown}: invalid syntax"
        )
    return int(text) if text else None


def selection_of(target: Target, query: Mapping[str, str]) -> Selection:
    """Namespace and selectors of a list or watch."""
    fields = query.get("fieldSelector") or None
    if target.name is not None:
        fields = f"metadata.name={target.name}"
    for path, _, _ in field_terms(fields) if fields else ():
        if path not in ("metadata.name", "metadata.namespace") and path not in target.resource.selectable:
            raise BadRequest(_unknown_field(target.resource, path))
    return Selection.parse(target.namespace, query.get("labelSelector"), fields)


def _unknown_field(resource: Resource, path: str) -> str:
    if resource.selectable or resource.custom:
        return f"field label not supported: {path}"
    return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def write_of(request: web.Request) -> Write:
    """How a write is meant, from dryRun, fieldManager and fieldValidation."""
    query = request.query
    dry_run = query.getall("dryRun", [])
    kind = _OPTIONS.get(request.method, "DeleteOptions")
    if any(value != "All" for value in dry_run):
        error = FieldError.not_supported("dryRun", dry_run, ["All"])
        raise Invalid.of(kind, "meta.k8s.io", "", [error])
    validation = query.get("fieldValidation") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        error = FieldError.not_supported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"])
        raise Invalid.of(kind, "meta.k8s.io", "", [error])
    if len(query.get("fieldManager", "")) > MAX_MANAGER_LENGTH:
        error = FieldError.too_long("fieldManager", MAX_MANAGER_LENGTH)
        raise Invalid.of(kind, "meta.k8s.io", "", [error])
    manager = (
        query.get("fieldManager") or request.headers.get("User-Agent", "").partition("/")[0] or "unknown"
    )
    return Write(
        manager=manager[:MAX_MANAGER_LENGTH],
        dry_run=bool(dry_run),
        strict=validation == "Strict",
        warnings=[] if validation == "Warn" else None,
    )
