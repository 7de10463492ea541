"""Every rule that carries safety is found by the seed that the table names, and only without the rule."""

import re
from pathlib import Path

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


def test_the_page_names_the_promise_and_the_seed_of_every_rule() -> None:
    page = (Path(__file__).parents[3] / "docs/systems/raft.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\w -]+) \| (\d+) \|$", page, re.MULTILINE)

    assert {rule: (breaks, int(seed)) for rule, breaks, seed in rows} == {
        rule: (found.breaks, found.seed) for rule, found in TABLE.items()
    }
