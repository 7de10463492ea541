"""The one place where objects live: the API server and the controllers read and write here and nowhere else.

Synchronous and for one event loop's thread. A write is checked, given its metadata, stored under the next
resourceVersion and put into the log that watchers follow, or it raises an `ApiError` and nothing has
happened. Resources are named `plural[.group]` (`pods`, `statefulsets.apps`); objects are plain dicts as on
the wire, and each one handed out is the caller's own copy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import msgspec

from faultlab_embedded.store import apply, deletion
from faultlab_embedded.store.catalog import Catalog, Resource
from faultlab_embedded.store.custom import CRDS, custom_resource
from faultlab_embedded.store.database import Database
from faultlab_embedded.store.deletion import DeleteOptions, Removal
from faultlab_embedded.store.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Forbidden,
    GatewayTimeout,
    NotFound,
    PatchFailed,
    Undecodable,
)
from faultlab_embedded.store.log import EventType, Log, Record
from faultlab_embedded.store.merge import merge
from faultlab_embedded.store.objects import (
    OTHER_NAMESPACE,
    check,
    check_identity,
    copy,
    decode,
    identify,
    keep,
    leave_out_empty,
    only,
    stamp,
)
from faultlab_embedded.store.strategy import Object
from faultlab_embedded.store.watch import Selection, Watcher

Records = list[Record]
Place = tuple[str, str]
"""Where an object is inside its resource: namespace (empty for cluster-scoped ones) and name."""

NAMESPACES = "namespaces"
EVENTS = "events"
EVERYTHING = "*"
MAX_KEPT_EVENTS = 5_000
"""Event objects; one more drops the oldest (Kubernetes drops them by age, after an hour)."""


@dataclass(frozen=True, slots=True)
class Write:
    """How a write is meant.

    `manager`: who writes, for managedFields. `dry_run`: check and answer, store nothing. `strict`: unknown
    fields are an error. `warnings`: collects what the client should be told, where given.
    `twice`: fields that the body gave more than once.
    """

    manager: str = "embedded"
    dry_run: bool = False
    strict: bool = False
    warnings: list[str] | None = None
    twice: tuple[str, ...] = ()


PLAIN = Write()
BACKGROUND = DeleteOptions(propagation="Background")


class Registry:
    """Objects of all resources; see the module's docstring for the rules."""

    def __init__(self, catalog: Catalog, database: Database) -> None:
        self.catalog = catalog
        self._database = database
        self._version = database.version
        self._records: dict[str, dict[Place, Record]] = {}
        for record in database.load():
            self._records.setdefault(record.resource, {})[record.namespace, record.name] = record
        for record in self._records.get(CRDS, {}).values():
            catalog.add(custom_resource(record.decode()))
        # Nothing before this moment is remembered: watches from an earlier version begin anew.
        self._floor = self._version
        self._logs: dict[str, Log] = {}
        self._everything = Log(self._floor)

    def close(self) -> None:
        """Everything is on disk after this; the registry is not used again."""
        self._database.close()

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
        place = ((namespace or "default") if kind.namespaced else "", name)
        return self._records.get(resource, {}).get(place)

    def list(
        self,
        resource: str,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
    ) -> list[Object]:
        """Objects in the order of namespace and name; all namespaces where none is given."""
        selection = Selection.parse(namespace, labels, fields)
        return [record.decode() for record in self.records(resource, selection)]

    def records(self, resource: str, selection: Selection) -> Iterator[Record]:
        """The same as they are stored."""
        self.catalog.get(resource)
        held = self._records.get(resource, {})
        return (record for place in sorted(held) if selection.matches(record := held[place]))

    # Writing

    def create(self, resource: str, obj: Object, write: Write = PLAIN) -> Object:
        """Store a new object. Raises AlreadyExists, Invalid, BadRequest, NotFound or Forbidden (its
        namespace)."""
        kind = self.catalog.get(resource)
        obj = copy(obj)
        meta = identify(kind, obj)
        stamp(kind, meta)
        meta.pop("managedFields", None)
        return self._create(kind, obj, write)

    def update(
        self, resource: str, obj: Object, subresource: str | None = None, write: Write = PLAIN
    ) -> Object:
        """Replace an object, or only its status.

        A resourceVersion or uid in it must be the current one (Conflict otherwise); without one the last
        write wins. A write that changes nothing leaves the resourceVersion as it is.
        """
        kind = self.catalog.get(resource)
        obj = copy(obj)
        meta = identify(kind, obj)
        old = self.record(resource, meta.get("namespace"), meta.get("name", ""))
        return self._replace(kind, obj, old, subresource, write)

    def patch(
        self,
        resource: str,
        namespace: str | None,
        name: str,
        patch: Object,
        subresource: str | None = None,
        write: Write = PLAIN,
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
        write: Write = PLAIN,
    ) -> Object:
        """Read, change and store an object in one step that nothing comes between."""
        kind = self.catalog.get(resource)
        old = self.record(resource, namespace, name)
        obj = copy(change(old.decode()))
        try:
            return self._patched(kind, obj, old, subresource, write)
        except Undecodable as error:
            raise PatchFailed.making(obj, error.why) from None

    def _patched(
        self, kind: Resource, obj: Object, old: Record, subresource: str | None, write: Write
    ) -> Object:
        meta = identify(kind, obj)
        if meta.get("namespace", "") != old.namespace:
            raise BadRequest(OTHER_NAMESPACE)
        if meta.get("name") != old.name:
            raise BadRequest(
                f"the name of the object ({meta.get('name')}) does not match the name on the URL ({old.name})"
            )
        return self._replace(kind, obj, old, subresource, write, patching=True)

    def apply(self, obj: Object, manager: str = "embedded") -> Object:
        """Create or server-side apply one object, with force."""
        kind = self.catalog.of_kind(obj.get("apiVersion", ""), obj.get("kind", ""))
        return self.apply_fields(kind.key, obj, Write(manager=manager), force=True)

    def apply_fields(
        self,
        resource: str,
        obj: Object,
        write: Write = PLAIN,
        subresource: str | None = None,
        *,
        force: bool = False,
    ) -> Object:
        """Server-side apply; see `store.apply` for what is kept of field ownership. Raises ApplyConflict."""
        kind = self.catalog.get(resource)
        obj = copy(obj)
        meta = identify(kind, obj)
        if meta.get("managedFields"):
            raise BadRequest("metadata.managedFields must be nil")
        name = str(meta.get("name") or "")
        old = self.find(resource, meta.get("namespace"), name)
        if old is None:
            if subresource is not None:
                raise NotFound.of(resource, name)
            applied = apply.first(kind, obj, write.manager)
            for implied in ("resourceVersion", "uid"):
                applied["metadata"].pop(implied, None)
            stamp(kind, applied["metadata"])
            return self._create(kind, applied, write)
        applied = apply.merge_applied(kind, old.decode(), obj, write.manager, subresource, force=force)
        return self._replace(kind, applied, old, subresource, write, owned=True, patching=True)

    def delete(
        self,
        resource: str,
        namespace: str | None,
        name: str,
        grace_seconds: int | None = None,
        propagation: str = "Background",
    ) -> Object | None:
        """Delete an object, or mark it where something is still to be done (finalizers, a pod's grace
        period).

        Returns the object as it is while it goes, or None where it is gone at once. NotFound.
        """
        options = DeleteOptions(grace_seconds=grace_seconds, propagation=propagation)
        left = self.remove(resource, namespace, name, options)
        return None if left.gone else left.obj

    def remove(
        self, resource: str, namespace: str | None, name: str, options: DeleteOptions, write: Write = PLAIN
    ) -> Removal:
        """Delete with everything that DeleteOptions can say. Raises NotFound, Conflict (preconditions)."""
        kind = self.catalog.get(resource)
        old = self.record(resource, namespace, name)
        deletion.check_preconditions(kind, old, options)
        before, obj = old.decode(), old.decode()
        kind.strategy().check_delete(obj)
        content = self._content(kind, obj)
        gone = deletion.mark(resource, obj, options, holds_content=bool(content))
        if write.dry_run or options.dry_run:
            return Removal(obj, gone)
        if gone:
            self._drop(kind, obj, old)
            return Removal(obj, True)
        kind.strategy().prepare_delete(obj)
        if obj != before:
            self._store(kind, "MODIFIED", obj, old)
        for record in content:
            if (record.namespace, record.name) in self._records.get(record.resource, {}):
                self.remove(record.resource, record.namespace, record.name, BACKGROUND)
        return Removal(obj, self.find(resource, namespace, name) is None)

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

        Without `since` the objects that exist come first, as ADDED. Raises Expired when `since` is forgotten
        or the reader falls behind by more than the log holds: watch anew without `since`.
        """
        selection = Selection.parse(namespace, labels, fields)
        current: Records = []
        if since is None:
            keys = list(self._records) if resource == EVERYTHING else [resource]
            current = [record for key in keys for record in self.records(key, selection)]
        watcher = self.follow(resource, self._version if since is None else since, selection)
        try:
            for record in current:
                yield "ADDED", record.decode()
            while True:
                for event, record in await watcher.next():
                    yield event, record.decode()
        finally:
            watcher.close()

    def follow(self, resource: str, since: int, selection: Selection) -> Watcher:
        """A watcher of changes after version `since`. Raises Expired where that is forgotten, GatewayTimeout
        where it is still to come."""
        if since > self._version:
            raise GatewayTimeout.ahead(since, self._version)
        return Watcher(self._log(resource), since, selection)

    def _log(self, resource: str) -> Log:
        if resource == EVERYTHING:
            return self._everything
        log = self._logs.get(resource)
        if log is None:
            self.catalog.get(resource)
            log = self._logs[resource] = Log(self._floor)
        return log

    # How a write is done

    def _create(self, kind: Resource, obj: Object, write: Write) -> Object:
        meta = obj["metadata"]
        namespace = meta["namespace"] if kind.namespaced else ""
        self._check_container(kind, namespace, str(meta.get("name", "")))
        version = obj["apiVersion"].rpartition("/")[2]
        strategy = kind.strategy(version)
        if kind.has_status:
            obj.pop("status", None)
        decode(kind, obj, strict=write.strict, warnings=write.warnings, twice=write.twice)
        leave_out_empty(meta)
        strategy.default(obj)
        strategy.prepare_create(obj)
        check(kind, obj, None, None)
        obj["apiVersion"] = kind.api_version()
        taken = self._records.get(kind.key, {}).get((namespace, meta["name"]))
        if taken is not None:
            going = "deletionTimestamp" in taken.decode()["metadata"]
            raise AlreadyExists.of(kind.key, meta["name"], going=going)
        return obj if write.dry_run else self._store(kind, "ADDED", obj, None)

    def _replace(
        self,
        kind: Resource,
        obj: Object,
        old: Record,
        subresource: str | None,
        write: Write,
        *,
        owned: bool = False,
        patching: bool = False,
    ) -> Object:
        """Store `obj` over `old`. `owned`: its managedFields are already as they should be."""
        before = old.decode()
        meta, old_meta = obj["metadata"], before["metadata"]
        check_identity(kind, meta, old, patching=patching)
        strategy = kind.strategy(obj["apiVersion"].rpartition("/")[2])
        decode(kind, obj, strict=write.strict, warnings=write.warnings, twice=write.twice)
        leave_out_empty(meta)
        obj = only(obj, before, subresource, has_status=kind.has_status)
        keep(obj["metadata"], old_meta)
        strategy.default(obj)
        strategy.prepare_update(obj, before, subresource)
        if not owned:
            apply.follow_update(kind, before, obj, write.manager, subresource)
        check(kind, obj, before, subresource)
        obj["apiVersion"] = kind.api_version()
        if obj == before:
            return obj
        if kind.generation and strategy.counts_as_spec(obj) != strategy.counts_as_spec(before):
            obj["metadata"]["generation"] = old_meta.get("generation", 0) + 1
        if write.dry_run:
            return obj
        if deletion.may_go(obj["metadata"]) and not self._content(kind, obj):
            self._drop(kind, obj, old)
            return obj
        return self._store(kind, "MODIFIED", obj, old)

    def _store(self, kind: Resource, event: EventType, obj: Object, old: Record | None) -> Object:
        record = self._next(kind, obj)
        self._database.put(record)
        self._records.setdefault(kind.key, {})[record.namespace, record.name] = record
        if kind.key == CRDS:
            self.catalog.add(custom_resource(obj))
        self._publish(event, record, old)
        if kind.key == EVENTS and old is None:
            self._forget_oldest_event(kind)
        return obj

    def _forget_oldest_event(self, kind: Resource) -> None:
        """Events are kept in a bounded number; the oldest makes room."""
        held = self._records[EVENTS]
        if len(held) > MAX_KEPT_EVENTS:
            oldest = next(iter(held.values()))
            self._drop(kind, oldest.decode(), oldest)

    def _drop(self, kind: Resource, obj: Object, old: Record) -> None:
        record = self._next(kind, obj)
        self._database.remove(record)
        del self._records[kind.key][old.namespace, old.name]
        self._publish("DELETED", record, old)
        if kind.key == CRDS:
            self.catalog.remove(custom_resource(obj).key)
        self._finish_container(kind, old.namespace)

    def _next(self, kind: Resource, obj: Object) -> Record:
        """A record of `obj` under the next version, which is also written into it."""
        self._version += 1
        # First what says what it is: lists of built-in kinds leave that out of their items.
        obj = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], **obj}
        meta = obj["metadata"]
        meta["resourceVersion"] = str(self._version)
        labels = dict(meta.get("labels") or {})
        raw = msgspec.json.encode(obj)
        namespace = meta.get("namespace", "")
        return Record(kind.key, namespace, meta["name"], meta["uid"], self._version, labels, raw)

    def _publish(self, event: EventType, record: Record, old: Record | None) -> None:
        self._log(record.resource).append(event, record, old)
        self._everything.append(event, record, old)

    # Checks

    def _check_container(self, kind: Resource, namespace: str, name: str) -> None:
        """Refuse creation in a namespace or of a kind that is missing or going away."""
        if kind.custom:
            crd = self._records.get(CRDS, {}).get(("", kind.key))
            if crd is not None and "deletionTimestamp" in crd.decode()["metadata"]:
                why = "create not allowed while custom resource definition is terminating"
                details = {"name": name, "group": kind.group, "kind": kind.plural}
                raise Forbidden(f'{kind.key} "{name}" is forbidden: {why}', details=details)
        if not kind.namespaced:
            return
        found = self._records.get(NAMESPACES, {}).get(("", namespace))
        if found is None:
            raise NotFound.of(NAMESPACES, namespace)
        if "deletionTimestamp" in found.decode()["metadata"]:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise Forbidden.of(kind.key, name, why, [cause])

    # Namespaces and CRDs hold other objects, and go after them

    def _content(self, kind: Resource, obj: Object) -> Records:
        """The objects in a namespace, or of a CRD's kind; empty for everything else."""
        if kind.key == NAMESPACES:
            name = obj["metadata"]["name"]
            held = [records.values() for records in self._records.values()]
            return [record for records in held for record in records if record.namespace == name]
        if kind.key == CRDS:
            return list(self._records.get(obj["metadata"]["name"], {}).values())
        return []

    def _finish_container(self, kind: Resource, namespace: str) -> None:
        """Let a namespace or CRD go that was only waiting for its last object."""
        waiting: list[Place] = []
        if kind.namespaced:
            waiting.append((NAMESPACES, namespace))
        if kind.custom:
            waiting.append((CRDS, kind.key))
        for resource, name in waiting:
            record = self._records.get(resource, {}).get(("", name))
            if record is None:
                continue
            obj = record.decode()
            holder = self.catalog.get(resource)
            if deletion.may_go(obj["metadata"]) and not self._content(holder, obj):
                self._drop(holder, obj, record)


__all__ = ["ApiError", "DeleteOptions", "Registry", "Removal", "Selection", "Watcher", "Write"]
