"""Behaviour that all built-in kinds share: their shape comes from Kubernetes' own schemas."""

from __future__ import annotations

from collections.abc import Sequence

from faultlab_embedded.schema.builtin import schema_of
from faultlab_embedded.schema.decoding import canonical, type_error
from faultlab_embedded.schema.structural import prune
from faultlab_embedded.store.errors import FieldError, Undecodable
from faultlab_embedded.store.strategy import Object, Schema, Strategy


class BuiltinStrategy(Strategy):
    """A built-in kind: decoded by its schema. Kinds override `default` and `check`."""

    def __init__(self, group: str, version: str, kind: str) -> None:
        schema = schema_of(group, version, kind)
        assert schema is not None, (
            f"{kind} of {group} is not in builtin.json: run faultlab_embedded.schema.generate"
        )
        self.schema: Schema = schema
        self._kind = kind
        self._version = version

    def decode(self, obj: Object) -> list[str]:
        wrong = type_error(obj, self.schema)
        if wrong is not None:
            raise Undecodable(self._kind, self._version, self._kind, wrong)
        unknown = prune(obj, self.schema)
        canonical(obj, self.schema)
        return unknown

    def validate(self, obj: Object, old: Object | None, subresource: str | None) -> Sequence[FieldError]:
        if subresource == "status":
            return ()
        return self.check(obj, old)

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        """Everything wrong with an object, status apart."""
        del obj, old
        return []
