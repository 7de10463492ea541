"""Discovery: which groups, versions and resources there are."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from faultlab_embedded.apiserver.formats import Object, accepted, aggregated, reply_object
from faultlab_embedded.store.catalog import ALL_VERBS, Catalog, Resource
from faultlab_embedded.store.errors import NotFound, NotServed

_REVIEWS = {
    ("authorization.k8s.io", "v1"): ("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("authentication.k8s.io", "v1"): ("tokenreviews", "TokenReview"),
}
"""Answered and never stored; see `reviews`."""

CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_PROXIED = ("create", "delete", "get", "patch", "update")
_SUBRESOURCES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "log": ("", "", "{kind}", ("get",)),
    "proxy": ("", "", "{kind}ProxyOptions", _PROXIED),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
}
_ORDER = (
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
)
"""Kubernetes' own groups by priority: clients take the first that has the resource they look for."""


class Discovery:
    """Handlers of /api, /apis and the documents below them, computed from the catalog as it is."""

    def __init__(self, catalog: Catalog, git_version: str) -> None:
        self._catalog = catalog
        self._git_version = git_version

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/api", self.api_versions),
            web.get("/apis", self.api_groups),
            web.get("/api/{version}", self.core_resources),
            web.get("/apis/{group}", self.api_group),
            web.get("/apis/{group}/{version}", self.group_resources),
            web.get("/version", self.version),
        ]

    async def version(self, _: web.Request) -> web.Response:
        major, minor = self._git_version.lstrip("v").split(".")[:2]
        return reply_object(
            {
                "major": major,
                "minor": minor,
                "emulationMajor": major,
                "emulationMinor": minor,
                "minCompatibilityMajor": major,
                "minCompatibilityMinor": str(int(minor) - 1),
                "gitVersion": self._git_version,
                "gitCommit": "",
                "gitTreeState": "clean",
                "buildDate": "1970-01-01T00:00:00Z",
                "goVersion": "",
                "compiler": "cpython",
                "platform": "linux/amd64",
            }
        )

    async def api_versions(self, request: web.Request) -> web.Response:
        if (shape := aggregated(request)) is not None:
            return reply_object(self._aggregated({"": ["v1"]}), content_type=shape)
        here = [{"clientCIDR": "0.0.0.0/0", "serverAddress": request.host}]
        return _reply(
            request, {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": here}
        )

    async def api_groups(self, request: web.Request) -> web.Response:
        groups = self.groups()
        if (shape := aggregated(request)) is not None:
            return reply_object(self._aggregated(groups), content_type=shape)
        listed = [_group(name, versions) for name, versions in groups.items()]
        return _reply(request, {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})

    async def api_group(self, request: web.Request) -> web.Response:
        name = request.match_info["group"]
        versions = self.groups().get(name)
        if versions is None:
            raise NotServed
        return _reply(request, {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)})

    async def core_resources(self, request: web.Request) -> web.Response:
        return self._resources(request, "", request.match_info["version"])

    async def group_resources(self, request: web.Request) -> web.Response:
        return self._resources(request, request.match_info["group"], request.match_info["version"])

    def groups(self) -> dict[str, list[str]]:
        """Named groups with their versions, preferred first; Kubernetes' own before those of CRDs."""
        groups: dict[str, list[str]] = {}
        for resource in self._catalog:
            if resource.group:
                known = groups.setdefault(resource.group, [])
                known.extend(version for version in resource.versions if version not in known)
        for group, version in _REVIEWS:
            groups.setdefault(group, [version])
        own = {name: groups.pop(name) for name in _ORDER if name in groups}
        return own | dict(sorted(groups.items()))

    def _entries(self, group: str, version: str) -> list[Object]:
        """What discovery lists of one version of a group, sorted by name."""
        entries: list[Object] = []
        for resource in self._catalog:
            if resource.group == group and version in resource.versions:
                entries += _entries(resource)
        if (group, version) in _REVIEWS:
            plural, kind = _REVIEWS[group, version]
            about = {"name": plural, "singularName": kind.lower(), "namespaced": False}
            entries.append({**about, "kind": kind, "verbs": ["create"]})
        # Those of a CRD stay as they are inside their resource: status before scale.
        own = self._is_own(group)
        return sorted(entries, key=lambda entry: str(entry["name"]) if own else _plural(entry))

    def _resources(self, request: web.Request, group: str, version: str) -> web.Response:
        resources = self._entries(group, version)
        if not resources:
            raise NotFound.path() if self._is_own(group) else NotServed()
        body: dict[str, Any] = {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": resources,
        }
        if not group:
            del body["apiVersion"]
        return _reply(request, body)

    def _is_own(self, group: str) -> bool:
        """Whether a group is Kubernetes' own."""
        return group in _ORDER or self._catalog.is_own_group(group)

    def _said(self, group: str, version: str) -> Object:
        """What is written as group and version of kinds that are not another group's: Kubernetes' own groups
        leave it to the reader."""
        own = self._is_own(group)
        return {"group": "", "version": ""} if own else {"group": group, "version": version}

    def _aggregated(self, groups: dict[str, list[str]]) -> Object:
        """Groups, versions and resources in one document (apidiscovery.k8s.io/v2)."""
        items = []
        for name, versions in groups.items():
            listed = [
                {
                    "version": version,
                    "resources": list(_nested(self._entries(name, version), self._said(name, version))),
                    "freshness": "Current",
                }
                for version in versions
            ]
            items.append({"metadata": {"name": name} if name else {}, "versions": listed})
        head = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}}
        return {**head, "items": items}


def _reply(request: web.Request, body: Object) -> web.Response:
    return reply_object(body, as_yaml=accepted(request, whole_only=True).yaml)


def _group(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _entries(resource: Resource) -> list[Object]:
    """The resource and its subresources as discovery lists them."""
    verbs: tuple[str, ...] = CUSTOM_VERBS if resource.custom else ALL_VERBS
    main: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": [verb for verb in verbs if resource.collection_deletes or verb != "deletecollection"],
    }
    if resource.short_names:
        main["shortNames"] = list(resource.short_names)
    if resource.categories:
        main["categories"] = list(resource.categories)
    main["storageVersionHash"] = _storage_hash(resource)
    entries = [main]

    def add(name: str, kind: str, verbs: tuple[str, ...], group: str = "", version: str = "") -> None:
        entry: Object = {"name": f"{resource.plural}/{name}", "singularName": ""}
        entry["namespaced"] = resource.namespaced
        if version:
            entry |= {"group": group, "version": version}
        entries.append({**entry, "kind": kind, "verbs": list(verbs)})

    if resource.has_status:
        add("status", resource.kind, ("get", "patch", "update"))
    if resource.scale is not None:
        add("scale", "Scale", ("get", "patch", "update"), "autoscaling", "v1")
    for name in resource.subresources:
        group, version, kind, verbs = _SUBRESOURCES[name]
        add(name, kind.format(kind=resource.kind), verbs, group, version)
    return entries


def _storage_hash(resource: Resource) -> str:
    """Which group, version and kind the objects are stored as, as kube-apiserver hashes it."""
    group = "" if resource.stored_as is not None else resource.group
    text = f"{group}/{resource.storage_version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def _plural(entry: Object) -> str:
    return str(entry["name"]).partition("/")[0]


def _nested(entries: list[Object], said: Object) -> Iterator[Object]:
    """Entries as aggregated discovery has them: subresources inside their resource."""
    for entry in entries:
        plural, _, subresource = entry["name"].partition("/")
        if subresource:
            continue
        below = [
            {
                "subresource": other["name"].partition("/")[2],
                "responseKind": _response_kind(other, said),
                "verbs": other["verbs"],
            }
            for other in entries
            if other["name"].startswith(f"{plural}/")
        ]
        yield {
            "resource": plural,
            "responseKind": _response_kind(entry, said),
            "scope": "Namespaced" if entry["namespaced"] else "Cluster",
            "singularResource": entry["singularName"],
            "verbs": entry["verbs"],
            **{key: entry[key] for key in ("shortNames", "categories") if key in entry},
            **({"subresources": below} if below else {}),
        }


def _response_kind(entry: Object, said: Object) -> Object:
    return {**said, "kind": entry["kind"]} | {key: entry[key] for key in ("group", "version") if key in entry}
