"""What a request's path and query speak of: resource, version, namespace, name, subresource, options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from faultlab_embedded.store.catalog import Catalog, Resource
from faultlab_embedded.store.errors import BadRequest, FieldError, Invalid, NotFound
from faultlab_embedded.store.registry import Selection, Write
from faultlab_embedded.store.selectors import field_terms

FieldValidation = Literal["Strict", "Warn", "Ignore"]
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
    """A boolean parameter; Kubernetes takes `true` and `1`, and an empty value as true."""
    return query.get(name, "false").lower() in ("true", "1", "")


def integer(query: Mapping[str, str], name: str, *, least: int = 0) -> int | None:
    """A number, or None where it is not given; BadRequest where it is none or too small."""
    text = query.get(name, "")
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        raise BadRequest(f"invalid {name}: {text!r} is not a number") from None
    if value < least:
        raise BadRequest(f"invalid {name}: {value} is less than {least}")
    return value


def selection_of(target: Target, query: Mapping[str, str]) -> Selection:
    """Namespace and selectors of a list or watch."""
    fields = query.get("fieldSelector") or None
    if target.name is not None:
        fields = f"metadata.name={target.name}"
    for path, _, _ in field_terms(fields) if fields else ():
        if path not in ("metadata.name", "metadata.namespace") and path not in target.resource.selectable:
            raise BadRequest(f"field label not supported: {path}")
    return Selection.parse(target.namespace, query.get("labelSelector"), fields)


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
    manager = (
        query.get("fieldManager") or request.headers.get("User-Agent", "").partition("/")[0] or "unknown"
    )
    return Write(
        manager=manager[:MAX_MANAGER_LENGTH],
        dry_run=bool(dry_run),
        strict=validation == "Strict",
        warnings=[] if validation == "Warn" else None,
    )
