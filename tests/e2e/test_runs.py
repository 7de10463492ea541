"""Runs one after the other, at once, and in each other's way."""

import subprocess
from pathlib import Path

import pytest
from lab import ROOT, Lab, eventually

pytestmark = pytest.mark.e2e
QUICK = ROOT / "tests" / "e2e" / "scenarios" / "quick.yaml"


def test_a_second_run_of_a_scenario_under_way_says_why_not_and_disturbs_nothing(
    world_lab: Lab, tmp_path: Path
) -> None:
    first = world_lab.begin("run", str(QUICK), "--out", str(tmp_path / "first"))
    try:
        eventually("the first runs", lambda: _phase(world_lab) not in (None, "Pending"), 60)
        second = world_lab.faultlab("run", str(QUICK), "--out", str(tmp_path / "second"))
        assert second.returncode == 2
        assert "is running" in second.stderr
        output, _ = first.communicate(timeout=90)
    finally:
        if first.poll() is None:
            first.kill()
    assert first.returncode == 0, output


def _phase(lab: Lab) -> str | None:
    try:
        return lab.status_of("scenario", "quick").get("phase")
    except Exception:
        return None


def test_a_finished_scenario_is_replaced_by_the_next_run(world_lab: Lab, tmp_path: Path) -> None:
    for number in ("first", "second"):
        code, verdict = world_lab.run(QUICK, tmp_path / number)
        assert code == 0, verdict.get("reasons")


def test_two_scenarios_in_two_namespaces_run_at_once(world_lab: Lab, tmp_path: Path) -> None:
    runs: list[subprocess.Popen[str]] = []
    try:
        for name in ("left", "right"):
            out = str(tmp_path / name)
            runs += [world_lab.begin("run", str(QUICK), "-n", f"at-once-{name}", "--out", out)]
        outputs = [run.communicate(timeout=120)[0] for run in runs]
    finally:
        for run in runs:
            if run.poll() is None:
                run.kill()
        for name in ("left", "right"):
            world_lab.begin_to_delete_namespace(f"at-once-{name}")
    assert [run.returncode for run in runs] == [0, 0], "\n".join(outputs)
