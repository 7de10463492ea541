"""Runs as a whole: the same again everywhere, faults as data, and verdicts that can be trusted."""

import os
import subprocess
import sys

import msgspec
import pytest

from faultlab.sim import MARKS, Action, Options, TraceEvent, draw, run_seed, simulate
from faultlab.sim.demonstrations import lease_options, lease_plan
from faultlab.sim.loop import Loop
from faultlab.sim.marks import Marks
from faultlab.sim.plan import draw_plan
from faultlab.sim.streams import Streams
from faultlab.sim.trace import Recorder

SEEDS = (11, 12, 13)


def _hashes_elsewhere(hash_seed: str) -> list[str]:
    program = f"from faultlab.sim import simulate\nfor s in {SEEDS}: print(simulate(s).hash)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.split()


def test_a_seed_does_the_same_in_every_process_whatever_its_hash_seed_is() -> None:
    here = [simulate(seed).hash for seed in SEEDS]

    assert len(set(here)) == len(SEEDS)
    assert _hashes_elsewhere("1") == here
    assert _hashes_elsewhere("31337") == here


def test_a_run_does_not_depend_on_who_watches_or_what_ran_before() -> None:
    events: list[TraceEvent] = []
    watched = simulate(14, trace=events.append)

    assert simulate(14).hash == watched.hash
    assert [event.at_ns for event in events] == sorted(event.at_ns for event in events)
    kinds = {event.kind for event in events}
    assert {"sent", "received", "role", "commit", "invoke", "complete", "started", "phase"} <= kinds


def test_options_and_plan_given_are_those_that_the_seed_would_have_drawn() -> None:
    options, plan = draw(15)

    assert simulate(15, options, plan=plan).hash == simulate(15).hash


def test_a_plan_is_data_that_may_be_thinned_out_and_sent_as_json() -> None:
    options, plan = draw(16)
    fewer = plan[::2]
    sent = msgspec.json.decode(msgspec.json.encode(fewer), type=list[Action])
    options_sent = msgspec.json.decode(msgspec.json.encode(options), type=Options)

    assert [action.id for action in sent] == [action.id for action in fewer]
    assert simulate(16, options_sent, plan=sent).hash == simulate(16, options, plan=fewer).hash


def test_plans_are_in_the_order_of_time_and_do_nothing_before_a_first_election_could_end() -> None:
    for seed in range(100):
        options, plan = draw(seed)
        assert list(plan) == sorted(plan, key=lambda action: action.at_ns)
        assert [action.id for action in plan] == list(range(len(plan)))
        assert all(action.at_ns > options.election_ns for action in plan)
        assert plan == draw_plan(Streams(seed).stream("plan"), options)


@pytest.mark.parametrize("seed", range(20, 40))
def test_no_promise_is_broken(seed: int) -> None:
    outcome = run_seed(seed)

    assert outcome.ok, outcome.violation
    assert outcome.operations > 20


def test_clients_reads_are_never_stale_while_clocks_drift_within_what_a_lease_assumes() -> None:
    for seed in range(1, 9):
        outcome = simulate(seed, lease_options(), plan=lease_plan(0.047))
        assert outcome.ok, (seed, outcome.violation)
        assert "lease read served" in outcome.marks


def test_clocks_that_drift_beyond_what_a_lease_assumes_make_reads_stale() -> None:
    """The first of the seeds that shows it is enough: that there is one is the property."""
    violations = (simulate(seed, lease_options(), plan=lease_plan(0.3)).violation for seed in range(1, 60))

    assert any(violation is not None and violation.startswith("linearizability") for violation in violations)


def test_a_mark_that_is_not_registered_is_a_mistake_of_the_simulator() -> None:
    marks = Marks(Recorder(Loop(), None))
    with pytest.raises(KeyError, match="register it"):
        marks.reach("no such thing")
    marks.reach("busy")

    assert marks.counts() == {"busy": 1}
    assert len(MARKS) >= 25
