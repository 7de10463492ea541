"""Looking at a member's log and snapshots without touching them: what is there, and what a start would do.

It reads with the code that starts read with, takes no lock and writes nothing, so it may look while the
member runs. Then a group may be half-written at that moment, and a segment dropped: what is not in order is
looked at again, and counts only if it has stayed as it was.
"""

import time
from collections import deque
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from faultlab.runtime.files import FileSystem

from ..configuration import Configuration, NodeId, decode_configuration
from ..errors import MalformedMessage
from ..messages import Entry, EntryKind, HardState, SnapshotMeta
from .directories import OLD_LOG, segments_in, snapshots_in
from .errors import DamagedLog, ForeignLog
from .recovery import Group, LogReader, Replay, Segment, read_start
from .snapshots import read_meta, verify

State: TypeAlias = Literal["ok", "torn", "damaged"]

LOOKS = 4
PAUSE_S = 0.15
"""Longer than a sync takes; a member that runs is done with a group by then."""


class Range(msgspec.Struct, rename="camel"):
    """From `first` to `last`, both included."""

    first: int
    last: int

    def take(self, first: int, last: int) -> None:
        """Grows so far that both are in it."""
        self.first = min(self.first, first)
        self.last = max(self.last, last)


class SegmentReport(msgspec.Struct, rename="camel"):
    """One file of the log."""

    file: str
    bytes_used: int
    bytes_total: int
    groups: Range
    entries: Range | None = None
    terms: Range | None = None


class GroupReport(msgspec.Struct, rename="camel"):
    """What one write and one sync made durable."""

    number: int
    segment: int
    offset: int
    bytes: int
    entries: Range | None
    terms: Range | None
    hard_state: HardState | None
    reset_to: int | None
    """The index of a snapshot behind which the log begins anew with this group."""


class SnapshotReport(msgspec.Struct, rename="camel"):
    """One snapshot file."""

    file: str
    index: int
    term: int
    bytes: int
    checksum: str
    damage: str | None


class WalReport(msgspec.Struct, rename="camel"):
    """One id's directory."""

    directory: str
    state: State
    what: str
    """What is wrong; empty if nothing is."""
    file: str | None
    offset: int | None
    """Where it is wrong."""
    a_start_would: str
    cluster: str | None = None
    member: NodeId | None = None
    uuid: str | None = None
    hard_state: HardState | None = None
    snapshot_index: int = 0
    entries: Range | None = None
    """Behind the snapshot: what a start hands to the core."""
    configuration: Configuration | None = None
    """The latest in the log, committed or not, else the snapshot's."""
    known_peers: dict[NodeId, str] = {}
    segments: list[SegmentReport] = []
    snapshots: list[SnapshotReport] = []
    last_groups: list[GroupReport] = []


class NothingHere(Exception):
    """A directory that holds no log; the message says what it holds instead."""


def member_directories(files: FileSystem, directory: Path) -> list[Path]:
    """The ids' directories that `directory` is or holds; raises NothingHere."""
    if not files.exists(directory):
        raise NothingHere(f"there is no directory {directory}; name a member's data directory")
    try:
        names = files.listdir(directory)
    except NotADirectoryError as error:
        raise NothingHere(f"{directory} is a file; name a member's data directory") from error
    if _holds_log(files, directory):
        return [directory]
    if directory.name in ("wal", "snapshots") and _holds_log(files, directory.parent):
        return [directory.parent]
    found = [directory / name for name in names if _holds_log(files, directory / name)]
    if found:
        return found
    if files.exists(directory / OLD_LOG):
        raise NothingHere(f"{directory / OLD_LOG} is a log of format 1, which this version does not read")
    held = f"it holds {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "it is empty"
    raise NothingHere(
        f"{directory} is no member's data directory: {held}; expected an id's directory (`demo-0`) with `wal`"
        " in it, or one that holds such"
    )


def look(files: FileSystem, member_dir: Path, last_groups: int = 0) -> WalReport:
    """What is in one id's directory. A member that runs is looked at up to LOOKS times."""
    report = _look_once(files, member_dir, last_groups)
    for _ in range(LOOKS - 1):
        if report.state == "ok":
            break
        time.sleep(PAUSE_S)
        before, report = report, _look_once(files, member_dir, last_groups)
        if (before.file, before.offset, before.what) == (report.file, report.offset, report.what):
            break
    return report


def _look_once(files: FileSystem, member_dir: Path, last_groups: int) -> WalReport:
    report = WalReport(str(member_dir), "ok", "", None, None, "take all of it")
    try:
        snapshot = _look_at_snapshots(files, member_dir, report)
        _look_at_log(files, member_dir, report, snapshot, last_groups)
    except DamagedLog as error:
        _blame(report, "damaged", error.what, error.path, error.offset)
    except (ForeignLog, FileNotFoundError) as error:
        _blame(report, "damaged", str(error), member_dir, 0)
    return report


def _look_at_snapshots(files: FileSystem, member_dir: Path, report: WalReport) -> SnapshotMeta | None:
    latest: SnapshotMeta | None = None
    damaged: DamagedLog | None = None
    for (index, term), path in snapshots_in(files, member_dir).items():
        found = SnapshotReport(path.name, index, term, 0, "", None)
        damaged = None
        try:
            latest = read_meta(files, path)
            found.bytes, found.checksum = latest.size, f"{latest.checksum:08x}"
            verify(files, path, latest)
        except DamagedLog as error:
            damaged, found.damage = error, error.what
        report.snapshots.append(found)
    if damaged is not None:
        raise damaged
    return latest


def _look_at_log(
    files: FileSystem, member_dir: Path, report: WalReport, snapshot: SnapshotMeta | None, last_groups: int
) -> None:
    segments = segments_in(files, member_dir)
    if not segments:
        raise DamagedLog(member_dir / "wal", 0, "there are snapshots, but no segment of the log")
    owner = read_start(files, *next((path, number) for number, path in segments.items())).owner
    report.cluster, report.member, report.uuid = owner.cluster, owner.member, owner.uuid
    snapshot = snapshot or SnapshotMeta(configuration=owner.bootstrap)
    report.snapshot_index, report.configuration = snapshot.index, snapshot.configuration
    reader = LogReader(files, member_dir)
    replay = Replay()
    recent: deque[GroupReport] = deque(maxlen=last_groups)
    for group in reader.groups():
        try:
            replay.take(group.body)
        except ValueError as error:
            raise DamagedLog(group.segment.path, group.header.offset, str(error)) from error
        described = _describe(group)
        recent.append(described)
        _add_to_segment(report, group.segment, described)
    report.last_groups = list(recent)
    tail = reader.tail
    path = reader.segments[-1].path
    if tail.verdict == "damaged":
        raise DamagedLog(path, tail.offset, tail.what)
    try:
        entries = replay.entries_behind(snapshot) or []
    except ValueError as error:
        raise DamagedLog(reader.segments[0].path, 0, str(error)) from error
    _describe_log(report, replay, snapshot, entries)
    if tail.verdict == "torn":
        _blame(report, "torn", tail.what, path, tail.offset)
        report.a_start_would = (
            f"cut off {tail.end - tail.offset} bytes, taken for an unfinished write, and go on"
        )


def _describe_log(report: WalReport, replay: Replay, snapshot: SnapshotMeta, entries: list[Entry]) -> None:
    report.hard_state = replay.hard_state_with(snapshot)
    report.known_peers = replay.peers
    if entries:
        report.entries = Range(entries[0].index, entries[-1].index)
    for entry in reversed(entries):
        if entry.kind == EntryKind.CONFIGURATION:
            try:
                report.configuration = decode_configuration(entry.data)
            except MalformedMessage as error:
                raise ForeignLog(
                    f"entry {entry.index} is a configuration that cannot be read: {error}"
                ) from error
            break


def _describe(group: Group) -> GroupReport:
    header, body = group.header, group.body
    entries = body.entries
    return GroupReport(
        header.number,
        group.segment.number,
        header.offset,
        header.end - header.offset,
        Range(entries[0].index, entries[-1].index) if entries else None,
        Range(entries[0].term, entries[-1].term) if entries else None,
        body.hard_state,
        body.reset.index if body.reset is not None else None,
    )


def _add_to_segment(report: WalReport, segment: Segment, group: GroupReport) -> None:
    if not report.segments or report.segments[-1].file != segment.path.name:
        report.segments.append(
            SegmentReport(segment.path.name, 0, segment.size, Range(group.number, group.number))
        )
    held = report.segments[-1]
    held.bytes_used = group.offset + group.bytes
    held.groups.take(group.number, group.number)
    for name in ("entries", "terms"):
        new, old = getattr(group, name), getattr(held, name)
        if new is not None and old is not None:
            old.take(new.first, new.last)
        elif new is not None:
            setattr(held, name, Range(new.first, new.last))


def _blame(report: WalReport, state: State, what: str, path: Path, offset: int) -> None:
    report.state, report.what, report.file, report.offset = state, what, str(path), offset
    if state == "damaged":
        report.a_start_would = (
            "be refused (exit code 65), as what is lost may have been acknowledged; replace the member"
        )


def _holds_log(files: FileSystem, directory: Path) -> bool:
    try:
        return bool(segments_in(files, directory) or snapshots_in(files, directory))
    except NotADirectoryError:
        return False
