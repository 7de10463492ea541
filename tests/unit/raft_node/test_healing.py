"""A leader that a partition cuts off is succeeded, and is back among the others soon after the heal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

INSIDE = Path(__file__).with_name("healing_inside_namespaces.py")
UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-nmpf", "--mount-proc", "--kill-child"]


@pytest.mark.e2e
def test_members_find_each_other_at_once_when_a_partition_ends(tmp_path: Path) -> None:
    """On an idle machine 150 ms. TCP alone, backing off through a cut of 4 s, would take seconds."""
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no namespaces on this machine ({tried.stderr.strip()}): see `faultlab doctor`")
    command = [*UNSHARE, sys.executable, str(INSIDE), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert run.returncode == 0, run.stderr + "".join(log.read_text() for log in tmp_path.glob("*.log"))
    measured = json.loads(run.stdout)
    print(measured)
    assert measured["cutOffRole"] != "leader"
    assert measured["failoverMs"] < 5000
    assert measured["healedMs"] < 1000
