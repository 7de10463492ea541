"""Judges a history: pairs it, parts it by keys, searches each part for an order."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from faultlab.checker.append import AppendModel
from faultlab.checker.errors import UnknownModelError
from faultlab.checker.explain import explain, operations_of
from faultlab.checker.kv import KvModel
from faultlab.checker.mixed import MixedModel
from faultlab.checker.models import Model, MutexModel, RegisterModel, Search
from faultlab.checker.partition import partition
from faultlab.checker.result import CheckResult, Verdict
from faultlab.checker.stale import StaleReadsModel
from faultlab.checker.window import find_window
from faultlab.history.events import Event
from faultlab.history.operations import Operation, pair_events

MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        RegisterModel("register", cas=False),
        RegisterModel("cas-register", cas=True),
        AppendModel(),
        KvModel(),
        MixedModel(),
        MutexModel(),
        StaleReadsModel(),
    )
}

_FIRST_BUDGET = 50_000
_LARGEST_BUDGET = 400_000
"""Memory is looked at between turns, so a turn is short enough to exceed the limit by little."""
_WINDOW_TIME_S = 10.0
"""How long a window is made smaller once the history is known to be invalid, within the time limit."""


@dataclass
class _Task:
    """One partition; its search is made when its turn comes."""

    name: str
    part: Sequence[Operation]
    search: Search | None = None


def check(
    events: Iterable[Event], model: str, *, time_limit_s: float = 60, memory_limit_mb: int = 1024
) -> CheckResult:
    """Whether the history's operations have an order that `model` and real time allow.

    Each partition gets a budget in turn, and those that are still undecided a larger one, so that one hard
    key does not hide another's clear verdict. Everything runs in this process and thread: the
    budgets are in configurations, so the verdict does not depend on the machine until time runs out.

    Raises UnknownModelError, and HistoryError where the history is not well formed or holds
    operations that the model does not know. Running out of time or memory gives `unknown`.
    """
    started = time.monotonic()
    chosen = MODELS.get(model)
    if chosen is None:
        raise UnknownModelError(f"there is no model {model!r}; there are {', '.join(sorted(MODELS))}")
    operations = pair_events(events)
    tasks = [_Task(name, part) for name, part in partition(operations, chosen)]
    keys = len(tasks)

    def result(verdict: Verdict, message: str) -> CheckResult:
        return CheckResult(verdict, model, len(operations), keys, _ms_since(started), message)

    deadline = started + time_limit_s
    budget = _FIRST_BUDGET
    while tasks:
        undecided: list[_Task] = []
        for task in tasks:
            if time.monotonic() > deadline:
                return result("unknown", f"out of time after {time_limit_s:g} s, at {task.name}")
            if task.search is None:
                task.search = chosen.search(task.part)
            found = task.search.run(budget, deadline)
            if found is False:
                return _invalid(chosen, task, operations, keys, started, deadline)
            if found is None:
                undecided.append(task)
            if sum(left.search.memory_bytes for left in undecided if left.search) > memory_limit_mb << 20:
                return result("unknown", f"out of memory: more than {memory_limit_mb} MiB, at {task.name}")
        tasks = undecided
        budget = min(2 * budget, _LARGEST_BUDGET)
    return result("valid", f"{operations_of(len(operations))} on {keys} key{'s' * (keys != 1)} have an order")


def _invalid(
    model: Model, task: _Task, operations: Sequence[Operation], keys: int, started: float, deadline: float
) -> CheckResult:
    assert task.search is not None
    window = find_window(
        model, task.part, task.search.furthest, min(deadline, time.monotonic() + _WINDOW_TIME_S)
    )
    message, attempt = explain(model, task.name, window.operations, from_start=window.from_start)
    if not window.minimal:
        message += "; there was no time to make the window smaller"
    originals = {operation.index: operation for operation in operations}
    return CheckResult(
        "invalid",
        model.name,
        len(operations),
        keys,
        _ms_since(started),
        message,
        task.name,
        tuple(originals[operation.index] for operation in window.operations),
        window.from_start,
        tuple(operation.index for operation in attempt.order) if attempt else (),
    )


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
