"""The main job: the scenario of `make demo`, and the ones that must fail."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from lab import ROOT, Lab

from faultlab.history.events import read_events
from faultlab.history.operations import pair_events

pytestmark = pytest.mark.e2e
DEMO = ROOT / "chaos" / "scenarios" / "raft-leader-partition.yaml"
SCENARIOS = sorted(DEMO.parent.glob("*.yaml"))
BROKEN = sorted((ROOT / "tests" / "e2e" / "broken").glob("*.yaml"))
EVIDENCE = {
    "stale-reads": {"linearizable"},
    "commit-without-majority": {"linearizable", "logMatching", "memberInvariants"},
    "forget-vote": {"electionSafety"},
}
"""Of these checks at least one must have failed, for the run to have failed for the right reason."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_on_offer_ends_in_pass_with_proof(world_lab: Lab, tmp_path: Path, scenario: Path) -> None:
    out = tmp_path / "out"
    started = time.monotonic()
    code, verdict = world_lab.run(scenario, out)
    took_s = time.monotonic() - started
    assert (code, verdict.get("verdict")) == (0, "Pass"), (tmp_path / "out.log").read_text()
    for fault in verdict["faults"]:
        assert all(fault[proof] for proof in ("injectedAt", "observedAt", "healedAt", "healVerifiedAt"))
    _assert_history_is_well_formed(out / "history.ndjson", verdict["operations"])
    _assert_self_contained(out / "report.html")
    status = world_lab.status_of("scenario", scenario.stem)
    assert (status["phase"], status["verdict"]) == ("Done", "Pass")
    if scenario == DEMO:
        assert took_s < 90
        _assert_a_leader_fell(verdict, out)


def _assert_a_leader_fell(verdict: dict[str, Any], out: Path) -> None:
    assert sum(verdict["operations"].values()) >= 3000
    assert 0 < verdict["failoverMs"] <= 1500
    assert verdict["unavailabilityMs"] >= 0
    assert verdict["leaderBefore"] != verdict["leaderAfter"]
    assert len(verdict["terms"]) >= 2
    (fault,) = verdict["faults"]
    assert verdict["leaderBefore"] in fault["cutOff"]
    assert len(fault["cutOff"]) == 2
    assert {check["name"] for check in verdict["checks"]} >= {"linearizable", "leaderChanged", "failover"}
    _assert_events_tell_the_story(out / "events.ndjson", verdict["leaderAfter"])


def _assert_history_is_well_formed(path: Path, counts: dict[str, int]) -> None:
    operations = pair_events(read_events(path))
    outcomes = [operation.outcome for operation in operations]
    assert {kind: outcomes.count(kind) for kind in ("ok", "fail", "info")} == counts  # type: ignore[comparison-overlap]


def _assert_events_tell_the_story(path: Path, leader_after: str) -> None:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    types = {event["type"] for event in events}
    assert types >= {"LeaderLost", "ElectionStarted", "LeaderElected", "Injected", "EffectObserved"}
    assert types >= {"Healed", "HealVerified", "PhaseChanged", "Applied"}
    elected = [event["subject"] for event in events if event["type"] == "LeaderElected"]
    assert leader_after in elected


def _assert_self_contained(path: Path) -> None:
    page = path.read_text()
    assert "<svg" in page
    references = re.findall(r"""(?:src|href)=["']([^"'#]+)["']""", page) + re.findall(r"url\(([^)]+)\)", page)
    assert not [r for r in references if not r.startswith(("data:", "#"))]


@pytest.mark.parametrize("scenario", BROKEN, ids=lambda path: path.stem)
def test_a_broken_rule_ends_in_fail_with_the_guilty_shown(
    world_lab: Lab, tmp_path: Path, scenario: Path
) -> None:
    _assert_broken(world_lab, tmp_path, scenario)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", BROKEN, ids=lambda path: path.stem)
def test_a_broken_rule_ends_in_fail_every_time_in_ten_runs(
    world_lab: Lab, tmp_path: Path, scenario: Path
) -> None:
    for number in range(10):
        round_path = tmp_path / str(number)
        round_path.mkdir()
        _assert_broken(world_lab, round_path, scenario)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_demo_passes_ten_times_in_a_row(world_lab: Lab, tmp_path: Path) -> None:
    for number in range(10):
        code, verdict = world_lab.run(DEMO, tmp_path / str(number))
        assert code == 0, verdict.get("reasons")
        assert verdict["failoverMs"] <= 1500


def _assert_broken(lab: Lab, tmp_path: Path, scenario: Path) -> None:
    out = tmp_path / "out"
    code, verdict = lab.run(scenario, out)
    assert (code, verdict.get("verdict")) == (1, "Fail"), (tmp_path / "out.log").read_text()
    failed = {check["name"]: check for check in verdict["checks"] if check["result"] == "fail"}
    guilty = set(failed) & EVIDENCE[scenario.stem]
    assert guilty, f"failed, but for another reason: {list(failed)}"
    assert all(failed[name]["evidence"] for name in guilty)
    page = (out / "report.html").read_text()
    assert "FAIL" in page.upper()
    assert all(name in page for name in guilty)
