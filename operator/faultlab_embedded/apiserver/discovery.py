"""Discovery: which groups, versions and resources there are."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from faultlab_embedded.apiserver.formats import Object, reply_object
from faultlab_embedded.store.catalog import ALL_VERBS, Catalog, Resource
from faultlab_embedded.store.errors import NotFound

_REVIEWS = {
    ("authorization.k8s.io", "v1"): ("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("authentication.k8s.io", "v1"): ("tokenreviews", "TokenReview"),
}
"""Answered and never stored; see `reviews`."""

CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_SUBRESOURCES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "log": ("", "", "Pod", ("get",)),
    "proxy": ("", "", "PodProxyOptions", ("create", "delete", "get", "patch", "update")),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
}


class Discovery:
    """Handlers of /api, /apis and the documents below them, computed from the catalog as it is."""

    def __init__(self, catalog: Catalog, git_version: str) -> None:
        self._catalog = catalog
        self._git_version = git_version

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/api", self.api_versions),
            web.get("/apis", self.api_groups),
            web.get("/api/v1", self.core_resources),
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
                "gitVersion": self._git_version,
                "gitCommit": "",
                "gitTreeState": "clean",
                "buildDate": "1970-01-01T00:00:00Z",
                "goVersion": "",
                "compiler": "cpython",
                "platform": "linux/amd64",
            }
        )

    async def api_versions(self, _: web.Request) -> web.Response:
        return reply_object({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})

    async def api_groups(self, _: web.Request) -> web.Response:
        groups = [_group(name, versions) for name, versions in self.groups().items()]
        return reply_object({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    async def api_group(self, request: web.Request) -> web.Response:
        name = request.match_info["group"]
        versions = self.groups().get(name)
        if versions is None:
            raise NotFound.path()
        return reply_object({"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)})

    async def core_resources(self, _: web.Request) -> web.Response:
        return self._resources("", "v1")

    async def group_resources(self, request: web.Request) -> web.Response:
        return self._resources(request.match_info["group"], request.match_info["version"])

    def groups(self) -> dict[str, list[str]]:
        """Named groups with their versions, preferred first."""
        groups: dict[str, list[str]] = {}
        for resource in self._catalog:
            if resource.group:
                known = groups.setdefault(resource.group, [])
                known.extend(version for version in resource.versions if version not in known)
        for group, version in _REVIEWS:
            groups.setdefault(group, [version])
        return groups

    def _resources(self, group: str, version: str) -> web.Response:
        resources: list[Object] = []
        for resource in self._catalog:
            if resource.group == group and version in resource.versions:
                resources += _entries(resource)
        if (group, version) in _REVIEWS:
            plural, kind = _REVIEWS[group, version]
            resources.append(
                {
                    "name": plural,
                    "singularName": kind.lower(),
                    "namespaced": False,
                    "kind": kind,
                    "verbs": ["create"],
                }
            )
        if not resources:
            raise NotFound.path()
        body: dict[str, Any] = {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": sorted(resources, key=lambda entry: str(entry["name"]).partition("/")[0]),
        }
        return reply_object(body)


def _group(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _entries(resource: Resource) -> list[Object]:
    """The resource and its subresources as discovery lists them."""
    main: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(CUSTOM_VERBS if resource.custom else ALL_VERBS),
    }
    if resource.short_names:
        main["shortNames"] = list(resource.short_names)
    if resource.categories:
        main["categories"] = list(resource.categories)
    entries = [main]

    def add(name: str, kind: str, verbs: tuple[str, ...], group: str = "", version: str = "") -> None:
        entry: Object = {"name": f"{resource.plural}/{name}", "singularName": ""}
        entry |= {"namespaced": resource.namespaced, "kind": kind, "verbs": list(verbs)}
        if version:
            entry |= {"group": group, "version": version}
        entries.append(entry)

    if resource.has_status:
        add("status", resource.kind, ("get", "patch", "update"))
    if resource.scale is not None:
        add("scale", "Scale", ("get", "patch", "update"), "autoscaling", "v1")
    for name in resource.subresources:
        group, version, kind, verbs = _SUBRESOURCES[name]
        add(name, kind, verbs, group, version)
    return entries
