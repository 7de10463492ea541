"""Runs inside_namespaces.py once in a network, mount and PID namespace of its own, and reports each test.

A fault never leaves that network, and everything in it (agents, pods, rules) ends with its first process.
Ordinary users get a user namespace as well; where the kernel forbids that, the tests are skipped and say so.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

HERE = Path(__file__).parent
INSIDE = HERE / "inside_namespaces.py"
NAMES = re.findall(r"^async def (test_\w+)", INSIDE.read_text(), re.MULTILINE)
UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-nmpf", "--mount-proc", "--kill-child"]
DEADLINE_S = 150


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Name of a test inside -> what its cases complain of; empty strings for those that passed."""
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no namespaces on this machine ({tried.stderr.strip()}): see `faultlab doctor`")
    folder = tmp_path_factory.mktemp("inside")
    report = folder / "report.xml"
    command = [
        *UNSHARE,
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--override-ini=addopts=",
        "-p",
        "no:cacheprovider",
    ]
    # Inside an ordinary user is called root, whose default folder belongs to the real one.
    command += [f"--rootdir={HERE}", f"--basetemp={folder / 'temporary'}", "--import-mode=prepend"]
    command += [f"--junitxml={report}", str(INSIDE)]
    run = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert report.exists(), run.stdout + run.stderr
    complaints: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        texts = [
            child.text or child.get("message", "") for child in case if child.tag in ("failure", "error")
        ]
        complaints.setdefault(case.attrib["name"].partition("[")[0], []).append("\n".join(texts))
    return complaints


@pytest.mark.timeout(DEADLINE_S + 10)
@pytest.mark.parametrize("name", NAMES)
def test_inside(outcomes: dict[str, list[str]], name: str) -> None:
    assert name in outcomes, "it was not run"
    assert not any(outcomes[name]), "\n".join(outcomes[name])
