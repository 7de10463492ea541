"""What the models share, and those that are one register: register, cas-register, mutex.

A model says which operations it knows, which of them only read, and how a partition's operations
become a search. It is given only operations that matter: no `fail` (they certainly did not happen),
no `info` that only reads (nobody saw an answer).
"""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from faultlab.checker.registers import NOTHING, RegisterSearch, Step
from faultlab.checker.values import Values, freeze
from faultlab.history.events import HistoryError
from faultlab.history.operations import Operation


class Search(Protocol):
    """A search for an order, which can be continued."""

    explored: int
    furthest: int
    """The largest number of returns that some order was found to explain."""

    @property
    def memory_bytes(self) -> int:
        """What it remembers, estimated generously."""

    def run(self, budget: int, deadline: float) -> bool | None:
        """True: there is an order. False: there is none. None: not known within budget and time."""


class Model(Protocol):
    """One object's sequential behaviour. `name` is what `--model` takes."""

    name: str

    def keys(self, operation: Operation) -> Sequence[str | None]:
        """The keys that the operation touches; they are checked together.

        HistoryError where the operation is none of this model's, or its value has another shape.
        """

    def reads_only(self, operation: Operation) -> bool:
        """Whether the operation leaves every state as it is."""

    def search(self, operations: Sequence[Operation]) -> Search:
        """A search for an order from the initial state."""

    def searches_from_any(self, operations: Sequence[Operation]) -> list[Search] | None:
        """Searches that find an order between them exactly if there is one from some state, whichever.

        None: this model (or this many operations) cannot be searched so.
        """

    def initial(self) -> Hashable:
        """The state before everything."""

    def step(self, state: Any, operation: Operation) -> Hashable | None:
        """The state after the operation, None where it cannot happen; the sequential specification."""

    def show(self, state: Any) -> str:
        """A state for people."""

    def unseen(self, operations: Sequence[Operation], kept: set[int]) -> set[int]:
        """The places in `operations` that must be kept beside `kept` so that leaving out the rest is fair.

        Fair: a history that has an order still has one when the others are left out.
        """


def refuse(operation: Operation, why: str) -> HistoryError:
    """The error for an operation that a model cannot take."""
    return HistoryError(f"{operation.describe()}: {why}")


class RegisterModel:
    """Registers: read (null at first), write, and where `cas` is true also cas of [expected, new]."""

    def __init__(self, name: str, *, cas: bool) -> None:
        self.name = name
        self._known = ("read", "write", "cas") if cas else ("read", "write")

    def keys(self, operation: Operation) -> Sequence[str | None]:
        """The one key; an ok write or cas must say null or what was asked."""
        if operation.f not in self._known:
            raise refuse(
                operation, f"the model {self.name} knows {', '.join(self._known)}, not {operation.f}"
            )
        if operation.f == "cas" and not (isinstance(operation.value, list) and len(operation.value) == 2):
            raise refuse(operation, f"the value of cas is [expected, new], not {operation.value!r}")
        answered = operation.f != "read" and operation.result is not None
        if answered and freeze(operation.result) != freeze(operation.value):
            raise refuse(operation, f"asked for {operation.value!r}, but its ok says {operation.result!r}")
        return (operation.key,)

    def reads_only(self, operation: Operation) -> bool:
        """Whether it is a read."""
        return operation.f == "read"

    def _effect(self, operation: Operation) -> tuple[tuple[Any] | None, tuple[Any] | None]:
        """The value that the operation needs and the one that it makes, each in a tuple, or None."""
        if operation.f == "read":
            return (operation.result,), None
        if operation.f == "write":
            return None, (operation.value,)
        return (operation.value[0],), (operation.value[1],)

    def _steps(self, operations: Sequence[Operation], values: Values) -> list[Step]:
        steps = []
        for operation in operations:
            need, make = self._effect(operation)
            steps.append(
                Step(
                    NOTHING if need is None else values.number(need[0]),
                    NOTHING if make is None else values.number(make[0]),
                    operation.start,
                    operation.end,
                )
            )
        return steps

    def search(self, operations: Sequence[Operation]) -> Search:
        """From null."""
        values = Values()
        return RegisterSearch(self._steps(operations, values), values.number(None), len(values))

    def searches_from_any(self, operations: Sequence[Operation]) -> list[Search] | None:
        """One search is enough: it chooses the first state where an operation needs one."""
        values = Values()
        return [RegisterSearch(self._steps(operations, values), None, len(values))]

    def initial(self) -> Hashable:
        """Null."""
        return None

    def step(self, state: Any, operation: Operation) -> Hashable | None:
        """States are frozen values in a tuple, since null is a state."""
        need, make = self._effect(operation)
        state = state or (freeze(None),)
        if need is not None and (freeze(need[0]),) != state:
            return None
        return state if make is None else (freeze(make[0]),)

    def show(self, state: Any) -> str:
        """The value."""
        return "null" if state is None or state[0] is None else str(state[0])

    def unseen(self, operations: Sequence[Operation], kept: set[int]) -> set[int]:
        """All writers of values that somebody kept needs.

        Leaving out a read changes no state. Leaving out a write whose value nobody left needs: the next
        operation that is left after it is one that accepts any state, so the rest goes as before.
        """
        makers: dict[Hashable, list[int]] = {}
        needed: dict[int, Hashable] = {}
        for place, operation in enumerate(operations):
            need, make = self._effect(operation)
            if make is not None:
                makers.setdefault(freeze(make[0]), []).append(place)
            if need is not None:
                needed[place] = freeze(need[0])
        added: set[int] = set()
        pending = list(kept)
        while pending:
            place = pending.pop()
            if place in needed:
                fresh = [m for m in makers.pop(needed[place], ()) if m not in kept and m not in added]
                added.update(fresh)
                pending.extend(fresh)
        return added


class MutexModel(RegisterModel):
    """A lock without owners: `acquire` needs it free, `release` needs it held; free at first."""

    def __init__(self) -> None:
        super().__init__("mutex", cas=False)

    def keys(self, operation: Operation) -> Sequence[str | None]:
        """The lock's key, null where there is but one lock."""
        if operation.f not in ("acquire", "release"):
            raise refuse(operation, f"the model mutex knows acquire, release, not {operation.f}")
        return (operation.key,)

    def _effect(self, operation: Operation) -> tuple[tuple[Any] | None, tuple[Any] | None]:
        return ((None,), ("held",)) if operation.f == "acquire" else (("held",), (None,))

    def show(self, state: Any) -> str:
        """Free or held."""
        return "held" if state is not None and state[0] == "held" else "free"
