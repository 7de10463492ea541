"""The resources that are served: their names in every spelling that clients use, and the behaviour of
each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from faultlab_embedded.store import names
from faultlab_embedded.store.errors import FieldError, NotFound, NotServed
from faultlab_embedded.store.strategy import Object, Strategy

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the scale subresource finds its values, as dotted paths without the leading dot."""

    spec_replicas: str = "spec.replicas"
    status_replicas: str = "status.replicas"
    selector: str | None = None


class Conversion(Protocol):
    """How a view of another resource's objects (`Resource.stored_as`) reads and writes them."""

    def outgoing(self, obj: Object) -> Object:
        """A stored object as the view shows it."""
        ...

    def incoming(self, obj: Object) -> Object:
        """An object of the view as it is stored."""
        ...


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource in one group; `versions` are the served ones, the first is preferred."""

    group: str
    versions: tuple[str, ...]
    storage_version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    scale: ScalePaths | None = None
    subresources: tuple[str, ...] = ()
    generation: bool = False
    strategies: dict[str, Strategy] = field(default_factory=dict)
    custom: bool = False
    stored_as: str | None = None
    """The key of the resource that really holds the objects, where this one is a view of it."""
    collection_deletes: bool = True
    """Whether all objects of a namespace, or of the cluster, can be deleted in one request."""
    warning: str = ""
    """What every request on this resource is told, where given."""
    returns_deleted: bool = False
    """Whether a delete answers with the object even where it is gone (Kubernetes decides it kind by kind)."""
    selectable: frozenset[str] = frozenset()
    """Fields that a field selector may name, besides metadata.name and metadata.namespace."""
    name_rule: Callable[[str, str], list[FieldError]] = names.subdomain
    conversion: Conversion | None = None
    """Between this view and what is stored; given together with `stored_as`."""
    columns: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    """Printer columns by version, as CRDs give them (name, type, jsonPath, ...)."""

    @property
    def key(self) -> str:
        """`plural[.group]`, the name by which the registry knows it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    def api_version(self, version: str | None = None) -> str:
        """`group/version` (or `version` in the core group) of the given or the storage version."""
        version = version or self.storage_version
        return f"{self.group}/{version}" if self.group else version

    def strategy(self, version: str | None = None) -> Strategy:
        """How objects of one served version are checked; the storage version's where none is given."""
        return self.strategies[version or self.storage_version]


class Catalog:
    """All resources by key, by path and by kind. CRDs add and remove theirs while the server runs."""

    def __init__(self) -> None:
        self._by_key: dict[str, Resource] = {}
        self.revision = 0
        """Grows with every change, for caches of discovery and OpenAPI."""

    def add(self, resource: Resource) -> None:
        """Serve a resource, in place of one with the same key."""
        self._by_key[resource.key] = resource
        self.revision += 1

    def remove(self, key: str) -> None:
        """Stop serving a resource; its objects are not touched."""
        if self._by_key.pop(key, None) is not None:
            self.revision += 1

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_key.values())

    def find(self, key: str) -> Resource | None:
        return self._by_key.get(key)

    def get(self, key: str) -> Resource:
        """The resource with this key (`pods`, `statefulsets.apps`); NotFound where it is not served."""
        resource = self._by_key.get(key)
        if resource is None:
            raise NotFound(f'the server doesn\'t have a resource type "{key}"')
        return resource

    def at_path(self, group: str, version: str, plural: str) -> Resource:
        """The resource behind `/apis/GROUP/VERSION/.../PLURAL`; NotFound where it is not served."""
        resource = self._by_key.get(f"{plural}.{group}" if group else plural)
        if resource is None or version not in resource.versions:
            raise NotFound.path() if self.is_own_group(group) else NotServed()
        return resource

    def is_own_group(self, group: str) -> bool:
        """Whether a group is Kubernetes' own and served; others come with CRDs or are not there."""
        return any(resource.group == group and not resource.custom for resource in self._by_key.values())

    def of_kind(self, api_version: str, kind: str) -> Resource:
        """The resource whose objects carry this apiVersion and kind; NotFound where none does."""
        group, _, version = api_version.rpartition("/")
        for resource in self._by_key.values():
            if resource.kind == kind and resource.group == group and version in resource.versions:
                return resource
        raise NotFound(f'no matches for kind "{kind}" in version "{api_version}"')
