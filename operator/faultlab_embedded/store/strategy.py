"""What a kind adds to the storage of its objects: defaults, checks, and what each kind of write may change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faultlab_embedded.store.errors import FieldError

Object = dict[str, Any]


class Strategy:
    """Behaviour of one kind; the base treats an object as data with optional `spec` and `status`.

    Methods are called with objects that may be changed in place (`decode`, `default`, the `prepare_` pair) or
    only looked at (`validate`). None does I/O.
    """

    def decode(self, obj: Object, *, strict: bool) -> list[str]:
        """Bring the object into the kind's shape (types checked, unknown fields dropped), in place.

        Returns the paths of unknown or duplicate fields, for the caller to warn about or refuse. Raises BadRequest
        or Invalid where a value has the wrong type.
        """
        del obj, strict
        return []

    def default(self, obj: Object) -> None:
        """Fill in what was left out, in place."""

    def prepare_create(self, obj: Object) -> None:
        """Set what the server alone decides on creation, in place (a pod starts Pending)."""

    def prepare_update(self, obj: Object, old: Object, subresource: str | None) -> None:
        """Carry over what this write may not change, in place."""

    def validate(self, obj: Object, old: Object | None, subresource: str | None) -> Sequence[FieldError]:
        """Everything wrong with `obj`, all at once; `old` is None on create."""
        del obj, old, subresource
        return ()

    def counts_as_spec(self, obj: Object) -> Object:
        """The part of an object whose change bumps `metadata.generation`."""
        return {key: value for key, value in obj.items() if key not in ("metadata", "status")}
