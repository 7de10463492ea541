"""Objects as a served version shows them, where that differs from how they are stored."""

from __future__ import annotations

import msgspec

from faultlab_embedded.store.catalog import Resource
from faultlab_embedded.store.log import Record
from faultlab_embedded.store.strategy import Object


def encode_as(resource: Resource, version: str, record: Record) -> bytes:
    """The JSON of a stored object in one served version."""
    # With several versions an object may still be stored under the one that was the storage version then.
    if resource.stored_as is None and len(resource.strategies) == 1:
        return record.raw
    return msgspec.json.encode(show_as(resource, version, record.decode()))


def encode_item(resource: Resource, version: str, record: Record) -> bytes:
    """The same as an item of a list: built-in kinds leave out what the list says for all of them."""
    raw = encode_as(resource, version, record)
    if resource.custom:
        return raw
    said = msgspec.json.encode({"apiVersion": resource.api_version(version), "kind": resource.kind})
    head = said[:-1] + b","
    return b"{" + raw[len(head) :] if raw.startswith(head) else raw


def show_as(resource: Resource, version: str, obj: Object) -> Object:
    """A stored object in one served version."""
    if resource.conversion is not None:
        return resource.conversion.outgoing(obj)
    return {**obj, "apiVersion": resource.api_version(version)}


def store_as(resource: Resource, obj: Object) -> Object:
    """An object of a served version as the registry takes it."""
    return obj if resource.conversion is None else resource.conversion.incoming(obj)
