"""The storage of one member: its log and its snapshots, opened once, read back, then only added to.

The loop gathers (`add_entries`, `add_hard_state`, `add_peer`, `install`), and `start_sync` makes one group of
it: one write and one sync for all. Everything that touches the disk after opening is a job for a `DiskQueue`.
An OSError in a job means that the member ends: what the disk holds then is for the next start to find out.

groups.py says what a log looks like, tail.py what a crash may leave of it, docs/systems/raft-storage.md both
for people.
"""

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from faultlab.runtime.disk import DiskQueue
from faultlab.runtime.files import FileSystem, Lock

from ..configuration import Configuration
from ..messages import Entry, HardState, NodeId, SnapshotMeta
from ..rules import Rule
from . import snapshots
from .directories import SNAPSHOTS, snapshot_name
from .groups import Reset
from .log_writer import LogWriter, StorageSettings
from .opening import Opened, open_log, take_directory

KEPT_SNAPSHOTS = 2
"""The latest, and the one before, which a follower may be receiving."""


class Recovered(msgspec.Struct, frozen=True):
    """What a member had persisted when it last stopped, however it stopped."""

    hard_state: HardState
    snapshot: SnapshotMeta
    """The latest; of index 0, with the configuration that the member began with, before the first one."""
    entries: list[Entry]
    """The log behind the snapshot."""
    truncated_bytes: int
    """What a crash had left of an unfinished write, cut off now."""
    uuid: str
    """Of this id's data, made with its directory."""
    known_peers: dict[NodeId, str]
    """The uuids of others' data, as `add_peer` was told."""


class Storage:
    """An open log with its snapshots. All calls on the loop; jobs are what says so."""

    def __init__(
        self, files: FileSystem, member_dir: Path, cluster: str, lock: Lock, opened: Opened, writer: LogWriter
    ) -> None:
        """Use `open_storage`."""
        self._files = files
        self._member_dir = member_dir
        self._cluster = cluster
        self._lock = lock
        self._writer = writer
        self._snapshots = opened.snapshots
        """The latest last; without that of index 0, which has no file."""
        self.uuid = opened.owner.uuid
        self._covered_bytes = -opened.bytes_behind_snapshot
        self._frozen_at_bytes = self._covered_bytes
        self.incoming = snapshots.IncomingSnapshot(files, member_dir, cluster)
        """The snapshot that a leader is sending; its calls are jobs."""

    @property
    def known_peers(self) -> dict[NodeId, str]:
        """The uuids of others' data."""
        return self._writer.peers

    @property
    def log_bytes(self) -> int:
        """What the log takes, without the rest of the last segment."""
        return self._writer.log_bytes

    @property
    def bytes_behind_snapshot(self) -> int:
        """How much has been written to the log since the latest snapshot was frozen."""
        return self._writer.appended_bytes - self._covered_bytes

    @property
    def pending_bytes(self) -> int:
        """Of data in entries that were gathered and not handed to the disk."""
        return self._writer.pending_bytes

    def add_entries(self, entries: list[Entry]) -> None:
        """Gathers entries; where the first one's index was written before, they replace all from it on."""
        self._writer.add_entries(entries)

    def add_hard_state(self, state: HardState) -> None:
        """Gathers a hard state that replaces the last one."""
        self._writer.add_hard_state(state)

    def add_peer(self, peer: NodeId, uuid: str) -> None:
        """Gathers the uuid of a peer's data, the only one it may ever come with."""
        self._writer.add_peer(peer, uuid)

    def start_sync(self, disk: DiskQueue, done: Callable[[], None]) -> None:
        """Makes durable what was gathered, behind all that was handed to `disk` before; then `done`."""
        disk.run(self._writer.take() or _nothing, done)

    def open_snapshot_writer(self) -> snapshots.SnapshotWriter:
        """To write a snapshot of the state as it is now. One at a time; its calls are jobs: `write` for each
        slice, then `finish`. Tell `compact` of it when that is done."""
        self._frozen_at_bytes = self._writer.appended_bytes
        return snapshots.SnapshotWriter(self._files, self._member_dir, self._cluster)

    def compact(
        self, meta: SnapshotMeta, keep_after_index: int, disk: DiskQueue, done: Callable[[], None]
    ) -> None:
        """The snapshot `meta`, finished by its writer, is the latest now. Drops the segments that hold only
        entries up to `keep_after_index`, which it must cover, and all snapshots but two."""
        if keep_after_index > meta.index:
            raise ValueError(f"entries up to {keep_after_index} are not all in a snapshot up to {meta.index}")
        self._covered_bytes = self._frozen_at_bytes
        disk.run(self._take_latest(meta), _nothing)
        self._writer.drop_until(keep_after_index, disk, done)

    def install(self, meta: SnapshotMeta, disk: DiskQueue, done: Callable[[], None]) -> None:
        """Makes the incoming snapshot the latest, once all of it was handed to `incoming.write` by jobs; then
        `done`. If it is not what `meta` says the job fails with OSError.

        The log goes on behind it, from the next group on: entries gathered before are forgotten.
        """
        disk.run(partial(self.incoming.finish, meta), _nothing)
        self._writer.reset(Reset(meta.index, meta.term))
        self._covered_bytes = self._frozen_at_bytes = self._writer.appended_bytes
        disk.run(self._take_latest(meta), done)

    def read_snapshot(self, meta: SnapshotMeta) -> Iterator[bytes]:
        """The bytes of a snapshot of index 1 or more, in blocks; raises DamagedLog if they are not what was
        written."""
        return snapshots.read_payload(self._files, self._path_of(meta), meta)

    def read_snapshot_chunk(self, meta: SnapshotMeta, offset: int, count: int) -> bytes | None:
        """At most `count` bytes of a snapshot, for a follower; None if it is gone. May be called in a job."""
        return snapshots.read_part(self._files, self._path_of(meta), meta, offset, count)

    def close(self) -> None:
        """Writes what was gathered and gives the directory up. The disk queue must have ended."""
        try:
            self._writer.close()
        finally:
            self._lock.release()

    def abandon(self) -> None:
        """Gives the directory up as it is, for a disk that does not come to an end."""
        self._lock.release()

    def _take_latest(self, meta: SnapshotMeta) -> Callable[[], None]:
        """The job that removes the snapshots that are one too many now."""
        kept = [*(other for other in self._snapshots if other.index != meta.index), meta]
        kept, dropped = kept[-KEPT_SNAPSHOTS:], kept[:-KEPT_SNAPSHOTS]
        self._snapshots = kept
        return partial(self._remove_snapshots, [self._path_of(other) for other in dropped])

    def _path_of(self, meta: SnapshotMeta) -> Path:
        return self._member_dir / SNAPSHOTS / snapshot_name(meta.index, meta.term)

    def _remove_snapshots(self, paths: list[Path]) -> None:
        for path in paths:
            self._files.remove(path)


def random_uuid() -> str:
    """Tells one data directory from all others."""
    return uuid.uuid4().hex


def open_storage(
    files: FileSystem,
    data_dir: Path,
    cluster: str,
    member: NodeId,
    bootstrap: Configuration | None = None,
    break_rule: Rule | None = None,
    settings: StorageSettings | None = None,
    make_uuid: Callable[[], str] = random_uuid,
) -> tuple[Storage, Recovered]:
    """Takes the data directory, makes the id's own in it if it is new, and reads back what is there.

    `bootstrap` is what a new directory begins with (None: with nobody, as a member that joins does); one that
    is there knows its own. A torn tail is cut off and logged. Raises DirectoryInUse, DirectoryUnusable,
    ForeignLog or DamagedLog; then no log was changed.
    """
    settings = settings or StorageSettings()
    lock = take_directory(files, data_dir, member)
    try:
        opened = open_log(
            files, data_dir / member, cluster, member, bootstrap, break_rule, settings, make_uuid
        )
    except BaseException:
        lock.release()
        raise
    writer = LogWriter(files, data_dir / member, opened.owner, settings, break_rule)
    writer.go_on(opened.segments, opened.place, opened.file, opened.written_state, dict(opened.peers))
    if not opened.follows:
        writer.reset(Reset(opened.snapshot.index, opened.snapshot.term))
    recovered = Recovered(
        opened.hard_state,
        opened.snapshot,
        opened.entries,
        opened.truncated_bytes,
        opened.owner.uuid,
        opened.peers,
    )
    return Storage(files, data_dir / member, cluster, lock, opened, writer), recovered


def _nothing() -> None:
    """A job, or what follows one."""
