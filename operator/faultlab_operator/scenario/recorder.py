"""A run's events as they happen: numbered, each once, on disk at once.

An operator that starts again hears the members' events again from their beginning; what the file already
holds is recognised and dropped.
"""

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from faultlab.contract.member import MemberEvent
from faultlab.contract.run import RunEvent
from faultlab_operator.errors import StorageError
from faultlab_operator.scenario.record import EVENTS_FILE, read_run_events, replace_file
from faultlab_operator.scenario.times import wall_ns

log = logging.getLogger(__name__)

MAX_EVENTS = 200_000
MAX_BYTES = 64 * 1024**2
"""Of one run; further ones are counted in `dropped`, which makes the run Inconclusive."""

_Identity = tuple[object, ...]


class Recorder:
    """Writes `events.ndjson` of one run's directory. Close it when the run is over."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / EVENTS_FILE
        self.trouble = ""
        """Why events could not be written; empty when all were. What is not written is not in the run."""
        known = read_run_events(directory)
        lines = _lines(known)
        self._bytes = len(lines)
        self._file: BinaryIO | None = None
        try:
            if known:
                # A torn last line would swallow the next event.
                replace_file(self._path, lines)
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            self._give_up(error)
        self._seen: set[_Identity] = {_identity(event) for event in known}
        self._told = {(event.source, event.type, event.subject) for event in known}
        self._next = max((event.id for event in known), default=0) + 1
        self.dropped = 0
        self.load_start_ns: int | None = None
        """Wall time of the history's 0, once it is known: events from then on carry their place on it."""

    def add(
        self,
        source: Literal["member", "fault", "scenario", "load"],
        type_: str,
        message: str,
        wall_time: str,
        **fields: Any,
    ) -> RunEvent | None:
        """Writes the event unless it is known, and returns it; `fields` are those of RunEvent."""
        start = self.load_start_ns
        event = RunEvent(
            id=self._next,
            wall_time=wall_time,
            source=source,
            type=type_,
            message=message,
            time_ns=None if start is None else wall_ns(wall_time) - start,
            **fields,
        )
        identity = _identity(event)
        if identity in self._seen or self._file is None:
            return None
        line = msgspec.json.encode(event) + b"\n"
        if self._next > MAX_EVENTS or self._bytes + len(line) > MAX_BYTES:
            self.dropped += 1
            return None
        self._seen.add(identity)
        self._next += 1
        self._bytes += len(line)
        try:
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._give_up(error)
            return None
        return event

    def tell_once(
        self, source: Literal["fault", "load"], type_: str, message: str, now: str, *, subject: str
    ) -> RunEvent | None:
        """Writes what has no time of its own, unless this was said of the subject before."""
        if (source, type_, subject) in self._told:
            return None
        self._told.add((source, type_, subject))
        return self.add(source, type_, message, now, subject=subject)

    def add_member_event(self, event: MemberEvent) -> RunEvent | None:
        return self.add(
            "member",
            event.type,
            describe(event),
            event.wall_time,
            subject=event.member,
            term=event.term,
            role=event.role,
            leader=event.leader,
            index=event.index,
            digest=event.digest,
            incarnation=event.incarnation,
            detail=event.detail,
        )

    def place(self) -> None:
        """Rewrites the file in the order of wall time, each event with its place on the history's clock."""
        directory = self._path.parent
        events = sorted(read_run_events(directory), key=lambda event: (wall_ns(event.wall_time), event.id))
        start = self.load_start_ns
        if start is not None:
            events = [
                msgspec.structs.replace(event, time_ns=wall_ns(event.wall_time) - start) for event in events
            ]
        replace_file(self._path, _lines(events))
        if self._file is not None:
            self._file.close()
            self._file = self._path.open("ab", buffering=0)

    def _give_up(self, error: OSError) -> None:
        """Members go on speaking when the disk is full: from here on nobody listens."""
        self.trouble = str(StorageError.after(error, "the run's events could not be written"))
        log.warning("%s: %s", self._path, self.trouble)
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def describe(event: MemberEvent) -> str:
    """One line that a person understands without the rest."""
    said = {
        "Started": f"{event.member} started",
        "RoleChanged": f"{event.member} is now {event.role} in term {event.term}",
        "LeaderLost": f"{event.member} lost its leader" if event.role != "leader" else "",
        "ElectionStarted": f"{event.member} campaigns in term {event.term}",
        "LeaderElected": f"{event.member} was elected leader in term {event.term}",
        "LeaderKnown": f"{event.member} follows {event.leader} in term {event.term}",
        "Applied": f"{event.member} has applied the log up to index {event.index}",
        "ConfigurationChanged": f"{event.member} counts on the members of index {event.index}",
        "SnapshotTaken": f"{event.member} has a snapshot of everything up to index {event.index}",
        "SnapshotInstalled": f"{event.member} goes on from its leader's snapshot up to index {event.index}",
        "SnapshotRefused": f"{event.member} refused the snapshot of {event.leader} up to index {event.index}",
        "LeadershipTransfer": f"{event.member} hands over to {event.leader}",
        "InvariantViolated": f"{event.member} found its own promise broken",
    }[event.type] or f"{event.member} stopped leading"
    return f"{said} ({event.detail})" if event.detail else said


def _identity(event: RunEvent) -> _Identity:
    return (
        event.source, event.type, event.subject, event.wall_time, event.incarnation, event.term, event.index,
        event.detail, event.role,
    )  # fmt: skip


def _lines(events: list[RunEvent]) -> bytes:
    return b"".join(_encoded(events))


def _encoded(events: list[RunEvent]) -> Iterator[bytes]:
    for event in events:
        yield msgspec.json.encode(event)
        yield b"\n"
