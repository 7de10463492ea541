"""Server-side apply, and who owns which field.

Simpler than Kubernetes in two places, the same elsewhere:
- Ownership is kept from the first apply on; objects that nobody applied carry no managedFields. At the first
apply of an object that exists, what is there belongs to `before-first-apply`.
- Writes of status are followed only once somebody has applied status.
A field that a manager applied before and leaves out now is removed, unless another manager owns it too.
"""

from __future__ import annotations

from typing import Any

from faultlab_embedded.store import fields
from faultlab_embedded.store.catalog import Resource
from faultlab_embedded.store.errors import ApplyConflict
from faultlab_embedded.store.fields import FieldSet
from faultlab_embedded.store.objects import now_rfc3339
from faultlab_embedded.store.strategy import Object, Schema

APPLY = "Apply"
UPDATE = "Update"
BEFORE_FIRST_APPLY = "before-first-apply"
MAX_UPDATE_MANAGERS = 10
"""More managers than this that wrote without applying are folded into the oldest, as Kubernetes does."""


def first(kind: Resource, applied: Object, manager: str) -> Object:
    """A new object from its first apply."""
    owned = _owned(kind, applied, None, containers=False)
    result: Object = fields.without_nulls(applied)
    if owned:
        result["metadata"]["managedFields"] = [_entry(kind, applied, manager, APPLY, None, owned)]
    return result


def merge_applied(
    kind: Resource, live: Object, applied: Object, manager: str, subresource: str | None, *, force: bool
) -> Object:
    """The live object after an apply. Raises ApplyConflict where others own different values and not
    `force`."""
    schema = _schema(kind)
    entries = live["metadata"].pop("managedFields", None)
    if entries is None:
        everything = _owned(kind, live, None)
        entries = [_entry(kind, live, BEFORE_FIRST_APPLY, UPDATE, None, everything)] if everything else []
    wanted = _owned(kind, applied, subresource, containers=False)
    mine, others = _split(entries, manager, subresource)
    conflicts = _conflicts(others, wanted, live, applied, schema)
    if conflicts and not force:
        raise _conflict(conflicts)
    merged: Object = fields.merge(live, fields.without_nulls(applied), schema)
    if mine is not None:
        dropped = fields.difference(mine["fieldsV1"], wanted)
        for other in others:
            dropped = fields.difference(dropped, other["fieldsV1"])
        merged = fields.remove(merged, dropped, schema)
    for entry, path in conflicts:
        entry["fieldsV1"] = fields.difference(entry["fieldsV1"], path)
    kept = [entry for entry in others if entry["fieldsV1"]]
    own = _entry(kind, applied, manager, APPLY, subresource, wanted)
    if mine is not None and mine["fieldsV1"] == wanted:
        own["time"] = mine["time"]
    merged["metadata"]["managedFields"] = sorted([own, *kept] if wanted else kept, key=_rank)
    for implied in ("resourceVersion", "uid"):
        if implied in applied["metadata"]:
            merged["metadata"][implied] = applied["metadata"][implied]
    return merged


def follow_update(
    kind: Resource, before: Object, after: Object, manager: str, subresource: str | None
) -> None:
    """Give a writer who does not apply the fields that it changed, in `after`'s managedFields, in place."""
    entries = before["metadata"].get("managedFields")
    sent = after["metadata"].pop("managedFields", None)
    if not entries or sent in ([], [{}]):
        # Not followed; or reset by the writer, which Kubernetes allows with an empty list.
        return
    entries = [dict(entry) for entry in entries]
    after["metadata"]["managedFields"] = entries
    if subresource == "status" and not any(entry.get("subresource") for entry in entries):
        return
    old, new = _owned(kind, before, subresource), _owned(kind, after, subresource)
    schema = _schema(kind)
    touched = fields.changed(before, after, old, new, schema)
    removed = fields.difference(old, new)
    if not touched and not removed:
        return
    mine = None
    for entry in entries:
        if entry.get("subresource") != subresource:
            continue
        entry["fieldsV1"] = fields.difference(fields.difference(entry["fieldsV1"], removed), touched)
        if entry["manager"] == manager and entry["operation"] == UPDATE:
            mine = entry
    if touched:
        if mine is None:
            mine = _entry(kind, after, manager, UPDATE, subresource, {})
            entries.append(mine)
        mine["fieldsV1"] = fields.union(mine["fieldsV1"], touched)
        mine["time"] = now_rfc3339()
    entries = _capped([entry for entry in entries if entry["fieldsV1"]])
    after["metadata"]["managedFields"] = sorted(entries, key=_rank)


def _rank(entry: Object) -> tuple[str, ...]:
    """Kubernetes' order of entries: who applied first, then by time."""
    return tuple(str(entry.get(part, "")) for part in ("operation", "time", "manager", "subresource"))


def _capped(entries: list[Object]) -> list[Object]:
    updates = [entry for entry in entries if entry["operation"] == UPDATE]
    for extra in updates[1 : max(1, len(updates) - MAX_UPDATE_MANAGERS + 1)]:
        updates[0]["manager"] = "ancient-changes"
        updates[0]["fieldsV1"] = fields.union(updates[0]["fieldsV1"], extra["fieldsV1"])
        entries.remove(extra)
    return entries


def _schema(kind: Resource) -> Schema:
    return kind.strategy().schema or {}


def _owned(kind: Resource, obj: Object, subresource: str | None, *, containers: bool = True) -> FieldSet:
    """What an object says, without what identifies it and what only the server sets."""
    content: Object = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    meta = {
        key: value
        for key, value in obj.get("metadata", {}).items()
        if key in ("labels", "annotations", "finalizers", "ownerReferences")
    }
    content["metadata"] = meta
    if not meta:
        del content["metadata"]
    if subresource == "status":
        content = {"status": content["status"]} if "status" in content else {}
    elif kind.has_status:
        content.pop("status", None)
    return fields.extract(content, _schema(kind), containers=containers)


def _split(
    entries: list[Object], manager: str, subresource: str | None
) -> tuple[Object | None, list[Object]]:
    """This manager's entry of applies, and everybody else's."""
    mine = None
    others = []
    for entry in entries:
        same = entry["manager"] == manager and entry.get("subresource") == subresource
        if same and entry["operation"] == APPLY:
            mine = entry
        else:
            others.append(dict(entry))
    return mine, others


def _conflicts(
    others: list[Object], wanted: FieldSet, live: Object, applied: Object, schema: Schema
) -> list[tuple[Object, FieldSet]]:
    """Fields that others own and that would get another value, by entry."""
    changed = fields.changed(live, applied, {}, wanted, schema, only_existing=True)
    found = []
    for entry in others:
        both = fields.intersection(entry["fieldsV1"], changed)
        if both:
            found.append((entry, both))
    return found


def _conflict(conflicts: list[tuple[Object, FieldSet]]) -> ApplyConflict:
    causes: list[dict[str, Any]] = []
    lines = []
    for entry, owned in conflicts:
        paths = fields.paths(owned)
        who = f'conflict with "{entry["manager"]}"'
        if entry.get("subresource"):
            who += f' with subresource "{entry["subresource"]}"'
        if entry["operation"] == UPDATE:
            who += f" using {entry['apiVersion']}"
        listed = f" {paths[0]}" if len(paths) == 1 else "\n" + "\n".join(f"- {path}" for path in paths)
        plural = "s" if len(paths) > 1 else ""
        lines.append(f"conflict{plural}{who.removeprefix('conflict')}:{listed}")
        causes += [{"reason": "FieldManagerConflict", "message": who, "field": path} for path in paths]
    count = len(causes)
    message = f"Apply failed with {count} conflict{'s' if count > 1 else ''}: " + "\n".join(lines)
    return ApplyConflict(message, details={"causes": causes})


def _entry(
    kind: Resource, obj: Object, manager: str, operation: str, subresource: str | None, owned: FieldSet
) -> Object:
    entry: Object = {
        "manager": manager,
        "operation": operation,
        "apiVersion": obj.get("apiVersion") or kind.api_version(),
        "time": now_rfc3339(),
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
    }
    if subresource:
        entry["subresource"] = subresource
    return entry
