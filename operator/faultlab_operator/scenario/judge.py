"""The judge's process: a run's directory in, `verdict.json` and `report.html` out.

A child of the operator, whose loop must not wait: `python -m faultlab_operator.scenario.judge DIR`.
It reads nothing but the directory, so a verdict can be given again, later and elsewhere.
Exits 0 once both files are written, whatever the verdict; 2 with a message when it cannot judge.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from faultlab.contract.run import VerdictDocument
from faultlab_operator.report import render_report
from faultlab_operator.scenario.errors import ScenarioError
from faultlab_operator.scenario.linearizability import faultlab_checker
from faultlab_operator.scenario.record import REPORT_FILE, VERDICT_FILE, replace_file
from faultlab_operator.scenario.verdict import judge, load_run

REPORT_RESERVE_S = 10.0
"""Kept back from the checker's time, for measures and the report."""


def judge_directory(directory: Path) -> VerdictDocument:
    """Judges the run and writes both files. Raises ScenarioError where the directory does not allow it."""
    started = time.monotonic()
    run = load_run(directory)
    deadline = started + max(5.0, run.record.check_deadline_s - REPORT_RESERVE_S)
    verdict = judge(run, faultlab_checker, deadline)
    replace_file(directory / REPORT_FILE, render_report(run, verdict).encode())
    replace_file(directory / VERDICT_FILE, msgspec.json.format(msgspec.json.encode(verdict), indent=2))
    return verdict


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="faultlab_operator.scenario.judge", description=__doc__)
    parser.add_argument("directory", type=Path, help="a run's directory, with its run.json")
    directory: Path = parser.parse_args(arguments).directory
    try:
        verdict = judge_directory(directory)
    except ScenarioError as error:
        print(error, file=sys.stderr)
        return 2
    print(verdict.verdict)
    return 0


if __name__ == "__main__":
    sys.exit(main())
