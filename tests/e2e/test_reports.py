"""A run that was made by `apply` alone can be read afterwards, also without its Scenario."""

import json
import os
from pathlib import Path

import pytest
import yaml
from lab import ROOT, Lab, eventually

pytestmark = pytest.mark.e2e
QUICK = ROOT / "tests" / "e2e" / "scenarios" / "quick.yaml"
NAME = "quick"
FILES = {"events.ndjson", "history.ndjson", "report.html", "verdict.json"}


def test_a_run_that_was_applied_is_reported_also_after_its_scenario_is_deleted(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    scenario = yaml.safe_load(QUICK.read_text())
    assert world_lab.apply(tmp_path, namespace, scenario).returncode == 0
    early = world_lab.faultlab("report", NAME, "-n", namespace, "--no-open")
    assert early.returncode == 2
    assert "Traceback" not in early.stderr
    eventually(
        "the run is Done",
        lambda: world_lab.status_of("scenario", NAME, namespace).get("phase") == "Done",
        110,
    )
    verdict = _report(world_lab, namespace, tmp_path / "first")
    assert verdict["verdict"] == "Pass"
    deleted = world_lab.faultlab("delete", "scenario", NAME, "-n", namespace)
    assert deleted.returncode == 0, deleted.stderr
    assert _report(world_lab, namespace, tmp_path / "second", "--exit-code") == verdict
    listed = world_lab.faultlab("report", "-n", namespace)
    assert [line.split()[:2] for line in listed.stdout.splitlines()[1:]] == [[namespace, NAME]]
    assert "Pass" in listed.stdout


def _report(lab: Lab, namespace: str, out: Path, *more: str) -> dict[str, object]:
    """The verdict that `faultlab report` brings, beside the other files and on the screen."""
    ended = lab.faultlab("report", NAME, "-n", namespace, "--out", str(out), "--no-open", *more)
    assert ended.returncode == 0, ended.stderr
    assert "PASS" in ended.stdout
    assert set(os.listdir(out)) >= FILES
    verdict: dict[str, object] = json.loads((out / "verdict.json").read_text())
    return verdict


def test_a_run_that_never_was_is_a_sentence(world_lab: Lab, tmp_path: Path) -> None:
    ended = world_lab.faultlab("report", "never", "--out", str(tmp_path / "out"), "--no-open")
    assert ended.returncode == 2
    assert "keeps no run of faultlab/never" in ended.stderr
    assert not (tmp_path / "out").exists()
