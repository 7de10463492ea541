"""All checks in the order in which they matter, as a table or as JSON, and the exit code."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from faultlab_cli.doctor.check import Check, Machine
from faultlab_cli.doctor.linux import linux_checks
from faultlab_cli.doctor.programs import program_checks

_GIB: Final = 1 << 30
_OLDEST_PYTHON: Final = (3, 11)
_FIRST_UNTESTED_PYTHON: Final = (3, 14)
_MEMORY_GIB: Final = 2.0
"""Five members, load, operator and world together stay below 1 GiB; the rest is for the page cache."""
_DISK_GIB: Final = 2.0
_CORES: Final = 2
_STYLES: Final = {"ok": "green", "limited": "yellow", "missing": "red"}


def checks(machine: Machine | None = None) -> list[Check]:
    """Looks at this machine (or the one given) and changes nothing. Takes a second or two."""
    machine = machine or Machine()
    found = [_system(machine), _python(machine)]
    if machine.system() == "Linux":
        found += linux_checks(machine)
    found += [*program_checks(machine), *_size(machine)]
    return found


def embedded_world_can_run(found: Sequence[Check]) -> bool:
    return not any(check.required and check.status == "missing" for check in found)


def render(console: Console, found: Sequence[Check]) -> None:
    """One line each, what to do below those that lack something, and the conclusion last."""
    table = Table(box=None, pad_edge=False, expand=False)
    for column in ("", "check", "found", "what for"):
        table.add_column(column, overflow="fold", no_wrap=column in ("", "check"))
    for check in found:
        style = _STYLES[check.status]
        status, what_for = f"[{style}]{check.status}[/]", f"[dim]{escape(check.what_for)}[/]"
        table.add_row(status, check.name, escape(check.found), what_for)
    console.print(table)
    to_do = [check for check in found if check.fix and check.status != "ok"]
    if to_do:
        console.print("\nTo enable what is missing:")
    for check in to_do:
        needed = " [red](needed)[/]" if check.required else ""
        console.print(f"  [bold]{check.name}[/]{needed}")
        # Unwrapped, so that a command can be copied whole.
        console.print(f"    {escape(check.fix)}", soft_wrap=True, highlight=False)
    console.print()
    console.print(_conclusion(found))


def run_doctor(console: Console, as_json: bool) -> int:
    """Prints the findings. Returns 0 if the embedded world can run here, else 1."""
    found = checks()
    able = embedded_world_can_run(found)
    if as_json:
        document = {"embeddedWorld": able, "checks": [_as_json(check) for check in found]}
        console.print(json.dumps(document, indent=2), soft_wrap=True, highlight=False, markup=False)
    else:
        render(console, found)
    return 0 if able else 1


def _as_json(check: Check) -> dict[str, object]:
    document = asdict(check)
    return {"name": document.pop("name"), "whatFor": document.pop("what_for"), **document}


def _conclusion(found: Sequence[Check]) -> str:
    if embedded_world_can_run(found):
        return "[green]The embedded world can run here:[/] make demo"
    if any(check.name == "operating system" and check.status == "missing" for check in found):
        return "[red]The embedded world needs Linux.[/] Here a kind cluster does the same: make kind-up"
    return "[red]The embedded world cannot run here yet:[/] what it needs is marked above."


def _system(machine: Machine) -> Check:
    what_for = "the embedded world"
    name = machine.system()
    if name == "Linux":
        return Check("operating system", "ok", what_for, f"Linux {machine.kernel()}", required=True)
    shown = {"Darwin": "macOS"}.get(name, name)
    fix = "use a kind cluster (make kind-up, needs Docker), or a Linux machine"
    if name == "Windows":
        fix += ", or WSL 2 (wsl --install)"
    return Check("operating system", "missing", what_for, f"{shown}: no Linux namespaces", fix, required=True)


def _python(machine: Machine) -> Check:
    version = machine.python()
    shown = ".".join(map(str, version))
    what_for = "everything"
    if version[:2] < _OLDEST_PYTHON:
        fix = machine.install("sudo apt install python3.11 python3.11-venv", "sudo dnf install python3.11")
        return Check("Python", "missing", what_for, f"{shown}: expected 3.11 to 3.13", fix, required=True)
    if version[:2] >= _FIRST_UNTESTED_PYTHON:
        return Check("Python", "limited", what_for, f"{shown}: tried with 3.11 to 3.13 only", required=True)
    return Check("Python", "ok", what_for, shown, required=True)


def _size(machine: Machine) -> list[Check]:
    found = []
    memory = _available_memory_bytes(machine)
    if memory is not None:
        found.append(
            _enough("memory", memory / _GIB, _MEMORY_GIB, "GiB available", "members, load, operator")
        )
    disk = machine.free_disk_bytes() / _GIB
    found.append(_enough("disk", disk, _DISK_GIB, "GiB free at home", "logs, histories, reports"))
    found.append(_enough("cores", machine.cores(), _CORES, "cores", "members, load, operator at once"))
    return found


def _enough(name: str, found: float, wanted: float, unit: str, what_for: str) -> Check:
    """Too little is a limit, not a hindrance: scenarios that get too little load say so themselves."""
    shown = f"{found:.1f}" if isinstance(found, float) else f"{found}"
    if found >= wanted:
        return Check(name, "ok", what_for, f"{shown} {unit}")
    fix = f"{wanted:g} or more are advised: else runs may end Inconclusive for want of load"
    return Check(name, "limited", what_for, f"{shown} {unit}", fix)


def _available_memory_bytes(machine: Machine) -> int | None:
    for line in (machine.read("/proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None
