"""The model `mixed`: what the lab's own load offers, where each key is one of three things.

| key | f | model |
|---|---|---|
| a register | read, write, cas | `cas-register` |
| a list | read, append: a list shows as its values one after the other, each with its end in it | `append` |
| a counter | read, incr | `kv` |

A partition is one key; what was done to it says which of the three it is, and where it was only ever read it
makes no difference.
"""

from collections.abc import Hashable, Sequence
from typing import Any

from faultlab.checker.append import AppendModel
from faultlab.checker.kv import KvModel
from faultlab.checker.models import Model, RegisterModel, Search, refuse
from faultlab.history.operations import Operation

_REGISTER = RegisterModel("mixed", cas=True)
_BY_F: dict[str, Model] = {
    "append": AppendModel(),
    "incr": KvModel(),
    "write": _REGISTER,
    "cas": _REGISTER,
    "read": _REGISTER,
}
_UNTOUCHED = ("read", None)


def model_of(operations: Sequence[Operation]) -> Model:
    """The model of one key. HistoryError where one operation is of another kind of key than the others."""
    changes = [operation for operation in operations if operation.f != "read"]
    if not changes:
        return _REGISTER
    chosen = _BY_F[changes[0].f]
    for operation in changes:
        if _BY_F[operation.f] is not chosen:
            raise refuse(operation, f"{changes[0].describe()} has made its key something else")
    return chosen


class MixedModel:
    """Each partition is judged by the model of its key."""

    name = "mixed"

    def keys(self, operation: Operation) -> Sequence[str | None]:
        """The one key."""
        model = _BY_F.get(operation.f)
        if model is None:
            raise refuse(operation, f"the model mixed knows {', '.join(_BY_F)}, not {operation.f}")
        return model.keys(operation)

    def reads_only(self, operation: Operation) -> bool:
        """Whether it is a read."""
        return operation.f == "read"

    def search(self, operations: Sequence[Operation]) -> Search:
        """From null, the empty list, or 0."""
        return model_of(operations).search(operations)

    def searches_from_any(self, operations: Sequence[Operation]) -> list[Search] | None:
        """As the key's model has it."""
        return model_of(operations).searches_from_any(operations)

    def initial(self) -> Hashable:
        """A key of which nobody knows yet what it is."""
        return _UNTOUCHED

    def step(self, state: Any, operation: Operation) -> Hashable | None:
        """States are (what made the key what it is, the state of its model)."""
        f, inner = state
        if f == "read" and operation.f != "read":
            f, inner = operation.f, _BY_F[operation.f].initial()
        after = _BY_F[f].step(inner, operation)
        return None if after is None else (f, after)

    def show(self, state: Any) -> str:
        """As the key's model shows it."""
        f, inner = state
        return _BY_F[f].show(inner)

    def unseen(self, operations: Sequence[Operation], kept: set[int]) -> set[int]:
        """As the key's model has it."""
        return model_of(operations).unseen(operations, kept)
