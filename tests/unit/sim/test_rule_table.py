"""Every rule that carries safety is found by the seed that the table names, and only without the rule."""

import pytest

from faultlab.raft.rules import RULES, Rule
from faultlab.sim.rule_table import EXPECTED, recorded, shows

TABLE = recorded()


def test_every_rule_is_in_the_table_with_a_promise_that_it_guards() -> None:
    assert set(TABLE) == set(RULES) == set(EXPECTED)
    assert all(found.breaks in EXPECTED[rule] for rule, found in TABLE.items())


@pytest.mark.parametrize("rule", sorted(TABLE))
def test_the_recorded_seed_breaks_the_promise_without_the_rule_and_none_with_it(rule: Rule) -> None:
    found = shows(rule, TABLE[rule].seed)

    assert found is not None, "the runs have changed: look for seeds anew, python -m faultlab.sim.rule_table"
    assert found.breaks == TABLE[rule].breaks
