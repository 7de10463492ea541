"""The verdict as the last thing on the screen."""

from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from faultlab.contract.run import VerdictDocument

STYLES = {"Pass": "bold white on green", "Fail": "bold white on red", "Inconclusive": "bold black on yellow"}
BORDERS = {"Pass": "green", "Fail": "red", "Inconclusive": "yellow"}
MARKS = {"pass": ("✔", "green"), "fail": ("✘", "red"), "unknown": ("?", "yellow")}


def print_verdict(console: Console, verdict: VerdictDocument, out: Path, page: str | None = None) -> None:
    """Verdict, reasons, the numbers that matter, each check, and where the files (and the page) are."""
    lines = Text()
    lines.append(f" {verdict.verdict.upper()} ", style=STYLES[verdict.verdict])
    lines.append(f"  {verdict.scenario}\n")
    reasons = verdict.reasons or ("everything that was expected of it is proven",)
    for reason in reasons:
        lines.append(f"\n  {reason}")
    console.print(Panel(lines, border_style=BORDERS[verdict.verdict], padding=(1, 2)))
    console.print(_numbers(verdict))
    for check in verdict.checks:
        mark, style = MARKS[check.result]
        line = Text(f"  {mark} ", style=style)
        line.append(f"{check.name}", style="bold")
        line.append(f"  {check.message}" if check.message else "")
        line.append(f"  ({check.operations} operations, {check.time_ms:.0f} ms)", style="dim")
        console.print(line)
    console.print(f"\n  report   [bold]{out / 'report.html'}[/]", soft_wrap=True)
    console.print(f"  files    {out}", soft_wrap=True)
    if page:
        console.print(f"  page     {page}", soft_wrap=True)


def _numbers(verdict: VerdictDocument) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    operations = verdict.operations
    table.add_row("operations", f"{operations.ok} ok, {operations.fail} failed, {operations.info} unknown")
    table.add_row("leader", f"{verdict.leader_before or '-'} → {verdict.leader_after or '-'}")
    table.add_row("terms", ", ".join(str(term) for term in verdict.terms) or "-")
    table.add_row("failover", _ms(verdict.failover_ms))
    table.add_row("unavailability", _ms(verdict.unavailability_ms))
    for fault in verdict.faults:
        table.add_row(fault.kind, f"{fault.name}: cut off {', '.join(fault.cut_off) or '-'}")
    return table


def _ms(value: float | None) -> str:
    return "not stated" if value is None else f"{value:.0f} ms"
