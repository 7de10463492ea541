"""A failing run made smaller: fewer faults, fewer operations, as long as the same promise breaks.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) over the
plan: parts of it are left out, the larger first, and a part stays out if the run still fails without it. A
run is a function of its seed, options and plan, so each attempt is exact. What comes out need not be the
smallest, only such that no single action can be left out (unless the budget ended first, which is said).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from .options import Options
from .plan import Action

Item = TypeVar("Item")

Fails = Callable[[Options, Sequence[Action]], bool]
"""Whether a run with these still breaks the promise that the first one broke."""


class Shrunk(msgspec.Struct, frozen=True):
    """The smaller run."""

    options: Options
    plan: tuple[Action, ...]
    attempts: int
    minimal: bool
    """Whether no single action can be left out; False where the budget ended first."""


class _Budget:
    """Counts attempts, and says when there have been enough."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def spend(self) -> bool:
        """Takes one attempt; False when none is left."""
        if self.used >= self._limit:
            return False
        self.used += 1
        return True


def shrink(options: Options, plan: Sequence[Action], fails: Fails, max_attempts: int = 150) -> Shrunk:
    """Shrinks a run that fails. `fails` is called at most `max_attempts` times, each a whole run."""
    budget = _Budget(max_attempts)
    kept, minimal = _without_needless(list(plan), lambda part: fails(options, part), budget)
    options = _fewer_operations(options, kept, fails, budget)
    return Shrunk(options, tuple(kept), budget.used, minimal)


def _without_needless(
    items: list[Item], fails: Callable[[list[Item]], bool], budget: _Budget
) -> tuple[list[Item], bool]:
    """ddmin: leaves out halves, then quarters and so on down to single items."""
    if not items:
        return items, True
    if budget.spend() and fails([]):
        return [], True
    size = len(items)
    while size >= 1:
        at = 0
        shorter = False
        while at < len(items) and len(items) > 1:
            candidate = items[:at] + items[at + size :]
            if not candidate:
                break
            if not budget.spend():
                return items, False
            if fails(candidate):
                items, shorter = candidate, True
            else:
                at += size
        # What one item needed may be gone with another: single items are tried until all are needed.
        size = size if size == 1 and shorter else min(size, len(items)) // 2
    return items, True


def _fewer_operations(options: Options, plan: list[Action], fails: Fails, budget: _Budget) -> Options:
    """Halves the clients' operations while the run still fails."""
    while options.clients.operations > 1:
        clients = msgspec.structs.replace(options.clients, operations=options.clients.operations // 2)
        fewer = msgspec.structs.replace(options, clients=clients)
        if not budget.spend() or not fails(fewer, plan):
            break
        options = fewer
    return options
