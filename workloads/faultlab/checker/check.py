"""Judges a history: pairs it, parts it by keys, searches each part for an order."""

import time
from collections.abc import Iterable, Sequence

from faultlab.checker.errors import UnknownModelError
from faultlab.checker.models import Model, MutexModel, RegisterModel, Search
from faultlab.checker.result import CheckResult, Verdict
from faultlab.history.events import Event
from faultlab.history.operations import Operation, pair_events

MODELS: dict[str, Model] = {
    model.name: model
    for model in (RegisterModel("register", cas=False), RegisterModel("cas-register", cas=True), MutexModel())
}

_FIRST_BUDGET = 50_000
_ENTRY_BYTES = 200
"""What one remembered configuration takes, generously: key, value, its place in the dictionary."""


def check(
    events: Iterable[Event], model: str, *, time_limit_s: float = 60, memory_limit_mb: int = 1024
) -> CheckResult:
    """Whether the history's operations have an order that `model` and real time allow.

    Raises UnknownModelError, and HistoryError where the history is not well formed or holds
    operations that the model does not know. Running out of time or memory gives `unknown`.
    """
    started = time.monotonic()
    chosen = MODELS.get(model)
    if chosen is None:
        raise UnknownModelError(f"there is no model {model!r}; there are {', '.join(sorted(MODELS))}")
    operations = pair_events(events)
    parts = partition(operations, chosen)

    def result(
        verdict: Verdict, message: str, key: str | None = None, window: tuple[Operation, ...] = ()
    ) -> CheckResult:
        elapsed = (time.monotonic() - started) * 1000
        return CheckResult(verdict, model, len(operations), len(parts), elapsed, message, key, window)

    deadline = started + time_limit_s
    pending = [(name, part, next(iter(chosen.searches(part, from_start=True) or ()))) for name, part in parts]
    budget = _FIRST_BUDGET
    while pending:
        undecided: list[tuple[str, Sequence[Operation], Search]] = []
        for position, (name, part, search) in enumerate(pending):
            found = search.run(budget, deadline)
            if found is False:
                return result("invalid", f"no order explains the operations on {name}", name, tuple(part))
            if found is None:
                undecided.append((name, part, search))
            if time.monotonic() > deadline and (found is None or position + 1 < len(pending)):
                return result("unknown", f"out of time after {time_limit_s:g} s, at {name}")
            if sum(search.entries for _, _, search in undecided) * _ENTRY_BYTES > memory_limit_mb << 20:
                return result("unknown", f"out of memory: more than {memory_limit_mb} MiB, at {name}")
        pending = undecided
        budget *= 4
    return result("valid", f"{len(operations)} operations on {len(parts)} keys have an order")


def partition(operations: Sequence[Operation], model: Model) -> list[tuple[str, list[Operation]]]:
    """The operations that matter, those together whose keys are joined by operations on several.

    Named by their keys and ordered by name, which is why the verdict does not depend on hash seeds.
    """
    parent: dict[str | None, str | None] = {}

    def root(key: str | None) -> str | None:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    touched: list[tuple[str | None, Operation]] = []
    for operation in operations:
        keys = list(model.keys(operation))
        for key in keys:
            parent.setdefault(key, key)
        if (
            not keys
            or operation.outcome == "fail"
            or (operation.outcome == "info" and model.reads_only(operation))
        ):
            continue
        for key in keys[1:]:
            parent[root(key)] = root(keys[0])
        touched.append((keys[0], operation))
    members: dict[str | None, list[str | None]] = {}
    for key in parent:
        members.setdefault(root(key), []).append(key)
    names = {
        top: ", ".join(sorted("(no key)" if key is None else key for key in keys))
        for top, keys in members.items()
    }
    parts: dict[str, list[Operation]] = {}
    for key, operation in touched:
        parts.setdefault(names[root(key)], []).append(operation)
    for part in parts.values():
        part.sort(
            key=lambda operation: (
                operation.start,
                operation.end is None,
                operation.end or 0,
                operation.process,
            )
        )
    return sorted(parts.items())
