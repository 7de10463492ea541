"""What the models share, and those that are one register: register, cas-register, mutex.

A model says which operations it knows, which of them only read, and how a partition's operations
become a search. It sees only operations that matter: no `fail` (they certainly did not happen), no
`info` that only reads (nobody saw an answer).
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from faultlab.checker.registers import NOTHING, RegisterSearch, Step
from faultlab.checker.values import Values, freeze
from faultlab.history.events import HistoryError
from faultlab.history.operations import Operation


class Search(Protocol):
    """A search for an order, which can be continued."""

    explored: int
    furthest: int
    numbers: list[int]

    @property
    def entries(self) -> int:
        """What its memory grows with."""

    def run(self, budget: int, deadline: float) -> bool | None:
        """True: there is an order. False: there is none. None: not known within budget and time."""


class Model(Protocol):
    """One object's sequential behaviour. `name` is what `--model` takes."""

    name: str

    def keys(self, operation: Operation) -> Iterable[str | None]:
        """The keys that the operation touches; they are checked together. HistoryError: not this model's."""

    def reads_only(self, operation: Operation) -> bool:
        """Whether the operation leaves every state as it is."""

    def searches(self, operations: Sequence[Operation], *, from_start: bool) -> Iterable[Search] | None:
        """Searches for an order of the operations, from the initial state or from any state at all.

        There is an order if one of them finds one. None: this model cannot start from any state.
        """

    def hidden_without(self, operations: Sequence[Operation]) -> list[list[int]]:
        """Groups of places in `operations` that may be left out of a history together.

        Leaving out a group turns no linearizable history into one that is not.
        """


def refuse(operation: Operation, why: str) -> HistoryError:
    """The error for an operation that a model cannot take."""
    return HistoryError(f"{operation.describe()}: {why}")


def one_key(operation: Operation) -> tuple[str | None]:
    """The key of an operation that touches exactly one."""
    return (operation.key,)


class RegisterModel:
    """Registers: `read` (initially null), `write`, and where `cas` is allowed also `cas` of [expected, new]."""

    def __init__(self, name: str, *, cas: bool) -> None:
        self.name = name
        self._known = ("read", "write", "cas") if cas else ("read", "write")

    def keys(self, operation: Operation) -> Iterable[str | None]:
        """The one key. Refuses operations that are no register's, and answers that answer something else."""
        if operation.f not in self._known:
            known = ", ".join(self._known)
            raise refuse(operation, f"the model {self.name} knows {known}, not {operation.f}")
        if operation.f == "cas" and not (
            isinstance(operation.value, list | tuple) and len(operation.value) == 2
        ):
            raise refuse(operation, f"the value of cas is [expected, new], not {operation.value!r}")
        asks = operation.f != "read" and operation.outcome == "ok" and operation.result is not None
        if (
            asks
            and operation.result != operation.value
            and freeze(operation.result) != freeze(operation.value)
        ):
            raise refuse(operation, f"asked for {operation.value!r}, but its ok says {operation.result!r}")
        return one_key(operation)

    def reads_only(self, operation: Operation) -> bool:
        """Whether it is a read."""
        return operation.f == "read"

    def _steps(self, operations: Sequence[Operation], values: Values) -> list[Step]:
        number = values.number
        steps = []
        for operation in operations:
            if operation.f == "read":
                steps.append(Step(number(operation.result), NOTHING, operation.start, operation.end))
            elif operation.f == "write":
                steps.append(Step(NOTHING, number(operation.value), operation.start, operation.end))
            else:
                expected, new = operation.value
                steps.append(Step(number(expected), number(new), operation.start, operation.end))
        return steps

    def searches(self, operations: Sequence[Operation], *, from_start: bool) -> Iterable[Search]:
        """From null; or from each value that some operation needs, and from one that none does."""
        values = Values()
        steps = self._steps(operations, values)
        starts = (
            [values.number(None)]
            if from_start
            else [*sorted({s.need for s in steps} - {NOTHING}), values.fresh()]
        )
        return (RegisterSearch(steps, start, len(values)) for start in starts)

    def hidden_without(self, operations: Sequence[Operation]) -> list[list[int]]:
        """Each value's readers with its writers; see `window`."""
        return []


class MutexModel(RegisterModel):
    """A lock without owners: `acquire` needs it free, `release` needs it held; free at first."""

    def __init__(self) -> None:
        super().__init__("mutex", cas=False)

    def keys(self, operation: Operation) -> Iterable[str | None]:
        """The lock's key, null where there is but one lock."""
        if operation.f not in ("acquire", "release"):
            raise refuse(operation, f"the model mutex knows acquire and release, not {operation.f}")
        return one_key(operation)

    def reads_only(self, operation: Operation) -> bool:
        """Never."""
        return operation.f not in ("acquire", "release")

    def _steps(self, operations: Sequence[Operation], values: Values) -> list[Step]:
        free, held = values.number(None), values.number("held")
        return [
            Step(free, held, operation.start, operation.end)
            if operation.f == "acquire"
            else Step(held, free, operation.start, operation.end)
            for operation in operations
        ]
