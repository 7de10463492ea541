"""`faultlab sim`: its arguments. What it does is in campaigns.py, imported only when it is asked for."""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from faultlab_cli.errors import CliError

app = typer.Typer(
    help="Simulate a system: virtual time, thousands of disasters a minute.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _systems() -> None:
    """Simulate a system: virtual time, thousands of disasters a minute."""


@app.command()
def raft(
    seeds: Annotated[int, typer.Option("--seeds", "-n", min=1, help="How many seeds.")] = 200,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="The first of them.")] = 1,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, max=256, help="Processes; 0: one for each core.")
    ] = 0,
    rule: Annotated[
        str | None, typer.Option("--break-rule", help="Switch one guard off, to see which promise breaks.")
    ] = None,
    replay: Annotated[
        int | None, typer.Option("--replay", min=0, help="Run this one seed, and write down what happens.")
    ] = None,
    case: Annotated[
        Path | None, typer.Option("--case", help="Run a case.json again, as a shrunk run leaves it.")
    ] = None,
    shrunk: Annotated[
        bool, typer.Option("--shrink/--no-shrink", help="Make a failing run smaller before it is written.")
    ] = True,
    go_on: Annotated[
        bool, typer.Option("--keep-going", help="Run all seeds, also after one that failed.")
    ] = False,
    all_marks: Annotated[
        bool, typer.Option("--all-marks", help="Fail also where a situation was never reached.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where files go (default: results/sim-TIME).")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers there.")] = None,
) -> None:
    """Simulate Raft clusters, each seed a life full of faults. Exit code 0: all promises held; 1: not."""
    if replay is not None and case is not None:
        raise CliError("--replay runs a seed, --case a file: give one of them")
    from faultlab_cli import campaigns

    console = Console()
    chosen = campaigns.rule_of(rule)
    folder = out or Path("results") / f"sim-{datetime.now():%Y%m%d-%H%M%S}"
    if case is not None:
        raise typer.Exit(campaigns.replay(console, campaigns.case_in(case), folder, shrunk))
    if replay is not None:
        raise typer.Exit(campaigns.replay(console, campaigns.seed_case(replay, chosen), folder, shrunk))
    campaign = campaigns.Campaign(
        seeds=range(first_seed, first_seed + seeds),
        jobs=jobs or os.cpu_count() or 1,
        rule=chosen,
        folder=folder,
        shrunk=shrunk,
        go_on=go_on,
        all_marks=all_marks,
        json_file=json_file,
    )
    raise typer.Exit(campaigns.run(console, campaign))
