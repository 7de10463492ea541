"""The write-ahead log of one member: opened once, replayed, then only appended to.

    DATA_DIR/lock                held (flock) as long as the process lives
    DATA_DIR/wal/00000001.log    records.py says what is in it

One file until snapshots let a prefix go; the name leaves room for those to come. A new file is written
whole under another name, synced, renamed, and its directory synced, so that a file that has its name
has its first record.
"""

import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from faultlab.runtime.disk import DiskThread

from ..messages import Entry, HardState
from .errors import DamagedLog, DirectoryInUse, DirectoryUnusable, ForeignLog
from .records import (
    FORMAT,
    BatchEncoder,
    Kind,
    Owner,
    Record,
    decode_entry,
    decode_hard_state,
    decode_owner,
    find_proof_of_damage,
    read_chain,
)

log = logging.getLogger("faultlab.wal")

_OWNER, _ENTRY, _HARD_STATE = int(Kind.OWNER), int(Kind.ENTRY), int(Kind.HARD_STATE)

FIRST_SEGMENT = "00000001.log"


class Recovered(msgspec.Struct, frozen=True):
    """What a member had persisted when it last stopped, however it stopped."""

    hard_state: HardState
    entries: list[Entry]
    """The whole log, from index 1."""
    truncated_bytes: int
    """What a crash had left of an unfinished write, cut off now."""


class Wal:
    """An open log. `encoder` gathers a batch, `start_sync` makes it durable."""

    def __init__(self, path: Path, descriptor: int, lock_descriptor: int, encoder: BatchEncoder) -> None:
        """Use `open_wal`."""
        self.path = path
        self.encoder = encoder
        self._descriptor = descriptor
        self._lock_descriptor = lock_descriptor
        self._disk: DiskThread | None = None

    def start_sync(self, done: Callable[[], None]) -> None:
        """Hands the gathered batch to the disk thread; `done` is called on the loop once it is synced.

        One batch at a time: the next only after `done`. A failure ends the process (runtime/disk.py).
        """
        if self._disk is None:
            self._disk = DiskThread()
        data = self.encoder.take()
        self._disk.run(lambda: self._write(data), done)

    def _write(self, data: bytes) -> None:
        write_all(self._descriptor, data)
        os.fdatasync(self._descriptor)

    def close(self, timeout_s: float = 0.5) -> None:
        """Lets the disk thread finish what it was given, writes what was gathered since, and unlocks."""
        if self._disk is not None and not self._disk.close(timeout_s):
            log.warning("disk still busy after %.1f s; leaving it what it has", timeout_s)
            return
        rest = self.encoder.take()
        if rest:
            self._write(rest)
        os.close(self._descriptor)
        os.close(self._lock_descriptor)


def open_wal(data_dir: Path, cluster: str, member: str) -> tuple[Wal, Recovered]:
    """Takes the data directory, makes it if it is new, and reads the log back.

    A torn tail is cut off and logged. Raises DirectoryInUse, DirectoryUnusable, ForeignLog or DamagedLog;
    then nothing was changed.
    """
    try:
        (data_dir / "wal").mkdir(parents=True, exist_ok=True)
        lock_descriptor = _lock(data_dir)
    except OSError as error:
        raise DirectoryUnusable(
            f"cannot use the data directory {data_dir}: {error.strerror}; it must exist or be creatable,"
            " and be writable by this process"
        ) from error
    path = data_dir / "wal" / FIRST_SEGMENT
    owner = Owner(FORMAT, cluster, member)
    try:
        if not path.exists():
            _create(path, owner)
        return _open_existing(path, owner, lock_descriptor)
    except OSError as error:
        os.close(lock_descriptor)
        raise DirectoryUnusable(f"cannot open {path}: {error.strerror}") from error
    except BaseException:
        os.close(lock_descriptor)
        raise


def _lock(data_dir: Path) -> int:
    path = data_dir / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise DirectoryInUse(
            f"{data_dir} is in use by another process (pid {holder}); stop that one first, or give this"
            " member a data directory of its own"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _create(path: Path, owner: Owner) -> None:
    encoder = BatchEncoder(0, 0)
    encoder.add_owner(owner)
    unfinished = path.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write_all(descriptor, encoder.take())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(unfinished, path)
    for directory in (path.parent, path.parent.parent, path.parent.parent.parent):
        _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_existing(path: Path, owner: Owner, lock_descriptor: int) -> tuple[Wal, Recovered]:
    data = path.read_bytes()
    replay = _Replay(path, owner)
    for record in read_chain(data):
        replay.take(record)
    if replay.end < len(data) or not data:
        _require_torn(path, data, replay)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        torn = len(data) - replay.end
        if torn:
            os.ftruncate(descriptor, replay.end)
            os.fsync(descriptor)
            log.warning(
                "%s: cut off %d bytes after byte %d, the rest of a write that a crash interrupted",
                path,
                torn,
                replay.end,
            )
    except BaseException:
        os.close(descriptor)
        raise
    wal = Wal(path, descriptor, lock_descriptor, BatchEncoder(replay.end, replay.crc))
    return wal, Recovered(replay.hard_state(), replay.entries, torn)


def _require_torn(path: Path, data: bytes, replay: "_Replay") -> None:
    if replay.end == 0:
        raise DamagedLog(path, 0, "the first record, which is written before the file gets its name, is bad")
    proof = find_proof_of_damage(data, replay.end)
    if proof is None:
        return
    if proof.offset == replay.end:
        raise DamagedLog(path, replay.end, "a valid record that does not follow from the one before it")
    raise DamagedLog(
        path,
        replay.end,
        f"an unreadable record, though a later write, at byte {proof.batch}, is intact",
    )


class _Replay:
    """The state that the records add up to."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self._path = path
        self._owner = owner
        self._hard_state = HardState()
        self.entries: list[Entry] = []
        self.end = 0
        self.crc = 0

    def take(self, record: Record) -> None:
        """Applies one record; raises DamagedLog or ForeignLog."""
        try:
            self._apply(record)
        except ValueError as error:
            raise DamagedLog(self._path, record.offset, str(error)) from error
        self.end, self.crc = record.end, record.crc

    def hard_state(self) -> HardState:
        """The last one written, or what a torn tail that cost it its record still implies.

        An entry of a later term says that the member was in that term; it cannot have told anybody of
        a vote in it, for that goes out after the sync only.
        """
        last_term = self.entries[-1].term if self.entries else 0
        if last_term > self._hard_state.term:
            return HardState(last_term, None, self._hard_state.commit)
        return self._hard_state

    def _apply(self, record: Record) -> None:
        kind = record.kind
        if (kind == _OWNER) != (record.offset == 0):
            raise ValueError("the record that names the owner must come first, and only there")
        if kind == _ENTRY:
            self._append(decode_entry(record.payload))
        elif kind == _HARD_STATE:
            self._hard_state = decode_hard_state(record.payload)
        elif kind == _OWNER:
            self._check_owner(decode_owner(record.payload))
        else:
            raise ValueError(f"a record of unknown kind {kind}; a newer version may have written it")

    def _append(self, entry: Entry) -> None:
        following = len(self.entries) + 1
        if entry.index != following:
            if not 1 <= entry.index < following:
                raise ValueError(f"entry {entry.index} where {following} or an earlier one may come")
            del self.entries[entry.index - 1 :]
        self.entries.append(entry)

    def _check_owner(self, found: Owner) -> None:
        if found != self._owner:
            raise ForeignLog(
                f"{self._path} is of member {found.member!r} of cluster {found.cluster!r} in format"
                f" {found.format}; this is {self._owner.member!r} of {self._owner.cluster!r} in format"
                f" {self._owner.format}. Give each member a data directory of its own"
            )


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data`, however many calls that takes; raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
