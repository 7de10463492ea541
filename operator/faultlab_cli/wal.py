"""`faultlab wal`: a member's log and snapshots as they lie on the disk."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from faultlab_cli.errors import CliError

if TYPE_CHECKING:
    from faultlab.raft.messages import HardState
    from faultlab.raft.storage.inspection import Range, WalReport

EXIT_CODES = {"ok": 0, "torn": 1, "damaged": 2}
EXIT_NOTHING_THERE = 66
"""EX_NOINPUT of sysexits.h: no verdict, for there is no log."""
_STYLES = {"ok": "green", "torn": "yellow", "damaged": "bold red"}

app = typer.Typer(
    help="Look at a Raft member's log on disk. Changes nothing, and may be done while the member runs.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Directory = Annotated[
    Path, typer.Argument(help="A member's data directory, or the directory of one id in it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON: a list with one object for each id.")]


@app.command()
def inspect(
    directory: Directory,
    groups: Annotated[
        int, typer.Option("--groups", "-g", min=0, help="How many of the last groups to show.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Show segments, groups, snapshots, configuration, terms and ranges of entries."""
    reports = _look(directory, groups)
    if as_json:
        _print_json(reports)
        return
    console = Console()
    for report in reports:
        _print_page(console, report)


@app.command()
def verify(directory: Directory, as_json: AsJson = False) -> None:
    """Say what a start would do: exit code 0 ok, 1 torn tail (it is cut off), 2 damaged (it is refused)."""
    reports = _look(directory, 0)
    if as_json:
        _print_json(reports)
    else:
        console = Console()
        for report in reports:
            console.print(_verdict(report), soft_wrap=True)
    raise typer.Exit(max(EXIT_CODES[report.state] for report in reports))


def _look(directory: Path, groups: int) -> "list[WalReport]":
    from faultlab.raft.storage.inspection import NothingHere, look, member_directories
    from faultlab.runtime.files import RealFiles

    files = RealFiles()
    try:
        return [look(files, found, groups) for found in member_directories(files, directory)]
    except NothingHere as error:
        raise CliError(str(error), EXIT_NOTHING_THERE) from error
    except OSError as error:
        raise CliError(
            f"cannot read {error.filename or directory}: {error.strerror}; look as the user that the member"
            " runs as",
            EXIT_NOTHING_THERE,
        ) from error


def _print_json(reports: "list[WalReport]") -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(reports), indent=2).decode())


def _verdict(report: "WalReport") -> Text:
    text = Text(f"{report.directory}: ").append(report.state, style=_STYLES[report.state])
    if report.state == "torn":
        text = Text(f"{report.directory}: ").append("torn tail", style=_STYLES["torn"])
    if report.file is not None:
        text.append(f" at {report.file}:{report.offset}: {report.what}")
    return text.append(f". A start would {report.a_start_would}.")


def _print_page(console: Console, report: "WalReport") -> None:
    console.print(_verdict(report), soft_wrap=True)
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(report):
        facts.add_row(Text(name, style="bold"), Text(value))
    console.print(facts)
    if report.snapshots:
        snapshots = _table("Snapshots", "file", "index>", "term>", "bytes>", "checksum", "state")
        for each in report.snapshots:
            state = Text(each.damage, style="bold red") if each.damage else Text("ok", style="green")
            size = f"{each.bytes:,}"
            snapshots.add_row(each.file, str(each.index), str(each.term), size, each.checksum, state)
        console.print(snapshots)
    if report.segments:
        segments = _table("Segments", "file", "bytes used>", "of>", "groups>", "entries>", "terms>")
        for held in report.segments:
            used, total = f"{held.bytes_used:,}", f"{held.bytes_total:,}"
            ranges = (_range(each) for each in (held.groups, held.entries, held.terms))
            segments.add_row(held.file, used, total, *ranges)
        console.print(segments)
    if report.last_groups:
        groups = _table("Last groups", "group>", "segment>", "byte>", "bytes>", "entries>", "terms>", "holds")
        for group in report.last_groups:
            holds = [_state(group.hard_state)] if group.hard_state is not None else []
            if group.reset_to is not None:
                holds.append(f"begins anew behind snapshot {group.reset_to}")
            groups.add_row(
                *map(str, (group.number, group.segment, group.offset, group.bytes)),
                _range(group.entries),
                _range(group.terms),
                ", ".join(holds),
            )
        console.print(groups)


def _facts(report: "WalReport") -> list[tuple[str, str]]:
    facts = []
    if report.member is not None:
        facts.append(("member", f"{report.member} of cluster {report.cluster}, data {report.uuid}"))
    if report.hard_state is not None:
        facts += [
            ("hard state", _state(report.hard_state)),
            ("snapshot", f"up to entry {report.snapshot_index}" if report.snapshot_index else "none"),
            ("entries", f"{_range(report.entries)} behind it" if report.entries else "none behind it"),
        ]
    if report.configuration is not None:
        facts.append(("configuration", report.configuration.describe()))
    if report.known_peers:
        peers = ", ".join(f"{peer} {uuid}" for peer, uuid in sorted(report.known_peers.items()))
        facts.append(("known peers", peers))
    return facts


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        right = column.endswith(">")
        table.add_column(column.rstrip(">"), justify="right" if right else "left", overflow="fold")
    return table


def _range(held: "Range | None") -> str:
    if held is None:
        return "-"
    return str(held.first) if held.first == held.last else f"{held.first}-{held.last}"


def _state(state: "HardState") -> str:
    return f"term {state.term}, vote {state.vote or 'none'}, commit {state.commit}"
