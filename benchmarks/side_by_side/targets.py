"""What the measurements have to reach, and the tables that say whether they do."""

import statistics
from collections.abc import Mapping, Sequence

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from .failover import Times
from .growth import Replay, Steady
from .load import Round, Workload

WRITE_RATIO = {1: 2.0, 50: 3.0, 500: 2.0}
"""Times etcd's operations a second, by connections."""
READ_RATIO = 3.0
KILL_P50_MS, KILL_MAX_MS = 500.0, 1200.0
TRANSFER_MS = 100.0
REPLAY_S = 10.0


class Verdict(msgspec.Struct, frozen=True):
    """One target. `met` None: not measured so that it can be said."""

    what: str
    wanted: str
    measured: str
    met: bool | None


class Cell(msgspec.Struct, frozen=True):
    """Medians of the rounds of one workload on one system that count; of all, if none does."""

    rounds: Sequence[Round]

    @property
    def counted(self) -> list[Round]:
        return [r for r in self.rounds if r.counts]

    def median(self, field: str) -> float:
        """The median over the rounds of one of their numbers."""
        return float(statistics.median(getattr(r, field) for r in self.counted or self.rounds))


Loads = Mapping[Workload, Mapping[str, Sequence[Round]]]


def load_verdicts(loads: Loads) -> list[Verdict]:
    """Writes and linearizable reads against etcd's."""
    verdicts = []
    for workload, by_system in loads.items():
        if "faultlab" not in by_system or "etcd" not in by_system or workload.kind == "mixed":
            continue
        ours, theirs = Cell(by_system["faultlab"]), Cell(by_system["etcd"])
        valid = bool(ours.counted and theirs.counted)
        wanted = WRITE_RATIO[workload.connections] if workload.kind == "write" else READ_RATIO
        ratio = ours.median("per_second") / theirs.median("per_second")
        verdicts.append(
            Verdict(
                f"{workload.name}: times etcd's",
                f">= {wanted:.0f}",
                f"{ratio:.2f}" + ("" if valid else " (no round counts)"),
                ratio >= wanted if valid else None,
            )
        )
        if workload.kind == "write" and workload.connections > 1:
            p99, limit = ours.median("p99_ms"), theirs.median("p99_ms")
            verdicts.append(
                Verdict(
                    f"{workload.name}: p99",
                    f"<= {limit:.1f} ms",
                    f"{p99:.1f} ms",
                    p99 <= limit if valid else None,
                )
            )
    return verdicts


def kill_verdicts(times: Times) -> list[Verdict]:
    """Failover by SIGKILL at the default settings."""
    return [
        _at_most("SIGKILL of the leader: p50", times.p50, KILL_P50_MS, "ms"),
        _at_most("SIGKILL of the leader: maximum", times.max, KILL_MAX_MS, "ms"),
    ]


def transfer_verdicts(times: Times) -> list[Verdict]:
    """The hand-over."""
    return [_at_most("transfer: longest gap", times.max, TRANSFER_MS, "ms")]


def replay_verdicts(replay: Replay) -> list[Verdict]:
    """Start with a long log."""
    return [_at_most(f"start with {replay.entries:,} entries", replay.until_ready_s, REPLAY_S, "s")]


def steady_verdicts(steady: Steady) -> list[Verdict]:
    """Quiet under load, with the settings that the failovers were measured with."""
    timing = f"{steady.election_ms}/{steady.heartbeat_ms} ms"
    what = f"elections in {steady.seconds:.0f} s of full load ({timing})"
    return [Verdict(what, "0", str(steady.elections), steady.elections == 0)]


def _at_most(what: str, measured: float, wanted: float, unit: str) -> Verdict:
    return Verdict(what, f"<= {wanted:.0f} {unit}", f"{measured:.1f} {unit}", measured <= wanted)


def show_loads(console: Console, loads: Loads) -> None:
    """One line for each workload and system."""
    table = _table("workload", "system", "op/s", "p50 ms", "p99 ms", "p99.9 ms")
    for heading in ("servers' CPU", "us/op", "client's share", "MiB each", "counted"):
        table.add_column(heading, justify="right")
    for workload, by_system in loads.items():
        for system, rounds in by_system.items():
            cell = Cell(rounds)
            numbers = [f"{cell.median('per_second'):,.0f}"]
            numbers += [f"{cell.median(field):.2f}" for field in ("p50_ms", "p99_ms", "p999_ms")]
            per_operation = statistics.median(r.server_cpu_s / r.operations * 1e6 for r in rounds)
            cores = statistics.median(r.server_cpu_s * r.per_second / r.operations for r in rounds)
            resident = statistics.mean(rounds[-1].resident_mb)
            table.add_row(
                workload.name,
                system,
                *numbers,
                f"{cores:.2f}",
                f"{per_operation:.0f}",
                f"{cell.median('client_share'):.0%}",
                f"{resident:.0f}",
                f"{len(cell.counted)} of {len(rounds)}",
            )
    console.print(table)


def show_times(console: Console, times: Mapping[str, Times]) -> None:
    """Failovers and hand-overs."""
    table = _table("what", "rounds", "p50 ms", "p90 ms", "max ms")
    for what, measured in times.items():
        ranked = sorted(measured.rounds)
        p90 = ranked[int(len(ranked) * 0.9)]
        table.add_row(what, str(len(ranked)), f"{measured.p50:.0f}", f"{p90:.0f}", f"{measured.max:.0f}")
    console.print(table)


def show_series(
    console: Console, title: str, heading: str, series: Mapping[str, Mapping[int, Round]]
) -> None:
    """Throughput as something grows."""
    console.print(title)
    table = _table(heading, *(f"{name} {unit}" for name in series for unit in ("op/s", "p99 ms")))
    for at in next(iter(series.values())):
        cells = []
        for by_size in series.values():
            cells += [f"{by_size[at].per_second:,.0f}", f"{by_size[at].p99_ms:.1f}"]
        table.add_row(f"{at:,}", *cells)
    console.print(table)


def show_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Target, measurement, and whether it was met."""
    table = _table("what", "wanted", "measured", "")
    for verdict in verdicts:
        word = {True: "[green]met[/]", False: "[red]MISSED[/]", None: "not told"}[verdict.met]
        table.add_row(verdict.what, verdict.wanted, verdict.measured, word)
    console.print(table)


def _table(*headings: str) -> Table:
    """Readable as it is, and as Markdown."""
    table = Table(box=box.MARKDOWN)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place == 0 else "right", no_wrap=True)
    return table
