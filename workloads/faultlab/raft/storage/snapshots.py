"""Snapshot files: written in slices, received in parts, read in parts, at most two kept.

A file is the state machine's bytes, then a footer that says what they are:

    payload   as the state machine gives it; offsets in messages between members are offsets in it
    footer    MessagePack, `Footer`
    end       uint32 length of the footer, uint32 CRC32C of the footer, 8 bytes b"FLSNAP01"

The checksum in its `SnapshotMeta` is the CRC32C of the payload. A file gets its name only once all of it is
synced, so one that has its name and does not match is damaged. Everything here does I/O at once: it belongs
into jobs for the disk, but for opening, and for reading, which may be done anywhere.
"""

import errno
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from faultlab.runtime.files import File, FileSystem

from ..checksum import crc32c, extend_crc32c
from ..messages import SnapshotMeta
from .directories import SNAPSHOTS, UNFINISHED_SUFFIX, snapshot_name
from .errors import DamagedLog, ForeignLog

MAGIC = b"FLSNAP01"
BLOCK_BYTES = 1024 * 1024
MAX_FOOTER_BYTES = 1024 * 1024

_END = struct.Struct("<II8s")

_SYNC_BYTES = 4 * 1024 * 1024
"""Synced on the way, so that the last sync, for which the groups of the log wait, is a short one."""

_WRITING = f"writing{UNFINISHED_SUFFIX}"
_INCOMING = f"incoming{UNFINISHED_SUFFIX}"


class Footer(msgspec.Struct, frozen=True, array_like=True):
    """Whose snapshot a file is, and of what."""

    cluster: str
    meta: SnapshotMeta


class SnapshotWriter:
    """A snapshot on its way to the disk. Each call is a job; an OSError in one ends the member."""

    def __init__(self, files: FileSystem, member_dir: Path, cluster: str, name: str = _WRITING) -> None:
        """Begins the file with the first write."""
        self._files = files
        self._folder = member_dir / SNAPSHOTS
        self._path = self._folder / name
        self._cluster = cluster
        self._file: File | None = None
        self.size = 0
        self._synced = 0
        self._checksum = 0

    def write(self, data: bytes) -> None:
        """Adds to the payload."""
        file = self._opened()
        file.write_at(self.size, data)
        self.size += len(data)
        if self.size - self._synced >= _SYNC_BYTES:
            file.sync()
            self._synced = self.size
        self._checksum = extend_crc32c(self._checksum, data)

    def finish(self, meta: SnapshotMeta) -> SnapshotMeta:
        """Makes it durable under its name; `size` and `checksum` of `meta` do not matter and are set."""
        meta = msgspec.structs.replace(meta, size=self.size, checksum=self._checksum)
        self._complete(meta)
        return meta

    def finish_received(self, meta: SnapshotMeta) -> None:
        """As `finish`, if what was written is what `meta` says; else OSError, and no file gets a name.

        The core has compared what came with `meta`, so only this member's own writing can be wrong.
        """
        if (self.size, self._checksum) != (meta.size, meta.checksum):
            self.discard()
            raise OSError(
                errno.EIO,
                f"the snapshot of index {meta.index} that was received has {self.size} bytes and checksum"
                f" {self._checksum:08x}; its leader announced {meta.size} and {meta.checksum:08x}",
                str(self._path),
            )
        self._complete(meta)

    def discard(self) -> None:
        """Gives up: nothing of it stays."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._files.remove(self._path)

    def _opened(self) -> File:
        if self._file is None:
            self._file = self._files.open(self._path, create=True)
            self._file.truncate(0)
        return self._file

    def _complete(self, meta: SnapshotMeta) -> None:
        footer = msgspec.msgpack.encode(Footer(self._cluster, meta))
        file = self._opened()
        file.write_at(self.size, footer + _END.pack(len(footer), crc32c(footer), MAGIC))
        file.sync()
        file.close()
        self._file = None
        self._files.rename(self._path, self._folder / snapshot_name(meta.index, meta.term))
        self._files.sync_directory(self._folder)


class IncomingSnapshot:
    """The snapshot that a leader is sending, as far as it has come. Each call is a job."""

    def __init__(self, files: FileSystem, member_dir: Path, cluster: str) -> None:
        self._files = files
        self._member_dir = member_dir
        self._cluster = cluster
        self._of: tuple[int, int, int, int] | None = None
        self._writer: SnapshotWriter | None = None

    def write(self, meta: SnapshotMeta, offset: int, data: bytes) -> None:
        """Adds a part. Offset 0 begins a new file; any other must follow what is there already."""
        if offset == 0 or self._writer is None or self._of != _identity(meta):
            self._begin(meta)
        assert self._writer is not None
        if offset != self._writer.size:
            raise ValueError(f"a part at byte {offset} of a snapshot of which {self._writer.size} are here")
        self._writer.write(data)

    def finish(self, meta: SnapshotMeta) -> None:
        """Makes it durable under its name; OSError if it is not what `meta` says."""
        if self._writer is None or self._of != _identity(meta):
            self._begin(meta)
        assert self._writer is not None
        self._writer.finish_received(meta)
        self._of = self._writer = None

    def _begin(self, meta: SnapshotMeta) -> None:
        if self._writer is not None:
            self._writer.discard()
        self._of = _identity(meta)
        self._writer = SnapshotWriter(self._files, self._member_dir, self._cluster, _INCOMING)


def _identity(meta: SnapshotMeta) -> tuple[int, int, int, int]:
    """Leaders with the same of these have the same bytes."""
    return (meta.index, meta.term, meta.size, meta.checksum)


def read_meta(files: FileSystem, path: Path, cluster: str | None = None) -> SnapshotMeta:
    """What a snapshot file says it is; the payload is not looked at. DamagedLog, or ForeignLog where it is
    not of `cluster`."""
    file = files.open(path)
    try:
        size = file.size()
        end = file.read_at(max(0, size - _END.size), _END.size)
        if len(end) < _END.size:
            raise DamagedLog(path, 0, f"{size} bytes are no snapshot")
        length, crc, magic = _END.unpack(end)
        at = size - _END.size - length
        if magic != MAGIC or length > MAX_FOOTER_BYTES or at < 0:
            raise DamagedLog(path, size - _END.size, "the end of the snapshot is not what was written")
        data = file.read_at(at, length)
    finally:
        file.close()
    if crc32c(data) != crc:
        raise DamagedLog(path, at, "the footer of the snapshot is not what was written")
    footer = msgspec.msgpack.decode(data, type=Footer)
    if footer.meta.size != at or path.name != snapshot_name(footer.meta.index, footer.meta.term):
        raise DamagedLog(path, at, f"a footer of a snapshot of {footer.meta.size} bytes under another name")
    if cluster is not None and footer.cluster != cluster:
        raise ForeignLog(f"{path} is of cluster {footer.cluster!r}; this is {cluster!r}. Remove it")
    return footer.meta


def verify(files: FileSystem, path: Path, meta: SnapshotMeta) -> None:
    """Reads the payload; raises DamagedLog unless it has the checksum that `meta` says."""
    for _ in read_payload(files, path, meta):
        pass


def read_payload(files: FileSystem, path: Path, meta: SnapshotMeta) -> Iterator[bytes]:
    """The payload in blocks; raises DamagedLog behind the last one if it is not what was written."""
    file = files.open(path)
    try:
        checksum = offset = 0
        while offset < meta.size:
            block = file.read_at(offset, min(BLOCK_BYTES, meta.size - offset))
            if not block:
                break
            checksum = extend_crc32c(checksum, block)
            offset += len(block)
            yield block
    finally:
        file.close()
    if (offset, checksum) != (meta.size, meta.checksum):
        raise DamagedLog(path, 0, f"the first {meta.size} bytes of the snapshot are not what was written")


def read_part(files: FileSystem, path: Path, meta: SnapshotMeta, offset: int, count: int) -> bytes | None:
    """Part of a payload for a follower, at most `count` bytes; None if the file is gone."""
    try:
        file = files.open(path)
    except FileNotFoundError:
        return None
    try:
        return file.read_at(offset, min(count, meta.size - offset))
    finally:
        file.close()
