"""Objects and lists as a client asked for them: whole, as a Table's rows, or metadata only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import msgspec

from faultlab_embedded.apiserver.formats import Accepted, Object
from faultlab_embedded.apiserver.table import Columns, columns_of, table
from faultlab_embedded.apiserver.target import Target
from faultlab_embedded.store.errors import BadRequest, NotAcceptable
from faultlab_embedded.store.log import Record
from faultlab_embedded.store.views import encode_as, encode_item, show_as

META_V1 = "meta.k8s.io/v1"


class Shape:
    """Encodes objects of one target whole; the base of the others."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def record(self, record: Record) -> bytes:
        """A stored object."""
        return encode_as(self.target.resource, self.target.version, record)

    def item(self, record: Record) -> bytes:
        """A stored object inside a list."""
        return encode_item(self.target.resource, self.target.version, record)

    def object(self, obj: Object) -> bytes:
        """An object that was just written, as it is stored."""
        return msgspec.json.encode(show_as(self.target.resource, self.target.version, obj))

    def list(self, records: Sequence[Record], meta: Object) -> bytes:
        """A list with its metadata."""
        resource = self.target.resource
        return self._joined(resource.list_kind, resource.api_version(self.target.version), records, meta)

    def for_watch(self) -> Callable[[Record], bytes]:
        """How a watch's events show their objects."""
        return self.record

    def _joined(self, kind: str, api_version: str, records: Sequence[Record], meta: Object) -> bytes:
        head = {"kind": kind, "apiVersion": api_version, "metadata": meta}
        items = b",".join(map(self.item, records))
        return msgspec.json.encode(head)[:-1] + b',"items":[' + items + b"]}"


class MetadataShape(Shape):
    """PartialObjectMetadata."""

    def item(self, record: Record) -> bytes:
        return self.record(record)

    def record(self, record: Record) -> bytes:
        return self.object(record.decode())

    def object(self, obj: Object) -> bytes:
        return msgspec.json.encode(partial(obj))

    def list(self, records: Sequence[Record], meta: Object) -> bytes:
        return self._joined("PartialObjectMetadataList", META_V1, records, meta)


class TableShape(Shape):
    """Table with the resource's columns."""

    def __init__(self, target: Target, query: Mapping[str, str]) -> None:
        super().__init__(target)
        self._include = query.get("includeObject") or "Metadata"
        if self._include not in ("Metadata", "Object", "None"):
            raise BadRequest(
                f"Unable to convert to Table as requested: includeObject: Invalid value: "
                f"{json.dumps(self._include)}: must be 'Metadata', 'Object', 'None', or empty"
            )
        self._columns: Columns = columns_of(target.resource, target.version)

    def record(self, record: Record) -> bytes:
        return self._table([record.decode()], {"resourceVersion": str(record.version)})

    def object(self, obj: Object) -> bytes:
        return self._table([obj], {"resourceVersion": obj["metadata"].get("resourceVersion", "")})

    def list(self, records: Sequence[Record], meta: Object) -> bytes:
        return self._table([record.decode() for record in records], meta)

    def for_watch(self) -> Callable[[Record], bytes]:
        headed = False

        def encode(record: Record) -> bytes:
            nonlocal headed
            body = self._table([record.decode()], {"resourceVersion": str(record.version)}, head=not headed)
            headed = True
            return body

        return encode

    def _table(self, objects: Sequence[Object], meta: Object, *, head: bool = True) -> bytes:
        shown = [show_as(self.target.resource, self.target.version, obj) for obj in objects]
        included: Sequence[Object | None] = [None] * len(shown)
        if self._include != "None":
            included = shown if self._include == "Object" else [partial(obj) for obj in shown]
        return msgspec.json.encode(table(self._columns, shown, included, meta, head=head))


def partial(obj: Object) -> Object:
    """An object's metadata as PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": META_V1, "metadata": obj["metadata"]}


def shape_of(target: Target, want: Accepted, query: Mapping[str, str], *, is_list: bool = False) -> Shape:
    """The encoder for what the client accepts. NotAcceptable where a list is wanted as an object's metadata,
    or the other way round."""
    if want.shape == "Table":
        return TableShape(target, query)
    if want.shape == "object":
        return Shape(target)
    if (want.shape == "PartialObjectMetadataList") is not is_list:
        what, name = ("a list", "List") if is_list else ("not a list", "")
        raise NotAcceptable(
            f"you requested {want.shape}, but the requested object is {what} ({_go_type(target)}{name})"
        )
    return MetadataShape(target)


def _go_type(target: Target) -> str:
    """What kube-apiserver calls the object in such a message."""
    if target.resource.custom:
        return "*unstructured.Unstructured"
    return f"*{target.resource.group.partition('.')[0] or 'core'}.{target.resource.kind}"
