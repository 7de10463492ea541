"""Opening a data directory: taking it, reading it back, deciding on its tail, and making good what a crash
left, before anybody builds on it."""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from faultlab.runtime.files import File, FileSystem, InUse, Lock

from ..configuration import Configuration
from ..messages import Entry, HardState, NodeId, SnapshotMeta
from ..rules import Rule
from .directories import (
    LOCK,
    OLD_LOG,
    SNAPSHOTS,
    WAL,
    remove_unfinished,
    segments_in,
    snapshots_in,
)
from .errors import DamagedLog, DirectoryInUse, DirectoryUnusable, ForeignLog
from .groups import FORMAT, Owner, Place, padded
from .log_writer import StorageSettings, create_segment, plan_segment
from .recovery import LogReader, Replay, Segment, check_owner, read_snapshots

log = logging.getLogger("faultlab.storage")

_ZEROING_BYTES = 1024 * 1024


class Opened(msgspec.Struct, frozen=True):
    """A log that was read back and made good; it goes on at `place` in `file`."""

    owner: Owner
    segments: list[Segment]
    place: Place
    file: File
    snapshots: list[SnapshotMeta]
    snapshot: SnapshotMeta
    entries: list[Entry]
    follows: bool
    """Whether the log reaches the snapshot; if not, the next group has to say that it begins anew."""
    hard_state: HardState
    written_state: HardState
    peers: dict[NodeId, str]
    truncated_bytes: int
    bytes_behind_snapshot: int


def take_directory(files: FileSystem, data_dir: Path, member: NodeId) -> Lock:
    """Makes the directories and takes the lock; raises DirectoryInUse, DirectoryUnusable or ForeignLog."""
    try:
        files.make_directories(data_dir)
        lock = files.lock(data_dir / LOCK)
    except InUse as error:
        raise DirectoryInUse(
            f"{data_dir} is {error.strerror}; stop that one first, or give this member a data directory of"
            " its own"
        ) from error
    except OSError as error:
        raise _unusable(data_dir, error) from error
    try:
        if files.exists(data_dir / OLD_LOG):
            raise ForeignLog(
                f"{data_dir / OLD_LOG} is a log of format 1, which this version does not read; this is format"
                f" {FORMAT}. Run the version that wrote it, or give this member an empty data directory in a"
                " new cluster"
            )
        for folder in (WAL, SNAPSHOTS):
            files.make_directories(data_dir / member / folder)
    except OSError as error:
        lock.release()
        raise _unusable(data_dir, error) from error
    except BaseException:
        lock.release()
        raise
    return lock


def open_log(
    files: FileSystem,
    member_dir: Path,
    cluster: str,
    member: NodeId,
    bootstrap: Configuration | None,
    break_rule: Rule | None,
    settings: StorageSettings,
    make_uuid: Callable[[], str],
) -> Opened:
    """As `store.open_storage`, once the directory is taken."""
    try:
        remove_unfinished(files, member_dir)
        if not segments_in(files, member_dir):
            if snapshots_in(files, member_dir):
                raise DamagedLog(member_dir / WAL, 0, "there are snapshots, but no segment of the log")
            owner = Owner(FORMAT, cluster, member, make_uuid(), bootstrap or Configuration(), 0)
            _create(files, member_dir, owner, settings)
        return _read_back(files, member_dir, cluster, member, break_rule)
    except OSError as error:
        raise _unusable(member_dir, error) from error


def _create(files: FileSystem, member_dir: Path, owner: Owner, settings: StorageSettings) -> None:
    place = Place(1, 0, 1, 0, 0)
    segment, first_group, _ = plan_segment(member_dir / WAL, place, owner, settings)
    create_segment(files, segment, first_group).close()


def _read_back(
    files: FileSystem, member_dir: Path, cluster: str, member: NodeId, break_rule: Rule | None
) -> Opened:
    reader = LogReader(files, member_dir, ignore_damage=break_rule == "ignoreDamage")
    check_owner(reader.segments[0].path, reader.owner, cluster, member)
    found = read_snapshots(files, member_dir, cluster, break_rule)
    snapshot = found[-1] if found else SnapshotMeta(configuration=reader.owner.bootstrap)
    replay = Replay()
    behind_snapshot = 0
    for group in reader.groups():
        written = group.body.entries
        if written and written[-1].index > snapshot.index:
            behind_snapshot += group.header.end - group.header.offset
        try:
            replay.take(group.body)
        except ValueError as error:
            raise DamagedLog(group.segment.path, group.header.offset, str(error)) from error
    last = reader.segments[-1]
    tail = reader.tail
    if tail.verdict == "damaged":
        raise DamagedLog(last.path, tail.offset, tail.what)
    try:
        entries = replay.entries_behind(snapshot)
    except ValueError as error:
        raise DamagedLog(reader.segments[0].path, 0, str(error)) from error
    truncated = _make_good(files, reader)
    return Opened(
        reader.owner,
        reader.segments,
        reader.place,
        files.open(last.path),
        found,
        snapshot,
        entries or [],
        entries is not None,
        replay.hard_state_with(snapshot),
        replay.hard_state,
        replay.peers,
        truncated,
        behind_snapshot,
    )


def _make_good(files: FileSystem, reader: LogReader) -> int:
    """Zeroes what is behind the log's end, and makes durable what was found; the bytes cut off.

    A process that died between a write and its sync leaves groups that only memory holds, and a sync that
    failed may have marked their pages as clean. So the last group, the only one that this can have happened
    to, is written again.
    """
    segment, tail, last = reader.segments[-1], reader.tail, reader.last
    assert last is not None, "a segment that was read has a first group"
    file = files.open(segment.path)
    try:
        if segment.size < reader.size_of_last:
            file.preallocate(reader.size_of_last)
        for start in range(tail.offset, padded(tail.end), _ZEROING_BYTES):
            stop = min(start + _ZEROING_BYTES, padded(tail.end))
            file.write_at(start, bytes(stop - start))
        header = last.header
        file.write_at(header.offset, file.read_at(header.offset, header.end - header.offset))
        file.sync()
    finally:
        file.close()
    segment.size = max(segment.size, reader.size_of_last)
    for path in reader.dropped:
        files.remove(path)
    for folder in (segment.path.parent, segment.path.parent.parent / SNAPSHOTS):
        files.sync_directory(folder)  # a process may have died between giving a name and making it durable
    truncated = tail.end - tail.offset
    if truncated:
        log.warning(
            "%s: cut off %d bytes after byte %d, the rest of a write that a crash interrupted: %s",
            segment.path,
            truncated,
            tail.offset,
            tail.what,
        )
    return truncated


def _unusable(path: Path, error: OSError) -> DirectoryUnusable:
    return DirectoryUnusable(
        f"cannot use {error.filename or path} in the data directory {path}: {error.strerror or error}; it"
        " must exist or be creatable, be writable by this process, and have room"
    )
