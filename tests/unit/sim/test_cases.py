"""What a campaign leaves of a failing seed: small, readable, and the same again when it is run again."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from faultlab.sim import simulate
from faultlab.sim.campaign import Tally, run_campaign
from faultlab.sim.case import CASE_FILE, DIAGRAM_FILE, TRACE_FILE, case_of, read_case, shrink_case, write_case

RULE = "commitWithoutMajority"


def _failing_seed() -> int:
    return next(outcome.seed for outcome in run_campaign(range(1, 100), 1, RULE) if not outcome.ok)


def test_a_failing_seed_is_shrunk_written_and_fails_alike_when_its_file_is_run(tmp_path: Path) -> None:
    case = case_of(_failing_seed(), RULE)
    violation = case.run().violation
    assert violation is not None

    small, how = shrink_case(case, violation)
    written = write_case(tmp_path, small)
    again = read_case(tmp_path / CASE_FILE).run()

    assert len(small.plan) < len(case.plan)
    assert how.minimal
    assert (again.violation, again.hash) == (written.violation, written.hash)
    assert again.violation is not None
    assert again.violation.partition(":")[0] == violation.partition(":")[0]
    text = (tmp_path / TRACE_FILE).read_text()
    assert f"VIOLATION {written.violation}" in text.splitlines()[-1]
    assert "append 1, term 1" in text
    assert written.violation in (tmp_path / DIAGRAM_FILE).read_text()


def test_processes_find_the_same_as_one_alone() -> None:
    seeds = range(300, 309)

    alone = {outcome.seed: outcome.hash for outcome in run_campaign(seeds, 1)}
    together = {outcome.seed: outcome.hash for outcome in run_campaign(seeds, 2)}

    assert alone == together
    assert list(alone) == list(seeds)


def test_an_exception_in_a_run_is_a_failure_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(seed: int, rule: str | None) -> None:
        raise ZeroDivisionError(f"seed {seed} with {rule}")

    monkeypatch.setattr("faultlab.sim.campaign.run_seed", broken)
    tally = Tally()
    for outcome in run_campaign([5], 1):
        tally.add(outcome)

    assert [outcome.seed for outcome in tally.failed] == [5]
    assert "ZeroDivisionError" in str(tally.failed[0].violation)


def test_a_run_with_fewer_faults_does_not_draw_differently_from_the_rest() -> None:
    case = case_of(7)

    whole, without_any = simulate(7, case.options, plan=case.plan), simulate(7, case.options, plan=())

    assert whole.hash != without_any.hash
    assert simulate(7).hash == whole.hash


def _cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("faultlab"), "sim", "raft", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_the_command_exits_1_with_files_for_a_broken_promise_and_replays_it(tmp_path: Path) -> None:
    found = _cli("--seeds", "60", "--jobs", "1", "--break-rule", RULE, "--out", str(tmp_path))
    assert found.returncode == 1, found.stdout + found.stderr
    case = next(tmp_path.glob(f"seed-*/{CASE_FILE}"))

    again = _cli("--case", str(case), "--no-shrink", "--out", str(tmp_path / "again"))

    assert again.returncode == 1
    hashes = {
        msgspec.json.decode(path.read_bytes())["hash"] for path in (case, tmp_path / "again" / CASE_FILE)
    }
    assert len(hashes) == 1


def test_the_command_exits_0_and_tells_its_speed_where_all_promises_hold(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"
    done = _cli("--seeds", "10", "--jobs", "1", "--json", str(numbers), "--out", str(tmp_path / "files"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"10 of 10 seeds in .* a minute", done.stdout)
    assert msgspec.json.decode(numbers.read_bytes())["seeds"] == 10
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--break-rule", "gravity"], "there is no rule 'gravity'"),
        (["--replay", "1", "--case", "x.json"], "give one of them"),
        (["--case", "/nowhere/case.json"], "No such file"),
        (["--seeds", "0"], "--seeds"),
    ],
)
def test_nonsense_is_refused_in_a_line(arguments: list[str], complaint: str) -> None:
    done = _cli(*arguments)

    assert done.returncode == 2
    assert complaint in done.stderr


def test_a_file_that_is_no_case_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_text('{"seed": "x"}')

    done = _cli("--case", str(path))

    assert done.returncode == 2
    assert "is no case of the simulator" in done.stderr
