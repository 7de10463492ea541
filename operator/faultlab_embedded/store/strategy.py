"""What a kind adds to the storage of its objects: shape, defaults, checks, and what a write may change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faultlab_embedded.store.errors import FieldError

Object = dict[str, Any]
Schema = dict[str, Any]


class Strategy:
    """Behaviour of one kind; the base treats an object as data with optional `spec` and `status`.

    Methods are called with objects that may be changed in place (`decode`, `default`, the `prepare_` ones) or
    only looked at (`validate`). None does I/O.
    """

    schema: Schema | None = None
    """The kind's schema with all references resolved: how lists merge and who may own what."""

    def published_schema(self) -> Schema:
        """The schema as OpenAPI shows it."""
        return self.schema or {}

    def decode(self, obj: Object) -> list[str]:
        """Bring an object into the kind's shape (types checked, unknown fields dropped), in place.

        Returns the paths of unknown fields, for the caller to warn about or refuse. Raises BadRequest where a
        value has the wrong type.
        """
        del obj
        return []

    def default(self, obj: Object) -> None:
        """Fill in what was left out, in place."""

    def prepare_create(self, obj: Object) -> None:
        """Set what the server alone decides on creation, in place (a pod starts Pending)."""

    def prepare_update(self, obj: Object, old: Object, subresource: str | None) -> None:
        """Carry over what this write may not change, in place."""

    def check_delete(self, obj: Object) -> None:
        """Raises Forbidden where this object may not be deleted by anybody."""

    def prepare_delete(self, obj: Object) -> None:
        """Show in an object that it is going, in place (a namespace's phase); called while it is kept."""

    def validate(self, obj: Object, old: Object | None, subresource: str | None) -> Sequence[FieldError]:
        """Everything wrong with `obj`, all at once; `old` is None on create."""
        del obj, old, subresource
        return ()

    def counts_as_spec(self, obj: Object) -> Object:
        """The part of an object whose change bumps `metadata.generation`."""
        return {key: value for key, value in obj.items() if key not in ("metadata", "status")}
