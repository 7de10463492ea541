"""What `faultlab sim` does: many seeds with progress, and the smallest form of one that broke a promise."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from faultlab.raft.rules import Rule, rule_named
from faultlab.sim import MARKS, Outcome
from faultlab.sim.campaign import Tally, run_campaign
from faultlab.sim.case import (
    CASE_FILE,
    DIAGRAM_FILE,
    TRACE_FILE,
    Case,
    case_of,
    read_case,
    shrink_case,
    write_case,
)
from faultlab_cli.errors import CliError

MAX_FAILURES = 3
"""Failing seeds that are shrunk and written; of further ones only the number is told."""


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    seeds: range
    jobs: int
    rule: Rule | None
    folder: Path
    """Where failing seeds are written."""
    shrunk: bool
    """Whether they are made smaller first."""
    go_on: bool
    """Whether seeds are run after one has failed."""
    all_marks: bool
    """Whether a situation that was never reached is a failure."""
    json_file: Path | None


def run(console: Console, campaign: Campaign) -> int:
    """All seeds; the exit code."""
    tally = Tally()
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    outcomes = run_campaign(campaign.seeds, campaign.jobs, campaign.rule)
    with contextlib.closing(outcomes), bar:
        task = bar.add_task("seeds", total=len(campaign.seeds))
        for outcome in outcomes:
            tally.add(outcome)
            bar.advance(task)
            if not outcome.ok and not campaign.go_on:
                break
    elapsed_s = time.monotonic() - began
    missed = [mark for mark in MARKS if mark not in tally.marks]
    _print_summary(console, campaign, tally, elapsed_s)
    _explain_failures(console, campaign, tally)
    if campaign.json_file is not None:
        _write_numbers(campaign, campaign.json_file, tally, elapsed_s, missed)
    return 1 if tally.failed or (campaign.all_marks and missed) else 0


def replay(console: Console, case: Case, folder: Path, shrunk: bool) -> int:
    """One run again, with its files; the exit code."""
    outcome = case.run()
    if outcome.ok:
        _write(console, folder, case)
        console.print(f"Seed {case.seed}: every promise held. Hash {outcome.hash}.")
        return 0
    _explain(console, case, outcome, folder, shrunk)
    return 1


def seed_case(seed: int, rule: Rule | None) -> Case:
    """The run of a seed."""
    return case_of(seed, rule)


def rule_of(name: str | None) -> Rule | None:
    """Raises CliError for a rule that there is not."""
    try:
        return rule_named(name)
    except ValueError as error:
        raise CliError(str(error)) from error


def case_in(path: Path) -> Case:
    """Raises CliError where the file holds none."""
    try:
        return read_case(path)
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise CliError(str(error)) from error


def _explain_failures(console: Console, campaign: Campaign, tally: Tally) -> None:
    failed = sorted(tally.failed, key=lambda outcome: outcome.seed)
    for outcome in failed[:MAX_FAILURES]:
        folder = campaign.folder / f"seed-{outcome.seed}"
        _explain(console, case_of(outcome.seed, campaign.rule), outcome, folder, campaign.shrunk)
    if len(failed) > MAX_FAILURES:
        rest = ", ".join(str(outcome.seed) for outcome in failed[MAX_FAILURES:][:20])
        console.print(f"{len(failed) - MAX_FAILURES} more seeds failed: {rest}")


def _explain(console: Console, case: Case, outcome: Outcome, folder: Path, shrunk: bool) -> None:
    """Says what broke, shrinks the run and writes its files."""
    console.print(f"[red]Seed {case.seed} failed:[/] {escape(outcome.violation or '')}", soft_wrap=True)
    if not outcome.hash:
        console.print(f"  It cannot be traced. See it: faultlab sim raft --replay {case.seed}")
        return
    if shrunk:
        before = len(case.plan)
        with console.status(f"shrinking seed {case.seed}"):
            case, how = shrink_case(case, outcome.violation or "")
        console.print(
            f"  shrunk from {before} faults to {len(case.plan)} and to {case.options.clients.operations}"
            f" operations in {how.attempts} runs{'' if how.minimal else ', where the budget ended'}"
        )
    _write(console, folder, case)
    console.print(f"  again    faultlab sim raft --case {folder / CASE_FILE}", soft_wrap=True)


def _write(console: Console, folder: Path, case: Case) -> None:
    try:
        write_case(folder, case)
    except OSError as error:
        raise CliError(f"the run cannot be written to {folder}: {error.strerror}; give --out DIR") from error
    console.print(f"  words    {folder / TRACE_FILE}", soft_wrap=True)
    console.print(f"  diagram  {folder / DIAGRAM_FILE}", soft_wrap=True)


def _print_summary(console: Console, campaign: Campaign, tally: Tally, elapsed_s: float) -> None:
    rate = tally.runs / max(elapsed_s, 1e-9) * 60
    console.print(
        f"{tally.runs} of {len(campaign.seeds)} seeds in {elapsed_s:.1f} s on {campaign.jobs} processes:"
        f" {rate:.0f} a minute, {rate / campaign.jobs:.0f} on each;"
        f" {tally.virtual_s / 60:.0f} minutes of virtual time, {tally.operations} operations",
        soft_wrap=True,
    )
    table = Table("situation", "seeds", box=None, padding=(0, 2, 0, 0), header_style="bold")
    missed = []
    for mark, meaning in MARKS.items():
        count = tally.marks.get(mark, 0)
        if count:
            table.add_row(mark, str(count))
        else:
            missed.append(f"{mark}: {meaning}")
    if console.is_terminal:
        console.print(table)
    console.print(f"{len(MARKS) - len(missed)} of {len(MARKS)} situations reached")
    if tally.failed:
        return
    for line in missed:
        console.print(f"  [yellow]never reached[/]  {escape(line)}", soft_wrap=True)
    console.print("[green]Every promise held.[/]")


def _write_numbers(
    campaign: Campaign, path: Path, tally: Tally, elapsed_s: float, missed: Sequence[str]
) -> None:
    numbers = {
        "firstSeed": campaign.seeds[0],
        "seeds": tally.runs,
        "jobs": campaign.jobs,
        "seconds": round(elapsed_s, 3),
        "seedsPerMinuteAndJob": round(tally.runs / max(elapsed_s, 1e-9) * 60 / campaign.jobs, 1),
        "failed": {str(outcome.seed): outcome.violation for outcome in tally.failed},
        "marks": tally.marks,
        "neverReached": missed,
    }
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(numbers), indent=2) + b"\n")
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}") from error
