"""Whatever is killed, and whenever, nothing stays."""

import os
import signal
import time
from pathlib import Path

import pytest
from embedded_lab import EmbeddedLab, alive, network_namespaces
from lab import ROOT, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.embedded]
LONG = ROOT / "tests" / "e2e" / "scenarios" / "long.yaml"


def _wait_until_cut(lab: EmbeddedLab, scenario: str) -> None:
    def cut() -> bool:
        try:
            condition = lab.condition("networkpartition", f"{scenario}-fault-1", "EffectObserved")
        except Exception:
            return False
        return bool(condition and condition["status"] == "True")

    eventually("the cut is proven", cut, 60)


class Leftovers:
    """What a world consists of, noted while it runs, so that it can be missed afterwards."""

    def __init__(self, lab: EmbeddedLab, *but: int) -> None:
        self._lab = lab
        self.processes = [pid for pid in lab.descendants() if pid not in but]
        self.namespaces = network_namespaces(self.processes)
        assert len(self.namespaces) >= 3, "the world has namespaces of its own"

    def assert_gone(self, within_s: float) -> None:
        eventually("every process of the world has gone", lambda: not alive(self.processes), within_s)
        eventually("its namespaces have gone", lambda: not self.namespaces & network_namespaces(), 2)
        eventually("nothing with its home is left", lambda: not self._lab.processes(), within_s)


@pytest.mark.parametrize("when", ["while the world starts", "during the fault"])
def test_ctrl_c_cleans_up_within_five_seconds(own_lab: EmbeddedLab, tmp_path: Path, when: str) -> None:
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


def test_a_killed_run_leaves_nothing(own_lab: EmbeddedLab, tmp_path: Path) -> None:
    process = own_lab.begin("run", str(LONG), "--out", str(tmp_path / "out"))
    _wait_until_cut(own_lab, "long")
    leftovers = Leftovers(own_lab)
    process.kill()
    process.wait(10)
    leftovers.assert_gone(15)


def test_a_killed_world_takes_everything_with_it_and_the_run_says_so(
    own_lab: EmbeddedLab, tmp_path: Path
) -> None:
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
