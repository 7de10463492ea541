"""What is said to both API servers: conversations, which are ordered steps under a category.

Paths that begin with a resource (`configmaps/a`, `things?limit=1`) are in the conversation's own namespace;
others begin with a slash and are taken as they are. In paths and bodies `${ns}` is the namespace, `${name}`
what an earlier step saved from its answer (each server's own).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

CATEGORIES = (
    "discovery",
    "list",
    "watch",
    "json patch",
    "merge patch",
    "strategic merge patch",
    "apply",
    "conflicts",
    "selectors",
    "defaulting",
    "pruning",
    "CEL",
    "Table",
    "deletion with finalizers",
    "owner garbage collection",
    "StatefulSet behaviour",
)

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

HOMES = {
    "configmaps": "/api/v1",
    "endpoints": "/api/v1",
    "events": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
    "pods": "/api/v1",
    "secrets": "/api/v1",
    "serviceaccounts": "/api/v1",
    "services": "/api/v1",
    "controllerrevisions": "/apis/apps/v1",
    "daemonsets": "/apis/apps/v1",
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
    "roles": "/apis/rbac.authorization.k8s.io/v1",
}
"""Namespaced resources that paths may begin with; CRDs that a module of talks brings are added to them."""

Until = Mapping[str, Any] | Callable[[int, Any], bool]
"""What a step waits for: `{"code": 404}`, `{"status.replicas": 3}`, `{"items.#": 2}` (a length), all of them
together; None stands for a field that is not there. Or a function of code and body."""


@dataclass(frozen=True)
class Step:
    """One request and how its answers are used.

    `save`: names for values of the answer, by dotted path. `until`: the request is repeated (to each server)
    until this holds, and only the last answer is compared; GET only. `events`: the request is a watch, and so
    many events are its body; `during` are steps sent while it is open.
    """

    method: str
    path: str
    body: Any = None
    content_type: str | None = None
    accept: str | None = None
    save: Mapping[str, str] = field(default_factory=dict)
    until: Until | None = None
    events: int | None = None
    during: tuple[Step, ...] = ()

    def count(self) -> int:
        """Compared requests."""
        return 1 + sum(step.count() for step in self.during)

    def __str__(self) -> str:
        kind = f" {self.content_type.partition('/')[2]}" if self.content_type else ""
        return f"{self.method} {self.path}{kind}"


@dataclass(frozen=True)
class Conversation:
    """Steps in a namespace of their own.

    `cleanup`: absolute paths of cluster-wide objects to delete afterwards, however it ended. `without`:
    dotted paths in answers that are not compared, because a controller writes them in its own time.
    """

    category: str
    name: str
    steps: tuple[Step, ...]
    cleanup: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.category in CATEGORIES, f"{self.category!r} is none of {CATEGORIES}"

    @property
    def id(self) -> str:
        return f"{self.category}/{self.name}"

    def count(self) -> int:
        return sum(step.count() for step in self.steps)


def talk(
    category: str,
    name: str,
    *steps: Step,
    cleanup: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> Conversation:
    """A conversation."""
    return Conversation(category, name, steps, cleanup, without)


def get(path: str, **more: Any) -> Step:
    return Step("GET", path, **more)


def table(path: str, **more: Any) -> Step:
    return Step("GET", path, accept=TABLE, **more)


def post(path: str, body: Any, **more: Any) -> Step:
    return Step("POST", path, body, **more)


def put(path: str, body: Any, **more: Any) -> Step:
    return Step("PUT", path, body, **more)


def delete(path: str, body: Any = None, **more: Any) -> Step:
    return Step("DELETE", path, body, **more)


def json_patch(path: str, *operations: Mapping[str, Any], **more: Any) -> Step:
    return Step("PATCH", path, list(operations), "application/json-patch+json", **more)


def merge_patch(path: str, body: Any, **more: Any) -> Step:
    return Step("PATCH", path, body, "application/merge-patch+json", **more)


def strategic_patch(path: str, body: Any, **more: Any) -> Step:
    return Step("PATCH", path, body, "application/strategic-merge-patch+json", **more)


def apply(path: str, body: Any, manager: str = "first", *, force: bool = False, **more: Any) -> Step:
    """Server-side apply; no manager is named where `manager` is empty."""
    options = [f"fieldManager={manager}"] if manager else []
    options += ["force=true"] if force else []
    joined = ("&" if "?" in path else "?") + "&".join(options) if options else ""
    return Step("PATCH", path + joined, body, "application/apply-patch+yaml", **more)


def watch(path: str, events: int, *during: Step, **more: Any) -> Step:
    """A watch of so many events; what `during` does happens while it is open."""
    path += ("&" if "?" in path else "?") + "watch=true"
    return Step("GET", path, events=events, during=during, **more)


def at_path(value: Any, path: str) -> Any:
    """The value at a dotted path: `items.0.metadata.name`, `items.#` (its length); None where there is
    nothing."""
    for part in path.split(".") if path else ():
        if part == "#":
            return len(value or ())
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value


def holds(until: Until, code: int, body: Any) -> bool:
    """Whether an answer is the one that a step waits for."""
    if callable(until):
        return bool(until(code, body))
    return all((code if path == "code" else at_path(body, path)) == value for path, value in until.items())


def filled(value: Any, names: Mapping[str, Any]) -> Any:
    """A path or body with `${name}` replaced; a string that is nothing else becomes the saved
    value itself."""
    if isinstance(value, dict):
        return {filled(key, names): filled(inner, names) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filled(inner, names) for inner in value]
    if not isinstance(value, str):
        return value
    if (whole := re.fullmatch(r"\$\{(\w+)\}", value)) is not None:
        return names[whole.group(1)]
    return re.sub(r"\$\{(\w+)\}", lambda found: str(names[found.group(1)]), value)


def address(path: str, homes: Mapping[str, str]) -> str:
    """The request's path as it is sent, with `${ns}` still in it."""
    if path.startswith("/"):
        return path
    resource = re.split(r"[/?]", path, maxsplit=1)[0]
    return f"{homes[resource]}/namespaces/${{ns}}/{path}"
