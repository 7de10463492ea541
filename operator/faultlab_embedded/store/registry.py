"""The one place where objects live: every read and write of the API server and of the controllers goes through it.

Synchronous and for one event loop's thread. A write is checked, given its metadata, stored under the next
resourceVersion and put into the log that watchers follow, or it raises an `ApiError` and nothing has happened.
Resources are named `plural[.group]` (`pods`, `statefulsets.apps`); objects are plain dicts as on the wire, and
each one handed out is the caller's own copy.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from faultlab_embedded.store import names
from faultlab_embedded.store.catalog import Catalog, Resource
from faultlab_embedded.store.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    FieldError,
    Forbidden,
    GatewayTimeout,
    Invalid,
    NotFound,
)
from faultlab_embedded.store.log import Change, EventType, Log, Record
from faultlab_embedded.store.merge import merge
from faultlab_embedded.store.selectors import FieldMatch, LabelMatch, parse_fields, parse_labels

Object = dict[str, Any]
Place = tuple[str, str]
"""Where an object is inside its resource: namespace (empty for cluster-scoped ones) and name."""

WATCH_BATCH = 256


@dataclass(frozen=True, slots=True)
class Write:
    """How a write is meant: `dry_run` checks and answers and stores nothing; `manager` is who writes (for
    managedFields); `warnings` collects texts that the client should see."""

    manager: str = "embedded"
    dry_run: bool = False
    strict: bool = False
    warnings: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource are meant; None stands for all."""

    namespace: str | None = None
    labels: LabelMatch | None = None
    fields: FieldMatch | None = None

    @classmethod
    def parse(cls, namespace: str | None, labels: str | None, fields: str | None) -> Selection:
        return cls(namespace, parse_labels(labels), parse_fields(fields))

    def matches(self, record: Record) -> bool:
        return (
            (self.namespace is None or record.namespace == self.namespace)
            and (self.labels is None or self.labels(record.labels))
            and (self.fields is None or self.fields(record.decode()))
        )


class Registry:
    """Objects of all resources; see the module's docstring for the rules."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._version = 1
        self._records: dict[str, dict[Place, Record]] = {}
        self._logs: dict[str, Log] = {}
        self._floor = self._version
        self._everything = Log(self._floor)

    # Reading

    @property
    def version(self) -> int:
        """The resourceVersion of the newest write to anything."""
        return self._version

    def get(self, resource: str, namespace: str | None, name: str) -> Object:
        """One object; NotFound."""
        return self.record(resource, namespace, name).decode()

    def record(self, resource: str, namespace: str | None, name: str) -> Record:
        """One object as it is stored; NotFound."""
        found = self.find(resource, namespace, name)
        if found is None:
            raise NotFound.of(resource, name)
        return found

    def find(self, resource: str, namespace: str | None, name: str) -> Record | None:
        """One object as it is stored, or None."""
        kind = self.catalog.get(resource)
        place = (namespace or "default" if kind.namespaced else "", name)
        return self._records.get(resource, {}).get(place)

    def list(
        self, resource: str, namespace: str | None = None, labels: str | None = None, fields: str | None = None
    ) -> list[Object]:
        """Objects in the order of namespace and name; all namespaces where none is given."""
        selection = Selection.parse(namespace, labels, fields)
        return [record.decode() for record in self.records(resource, selection)]

    def records(self, resource: str, selection: Selection) -> Iterator[Record]:
        """The same as they are stored."""
        self.catalog.get(resource)
        held = self._records.get(resource, {})
        return (held[place] for place in sorted(held) if selection.matches(held[place]))

    # Writing

    def create(self, resource: str, obj: Object, write: Write = Write()) -> Object:  # noqa: B008
        """Store a new object. Raises AlreadyExists, Invalid, BadRequest, NotFound or Forbidden (its namespace)."""
        kind = self.catalog.get(resource)
        obj = _copy(obj)
        meta = _metadata(obj)
        self._check_identity(kind, obj)
        if meta.get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = names.generate(meta["generateName"])
        namespace = meta["namespace"] if kind.namespaced else ""
        if kind.namespaced:
            self._check_namespace(kind, namespace, meta.get("name", ""))
        for server_side in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            meta.pop(server_side, None)
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = now_rfc3339()
        if kind.generation:
            meta["generation"] = 1
        if kind.has_status:
            obj.pop("status", None)
        strategy = kind.strategy()
        self._decode(kind, obj, write)
        strategy.default(obj)
        strategy.prepare_create(obj)
        self._validate(kind, obj, None, None)
        if (namespace, meta["name"]) in self._records.get(resource, {}):
            raise AlreadyExists.of(resource, meta["name"])
        return self._store(kind, "ADDED", obj, None, write)

    def update(self, resource: str, obj: Object, subresource: str | None = None, write: Write = Write()) -> Object:  # noqa: B008
        """Replace an object, or only its status. A resourceVersion or uid in it must be the current one (Conflict)."""
        kind = self.catalog.get(resource)
        obj = _copy(obj)
        meta = _metadata(obj)
        self._check_identity(kind, obj)
        old = self.record(resource, meta.get("namespace"), meta.get("name", ""))
        if meta.get("resourceVersion") and meta["resourceVersion"] != str(old.version):
            raise Conflict.of(resource, old.name)
        if meta.get("uid") and meta["uid"] != old.uid:
            raise Conflict.of(
                resource,
                old.name,
                f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {old.uid}",
            )
        return self._replace(kind, obj, old, subresource, write)

    def patch(
        self,
        resource: str,
        namespace: str | None,
        name: str,
        patch: Object,
        subresource: str | None = None,
        write: Write = Write(),  # noqa: B008
    ) -> Object:
        """Merge-patch (RFC 7386) an object, or only its status."""
        return self.modify(resource, namespace, name, lambda obj: merge(obj, patch), subresource, write)

    def modify(
        self,
        resource: str,
        namespace: str | None,
        name: str,
        change: Callable[[Object], Object],
        subresource: str | None = None,
        write: Write = Write(),  # noqa: B008
    ) -> Object:
        """Read, change and store an object in one step that nothing comes between."""
        kind = self.catalog.get(resource)
        old = self.record(resource, namespace, name)
        obj = change(old.decode())
        self._check_identity(kind, obj)
        meta = _metadata(obj)
        if meta.get("resourceVersion") not in (None, "", str(old.version)):
            raise Conflict.of(resource, name)
        return self._replace(kind, obj, old, subresource, write)

    def apply(self, obj: Object, manager: str = "embedded") -> Object:
        """Create or server-side apply one object, with force."""
        kind = self.catalog.of_kind(obj.get("apiVersion", ""), obj.get("kind", ""))
        meta = _metadata(obj)
        if self.find(kind.key, meta.get("namespace"), meta["name"]) is None:
            return self.create(kind.key, obj, Write(manager=manager))
        return self.patch(kind.key, meta.get("namespace"), meta["name"], obj, write=Write(manager=manager))

    def delete(
        self,
        resource: str,
        namespace: str | None,
        name: str,
        grace_seconds: int | None = None,
        propagation: str = "Background",
        write: Write = Write(),  # noqa: B008
    ) -> Object | None:
        """Delete an object, or mark it when something is still to be done (finalizers, a pod's grace period).

        Returns the object as it is while it goes, or None where it is gone at once.
        """
        kind = self.catalog.get(resource)
        old = self.record(resource, namespace, name)
        obj = old.decode()
        meta = obj["metadata"]
        self._add_propagation_finalizer(meta, propagation)
        grace = self._grace_seconds(resource, obj, grace_seconds)
        if grace == 0 and not meta.get("finalizers"):
            meta["deletionGracePeriodSeconds"] = 0
            self._remove(kind, obj, old, write)
            return None
        if "deletionTimestamp" in meta and grace >= meta.get("deletionGracePeriodSeconds", 0):
            return self._store(kind, "MODIFIED", obj, old, write)
        meta["deletionTimestamp"] = now_rfc3339(grace)
        meta["deletionGracePeriodSeconds"] = grace
        if kind.generation:
            meta["generation"] = meta.get("generation", 0) + 1
        return self._store(kind, "MODIFIED", obj, old, write)

    # Watching

    async def watch(
        self,
        resource: str,
        since: int | None = None,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
    ) -> AsyncIterator[tuple[EventType, Object]]:
        """Changes of a resource (`*`: of all) as (ADDED|MODIFIED|DELETED, object), in order and without end.

        Without `since` the objects that exist come first, as ADDED. Raises Expired when `since` is forgotten or the
        reader falls behind by more than the log holds: watch anew without `since`.
        """
        selection = Selection.parse(namespace, labels, fields)
        start = self._version if since is None else since
        current = self._current(resource, selection) if since is None else []
        watcher = self.follow(resource, start, selection)
        try:
            for record in current:
                yield "ADDED", record.decode()
            while True:
                for kind, record in await watcher.next():
                    yield kind, record.decode()
        finally:
            watcher.close()

    def follow(self, resource: str, since: int, selection: Selection) -> Watcher:
        """A watcher of changes after version `since`. Raises Expired when that is forgotten, GatewayTimeout when it
        is still to come."""
        if since > self._version:
            raise GatewayTimeout(f"Timeout: Too large resource version: {since}, current: {self._version}")
        return Watcher(self._log(resource), since, selection)

    def _current(self, resource: str, selection: Selection) -> list[Record]:
        held = list(self._records) if resource == "*" else [resource]
        return [record for key in held for record in self.records(key, selection)]

    def _log(self, resource: str) -> Log:
        if resource == "*":
            return self._everything
        self.catalog.get(resource)
        return self._logs.setdefault(resource, Log(self._floor))

    # How a write is done

    def _replace(self, kind: Resource, obj: Object, old: Record, subresource: str | None, write: Write) -> Object:
        before = old.decode()
        meta, old_meta = _metadata(obj), before["metadata"]
        for kept in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            if kept in old_meta:
                meta[kept] = old_meta[kept]
            else:
                meta.pop(kept, None)
        if subresource == "status":
            status = obj.get("status")
            obj = {**before, "metadata": old_meta}
            obj.pop("status", None)
            if status is not None:
                obj["status"] = status
        elif subresource is None and kind.has_status:
            obj.pop("status", None)
            if "status" in before:
                obj["status"] = before["status"]
        strategy = kind.strategy()
        self._decode(kind, obj, write)
        strategy.default(obj)
        strategy.prepare_update(obj, before, subresource)
        obj["metadata"]["resourceVersion"] = old_meta["resourceVersion"]
        self._validate(kind, obj, before, subresource)
        if obj == before:
            return obj
        if kind.generation and strategy.counts_as_spec(obj) != strategy.counts_as_spec(before):
            obj["metadata"]["generation"] = old_meta.get("generation", 0) + 1
        meta = obj["metadata"]
        if "deletionTimestamp" in meta and not meta.get("finalizers") and self._ready_to_go(kind, meta):
            self._remove(kind, obj, old, write)
            return obj
        return self._store(kind, "MODIFIED", obj, old, write)

    @staticmethod
    def _ready_to_go(kind: Resource, meta: Object) -> bool:
        return kind.key != "namespaces" and not meta.get("deletionGracePeriodSeconds")

    def _store(self, kind: Resource, event: EventType, obj: Object, old: Record | None, write: Write) -> Object:
        if write.dry_run:
            return obj
        self._version += 1
        meta = obj["metadata"]
        meta["resourceVersion"] = str(self._version)
        record = Record(
            kind.key,
            meta.get("namespace", ""),
            meta["name"],
            meta["uid"],
            self._version,
            dict(meta.get("labels") or {}),
            msgspec.json.encode(obj),
        )
        self._records.setdefault(kind.key, {})[(record.namespace, record.name)] = record
        self._publish(event, record, old)
        return obj

    def _remove(self, kind: Resource, obj: Object, old: Record, write: Write) -> None:
        if write.dry_run:
            return
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        record = Record(
            kind.key, old.namespace, old.name, old.uid, self._version, old.labels, msgspec.json.encode(obj)
        )
        del self._records[kind.key][(old.namespace, old.name)]
        self._publish("DELETED", record, old)

    def _publish(self, event: EventType, record: Record, old: Record | None) -> None:
        self._log(record.resource).append(event, record, old)
        self._everything.append(event, record, old)

    # Checks

    def _check_identity(self, kind: Resource, obj: Object) -> None:
        """Fill in apiVersion, kind and namespace where left out; refuse others than the resource's."""
        obj.setdefault("apiVersion", kind.api_version())
        obj.setdefault("kind", kind.kind)
        if obj["kind"] != kind.kind or obj["apiVersion"] not in map(kind.api_version, kind.versions):
            raise BadRequest(
                f"the object is {obj['apiVersion']} {obj['kind']}, expected {kind.api_version()} {kind.kind}"
            )
        meta = _metadata(obj)
        if kind.namespaced:
            meta.setdefault("namespace", "default")
        else:
            meta.pop("namespace", None)

    def _check_namespace(self, kind: Resource, namespace: str, name: str) -> None:
        found = self._records.get("namespaces", {}).get(("", namespace))
        if found is None:
            raise NotFound.of("namespaces", namespace)
        if "deletionTimestamp" in found.decode()["metadata"]:
            raise Forbidden(
                f'{kind.key} "{name}" is forbidden: unable to create new content in namespace {namespace} because it '
                "is being terminated"
            )

    @staticmethod
    def _decode(kind: Resource, obj: Object, write: Write) -> None:
        unknown = kind.strategy().decode(obj, strict=write.strict)
        if unknown and write.strict:
            raise BadRequest(
                f"{kind.kind} in version {kind.storage_version!r} cannot be handled as a {kind.kind}: strict decoding "
                "error: " + ", ".join(f'unknown field "{path}"' for path in unknown)
            )
        if write.warnings is not None:
            write.warnings.extend(f'unknown field "{path}"' for path in unknown)

    @staticmethod
    def _validate(kind: Resource, obj: Object, old: Object | None, subresource: str | None) -> None:
        errors: list[FieldError] = list(kind.strategy().validate(obj, old, subresource))
        meta = obj["metadata"]
        if not meta.get("name"):
            errors.insert(0, FieldError.required("metadata.name", "name or generateName is required"))
        errors += names.labels("metadata.labels", meta.get("labels"))
        errors += names.annotations("metadata.annotations", meta.get("annotations"))
        if errors:
            raise Invalid.of(kind.kind, kind.group, meta.get("name", ""), errors)

    # Deleting

    @staticmethod
    def _add_propagation_finalizer(meta: Object, propagation: str) -> None:
        wanted = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
        if wanted is None and propagation != "Background":
            raise BadRequest(
                f"invalid propagationPolicy {propagation!r}: expected Foreground, Background or Orphan"
            )
        kept = [name for name in meta.get("finalizers", ()) if name not in ("foregroundDeletion", "orphan")]
        finalizers = [*kept, wanted] if wanted else kept
        if finalizers:
            meta["finalizers"] = finalizers
        else:
            meta.pop("finalizers", None)

    @staticmethod
    def _grace_seconds(resource: str, obj: Object, asked: int | None) -> int:
        """How long the object may live on: only pods that a node runs need any time."""
        if resource != "pods":
            return 0
        spec, status = obj.get("spec", {}), obj.get("status", {})
        if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
            return 0
        return int(asked if asked is not None else spec.get("terminationGracePeriodSeconds", 30))


class Watcher:
    """Follows one resource's changes through one selection."""

    def __init__(self, log: Log, since: int, selection: Selection) -> None:
        self._log = log
        self._selection = selection
        self._position = log.position_after(since)
        self._woken = log.subscribe()
        self.version = since
        """Everything up to this version has been seen."""

    def close(self) -> None:
        """Stop being woken. Safe to call twice."""
        self._log.unsubscribe(self._woken)

    async def next(self) -> list[tuple[EventType, Record]]:
        """The next changes that concern the selection, at least one. Raises Expired when the reader fell behind.

        An object that changes into or out of the selection is ADDED or DELETED, as a client of the selection sees it.
        """
        while True:
            self._woken.clear()
            changes = self._log.read(self._position, WATCH_BATCH)
            self._position += len(changes)
            if changes:
                self.version = changes[-1].version
            if seen := [event for change in changes if (event := self._seen(change)) is not None]:
                return seen
            if not changes:
                await self._woken.wait()

    def _seen(self, change: Change) -> tuple[EventType, Record] | None:
        before = change.before is not None and self._selection.matches(change.before)
        after = change.type != "DELETED" and self._selection.matches(change.record)
        if not before and not after:
            return None
        if not after:
            return "DELETED", change.record
        return ("MODIFIED" if before else "ADDED"), change.record


def now_rfc3339(plus_seconds: int = 0) -> str:
    """The time of metadata: UTC, whole seconds."""
    return (datetime.now(UTC) + timedelta(seconds=plus_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _copy(obj: Object) -> Object:
    copied: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return copied


def _metadata(obj: Object) -> Object:
    meta = obj.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise BadRequest("metadata must be an object")
    return meta
