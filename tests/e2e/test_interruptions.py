"""Whatever is killed, and whenever, nothing stays."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from embedded_lab import ROOT, Lab, alive, eventually, network_namespaces

pytestmark = pytest.mark.e2e
LONG = ROOT / "tests" / "e2e" / "scenarios" / "long.yaml"
QUICK = ROOT / "tests" / "e2e" / "scenarios" / "quick.yaml"


def _wait_until_cut(lab: Lab, scenario: str) -> None:
    def cut() -> bool:
        try:
            condition = lab.condition("networkpartition", f"{scenario}-fault-1", "EffectObserved")
        except Exception:
            return False
        return bool(condition and condition["status"] == "True")

    eventually("the cut is proven", cut, 60)


class Leftovers:
    """What a world consists of, noted while it runs, so that it can be missed afterwards."""

    def __init__(self, lab: Lab, *but: int) -> None:
        self._lab = lab
        self.processes = [pid for pid in lab.descendants() if pid not in but]
        self.namespaces = network_namespaces(self.processes)
        assert len(self.namespaces) >= 3, "the world has namespaces of its own"

    def assert_gone(self, within_s: float) -> None:
        eventually("every process of the world has gone", lambda: not alive(self.processes), within_s)
        eventually("its namespaces have gone", lambda: not self.namespaces & network_namespaces(), 2)
        eventually("nothing with its home is left", lambda: not self._lab.processes(), within_s)


@pytest.mark.parametrize("when", ["while the world starts", "during the fault"])
def test_ctrl_c_cleans_up_within_five_seconds(own_lab: Lab, tmp_path: Path, when: str) -> None:
    process = own_lab.begin("run", str(LONG), "--out", str(tmp_path / "out"))
    leftovers = None
    if when == "during the fault":
        _wait_until_cut(own_lab, "long")
        leftovers = Leftovers(own_lab)
    else:
        eventually("the home exists", own_lab.home.exists, 20)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert time.monotonic() - started < 5, output
    assert process.returncode == 130, output
    assert "Traceback" not in output
    if leftovers:
        leftovers.assert_gone(5)
    eventually("nothing with its home is left", lambda: not own_lab.processes(), 5)


def test_a_killed_run_leaves_nothing(own_lab: Lab, tmp_path: Path) -> None:
    process = own_lab.begin("run", str(LONG), "--out", str(tmp_path / "out"))
    _wait_until_cut(own_lab, "long")
    leftovers = Leftovers(own_lab)
    process.kill()
    process.wait(10)
    leftovers.assert_gone(15)


def test_a_killed_world_takes_everything_with_it_and_the_run_says_so(own_lab: Lab, tmp_path: Path) -> None:
    process = own_lab.begin("run", str(LONG), "--out", str(tmp_path / "out"))
    try:
        _wait_until_cut(own_lab, "long")
        leftovers = Leftovers(own_lab, process.pid)
        os.kill(own_lab.info().pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=90)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 2
    assert "Traceback" not in output
    leftovers.assert_gone(10)


def test_a_second_run_of_a_scenario_under_way_says_why_not_and_disturbs_nothing(
    own_lab: Lab, tmp_path: Path
) -> None:
    first = own_lab.begin("run", str(QUICK), "--out", str(tmp_path / "first"))
    try:
        eventually("the first runs", lambda: _phase(own_lab) not in (None, "Pending"), 60)
        second = own_lab.faultlab("run", str(QUICK), "--out", str(tmp_path / "second"))
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
    assert [run.returncode for run in runs] == [0, 0], "\n".join(outputs)
