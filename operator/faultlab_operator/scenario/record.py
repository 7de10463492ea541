"""A run's directory: what the operator leaves for the judge, and what the judge leaves behind.

The judge reads nothing else. So a verdict can be given again, later and elsewhere, from the
directory alone: `python -m faultlab_operator.scenario.judge DIR`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from faultlab.contract.run import FaultRecord, PhaseRecord, RunEvent
from faultlab_operator.scenario.errors import RecordError

RUN_FILE = "run.json"
HISTORY_FILE = "history.ndjson"
EVENTS_FILE = "events.ndjson"
VERDICT_FILE = "verdict.json"
REPORT_FILE = "report.html"
ARTIFACTS = (VERDICT_FILE, REPORT_FILE, EVENTS_FILE, HISTORY_FILE, RUN_FILE)
"""The files that a run's outside may fetch, in the order in which a person wants them."""


class RunRecord(msgspec.Struct, frozen=True, rename="camel"):
    """`run.json`: everything about a run that is neither an operation nor an event."""

    scenario: str
    namespace: str
    world: str
    seed: int
    started_at: str
    spec: dict[str, Any]
    """The scenario's spec as it ran, defaults filled in."""
    phases: tuple[PhaseRecord, ...] = ()
    faults: tuple[FaultRecord, ...] = ()
    members: dict[str, tuple[str, ...]] = {}
    """The members of each system, by the system's name."""
    client_sides: dict[str, tuple[tuple[str, ...], ...]] = {}
    """By fault: the sets of members that clients were to reach while it lasted, each a side of the cut."""
    reasons: tuple[str, ...] = ()
    """Why the run does not count, as far as the operator saw it; empty when all went well."""
    load_started_at: str | None = None
    """The wall time at which the history's `time` is 0; None when no load ever ran."""
    history_complete: bool = False
    """The load finished and its history was collected whole."""
    missed: int = 0
    """Operations that were due and that no client was free to start within a second."""
    check_deadline_s: float = 60.0
    """How long the judge may take with all its checks."""
    versions: dict[str, str] = {}


def write_record(directory: Path, record: RunRecord) -> None:
    """Writes `run.json`, whole or not at all."""
    replace_file(directory / RUN_FILE, msgspec.json.format(msgspec.json.encode(record), indent=2))


def read_record(directory: Path) -> RunRecord:
    """Raises RecordError where there is no readable `run.json`."""
    path = directory / RUN_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except FileNotFoundError as error:
        raise RecordError(f"{path}: no such file; expected the directory of a run") from error
    except msgspec.DecodeError as error:
        raise RecordError(f"{path}: not the record of a run: {error}") from error


def read_run_events(directory: Path) -> list[RunEvent]:
    """The run's events in order; a torn last line (the operator was killed in it) is left out.

    Raises RecordError where any other line is not an event.
    """
    path = directory / EVENTS_FILE
    return list(_events(path)) if path.exists() else []


def _events(path: Path) -> Iterator[RunEvent]:
    decoder = msgspec.json.Decoder(RunEvent)
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError as error:
            if number == len(lines):
                return
            raise RecordError(f"{path}, line {number}: not a run event: {error}") from error


def replace_file(path: Path, content: bytes) -> None:
    """A reader sees the old content or the new, never a part. Raises OSError, and leaves the old."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)  # half a file on a full disk
        raise
