"""The live view of a run: what the operator serves, drawn for a terminal, or told line by line.

On a terminal a panel is redrawn in place and every event goes above it, where it stays. Without
one (a pipe, CI) only the lines are printed.
"""

from collections import deque
from datetime import datetime

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from faultlab.contract.load import LoadStatus
from faultlab.contract.run import CutEdge, LiveView, RunEvent

PHASES = ("Deploy", "Healthy", "WarmUp", "Fault", "Heal", "Settle", "FinalRead", "Check")
STARTING = ("Pending", "Deploy", "Healthy")
"""Phases in which a member that has never answered has not started yet."""
SPARKS = " ▁▂▃▄▅▆▇█"
SPARK_SECONDS = 60
ROLE_STYLES = {"leader": "bold green", "candidate": "yellow", "preCandidate": "yellow", "follower": "cyan"}
EVENT_STYLES = {
    "LeaderElected": "bold green",
    "LeaderLost": "bold red",
    "ElectionStarted": "yellow",
    "Injected": "bold magenta",
    "EffectObserved": "bold magenta",
    "Healed": "bold blue",
    "HealVerified": "bold blue",
    "InvariantViolated": "bold white on red",
    "PhaseChanged": "bold",
}
QUIET_EVENTS = frozenset({"Applied", "Started", "RoleChanged", "LeaderKnown", "SnapshotTaken"})
"""In events.ndjson and the report, but too many for a terminal."""


class LiveScreen:
    """Holds what a redraw needs beyond the last view: recent throughput."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._throughput: deque[float] = deque(maxlen=SPARK_SECONDS)
        self._second = -1

    def render(self, view: LiveView) -> RenderableType:
        """The panel for the view."""
        self._remember(view)
        body = Group(
            _phases(view),
            Text(),
            Columns([_members(view), _side(view, list(self._throughput))], padding=(0, 4)),
        )
        return Panel(body, title=f"[bold]{self._title}[/]", title_align="left", border_style="dim")

    def _remember(self, view: LiveView) -> None:
        second = view.elapsed_ms // 1000
        if view.load and second != self._second:
            self._second = second
            self._throughput.append(view.load.window.ok)


class EventLog:
    """Prints one line for an event, unless it is one of the many that only files keep.

    A member that is cut off asks for pre-votes several times a second; saying it once a term is enough.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._campaigns: set[tuple[str | None, int | None, str | None]] = set()

    def print(self, event: RunEvent) -> None:
        if event.type in QUIET_EVENTS:
            return
        if event.type == "ElectionStarted":
            campaign = (event.subject, event.term, event.detail)
            if campaign in self._campaigns:
                return
            self._campaigns.add(campaign)
        _print_event(self._console, event)


def _print_event(console: Console, event: RunEvent) -> None:
    clock = (
        datetime.fromisoformat(event.wall_time.replace("Z", "+00:00")).astimezone().strftime("%H:%M:%S.%f")
    )
    moment = Text(clock[:-3], style="dim")
    message = Text(event.message, style=EVENT_STYLES.get(event.type, "default"))
    if not console.is_terminal:
        console.print(Text("  ").join((moment, message)), soft_wrap=True)
        return
    line = Table.grid(padding=(0, 2))
    line.add_row(moment, message)
    console.print(line)


def _phases(view: LiveView) -> RenderableType:
    line = Text()
    reached = (
        PHASES.index(view.phase) if view.phase in PHASES else (len(PHASES) if view.phase == "Done" else -1)
    )
    for number, phase in enumerate(PHASES):
        if number:
            line.append(" › ", style="dim")
        line.append(
            phase, style="bold reverse" if number == reached else "green" if number < reached else "dim"
        )
    total = max(view.expected_ms, 1)
    spent = Text(f"{view.elapsed_ms / 1000:.0f} s of about {view.expected_ms / 1000:.0f} s", style="dim")
    bar = Table.grid(padding=(0, 2))
    bar.add_row(ProgressBar(total=total, completed=min(view.elapsed_ms, total), width=50), spent)
    return Group(line, bar)


def _members(view: LiveView) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("MEMBER")
    table.add_column("ROLE", min_width=12)
    table.add_column("TERM", justify="right")
    table.add_column("COMMIT", justify="right", min_width=7)
    for member in view.members:
        status = member.status
        if status is None:
            starting = member.reachable or view.phase in STARTING
            table.add_row(member.name, Text("starting", "dim") if starting else Text("unreachable", "red"))
            continue
        role = Text(status.role, style=ROLE_STYLES.get(status.role, "default"))
        if not member.reachable:
            role = Text("unreachable", style="red")
        elif not status.ready:
            role.append(" (no leader)", style="red")
        table.add_row(member.name, role, str(status.term), str(status.commit_index))
    if not view.members:
        table.add_row(Text("none yet", style="dim"), "", "", "")
    return table


def _side(view: LiveView, throughput: list[float]) -> RenderableType:
    return Group(_load(view.load, throughput), Text(), _cuts(view.cut_edges))


def _load(load: LoadStatus | None, throughput: list[float]) -> RenderableType:
    if load is None:
        return Text("no load yet", style="dim")
    window = load.window
    line = Text()
    line.append(f"{window.ok:5d} ok/s", style="green")
    line.append(f"  {window.fail:4d} fail/s", style="yellow" if window.fail else "dim")
    line.append(f"  {window.info:3d} unknown/s", style="red" if window.info else "dim")
    latency = Text(f"p50 {_ms(window.p50_ms)}   p99 {_ms(window.p99_ms)}", style="cyan")
    totals = Text(f"{load.ok + load.fail + load.info} operations by {load.users} clients", style="dim")
    return Group(line, latency, Text(_sparkline(throughput), style="green"), totals)


def _cuts(edges: tuple[CutEdge, ...]) -> RenderableType:
    if not edges:
        return Text("network whole", style="dim")
    cut = {(edge.source, edge.target) for edge in edges}
    both = sorted({(min(e), max(e)) for e in cut if (e[1], e[0]) in cut})
    one_way = sorted(e for e in cut if (e[1], e[0]) not in cut)
    text = Text(f"{len(cut)} edges cut\n", style="bold magenta")
    parts = [f"{a} ╳ {b}" for a, b in both] + [f"{a} ╳→ {b}" for a, b in one_way]
    for start in range(0, min(len(parts), 12), 3):
        text.append("   ".join(parts[start : start + 3]) + "\n", style="magenta")
    if len(parts) > 12:
        text.append(f"and {len(parts) - 12} more", style="magenta")
    return text


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _sparkline(values: list[float]) -> str:
    top = max(values, default=0) or 1
    return "".join(SPARKS[round(value / top * (len(SPARKS) - 1))] for value in values)
