"""A failing plan is made smaller without ever losing the failure."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultlab.sim.options import Options
from faultlab.sim.plan import Action
from faultlab.sim.shrink import Fails, shrink


def _plan(count: int) -> list[Action]:
    return [Action(id=number, at_ns=number, kind="crash") for number in range(count)]


def _needs(needed: frozenset[int], operations: int = 1) -> Fails:
    def fails(options: Options, plan: Sequence[Action]) -> bool:
        return needed <= {action.id for action in plan} and options.clients.operations >= operations

    return fails


@given(st.integers(1, 60), st.data())
def test_exactly_the_actions_that_the_failure_needs_are_left(count: int, data: st.DataObject) -> None:
    needed = frozenset(data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=4)))

    shrunk = shrink(Options(), _plan(count), _needs(needed), max_attempts=2000)

    assert {action.id for action in shrunk.plan} == needed
    assert shrunk.minimal


def test_a_failure_that_needs_no_fault_is_left_without_any() -> None:
    shrunk = shrink(Options(), _plan(12), _needs(frozenset()))

    assert shrunk.plan == ()


def test_operations_are_halved_as_long_as_the_run_fails() -> None:
    shrunk = shrink(Options(), _plan(2), _needs(frozenset({1}), operations=30))

    assert 30 <= shrunk.options.clients.operations < 60


@pytest.mark.parametrize("budget", [0, 1, 3, 7])
def test_a_spent_budget_ends_it_with_a_plan_that_still_fails(budget: int) -> None:
    fails = _needs(frozenset({0, 5, 11}))
    calls = 0

    def counted(options: Options, plan: Sequence[Action]) -> bool:
        nonlocal calls
        calls += 1
        return fails(options, plan)

    shrunk = shrink(Options(), _plan(12), counted, max_attempts=budget)

    assert fails(shrunk.options, shrunk.plan)
    assert calls <= budget
    assert not shrunk.minimal
