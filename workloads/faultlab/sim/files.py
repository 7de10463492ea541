"""A disk in memory that forgets what was not synced, as runtime/files.py's protocols would have it.

What is on the platter and what the operating system shows are two things: writes, truncations, new names
and renames count at once for whoever reads, and survive a power cut only after `sync` (of the file) or
`sync_directory` (of its name). A power cut keeps of the rest what it likes: whole writes, the first of
them, single sectors. A process that merely dies loses nothing.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from faultlab.runtime.files import File, InUse, Lock

SECTOR_BYTES = 512


class PowerCut(Exception):
    """Raised out of a job by the first sync after the power went."""


class Inode:
    """A file's bytes: as read, as on the platter, and the writes in between."""

    __slots__ = ("data", "durable", "pending", "synced_writes")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []
        """(offset, bytes) of a write; (size, None) of a change of size."""
        self.synced_writes: list[list[tuple[int, int]]] = []
        """(offset, length) of the writes of each sync: where damage would hurt."""

    def write(self, offset: int, data: bytes) -> None:
        """Shows at once."""
        _put(self.data, offset, data)
        self.pending.append((offset, data))

    def resize(self, size: int) -> None:
        """Shows at once."""
        _resize(self.data, size)
        self.pending.append((size, None))

    def sync(self) -> None:
        """Everything written so far is on the platter."""
        durable = self.durable
        writes = []
        for offset, data in self.pending:
            if data is None:
                _resize(durable, offset)
            else:
                _put(durable, offset, data)
                writes.append((offset, len(data)))
        if writes:
            self.synced_writes.append(writes)
        self.pending.clear()

    def lose_power(self, rng: Random) -> None:
        """Keeps of what was not synced what chance leaves of it."""
        keep = _survival(rng)
        durable = self.durable
        for offset, data in self.pending:
            if data is None:
                if keep():
                    _resize(durable, offset)
                continue
            start = 0
            while start < len(data):
                stop = min(len(data), start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES)
                if keep():
                    _put(durable, offset + start, data[start:stop])
                start = stop
        self.pending.clear()
        self.data = bytearray(durable)


def _survival(rng: Random) -> Callable[[], bool]:
    """Which sectors survive: all, none, the first so many, or each by chance."""
    kind = rng.randrange(8)
    if kind < 2:
        return lambda: False
    if kind == 2:
        return lambda: True
    if kind < 5:
        left = [rng.randrange(6)]

        def first() -> bool:
            left[0] -= 1
            return left[0] >= 0

        return first
    return lambda: rng.random() < 0.5


def _put(target: bytearray, offset: int, data: bytes) -> None:
    if offset > len(target):
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


def _resize(target: bytearray, size: int) -> None:
    if size < len(target):
        del target[size:]
    else:
        target.extend(bytes(size - len(target)))


class SimFile:
    """An open file."""

    __slots__ = ("_disk", "_name", "inode")

    def __init__(self, disk: "SimFiles", name: str, inode: Inode) -> None:
        self._disk = disk
        self._name = name
        self.inode = inode

    def write_at(self, offset: int, data: bytes) -> None:
        """Writes all of `data`; OSError when the disk is full or fails."""
        self._disk.check_write(self._name)
        self.inode.write(offset, bytes(data))

    def write_synced(self, offset: int, data: bytes) -> None:
        """Writes and makes durable; as the log syncs all that it writes, the whole file may be."""
        self.write_at(offset, data)
        self.sync()

    def read_at(self, offset: int, count: int) -> bytes:
        """What is there, less than `count` at the end."""
        return bytes(self.inode.data[offset : offset + count])

    def sync(self) -> None:
        """Makes durable what was written. After a failure the next one finds nothing left to do."""
        self._disk.check_sync(self._name, self.inode)
        self.inode.sync()

    def truncate(self, size: int) -> None:
        """Cuts or extends with zeros."""
        self.inode.resize(size)

    def preallocate(self, size: int) -> None:
        """Makes room up to `size`."""
        self._disk.check_write(self._name)
        if size > len(self.inode.data):
            self.inode.resize(size)

    def size(self) -> int:
        """In bytes."""
        return len(self.inode.data)

    def close(self) -> None:
        """Nothing is synced by it."""


class SimLock:
    """A lock held by the process that runs on the machine."""

    __slots__ = ("_held", "_name")

    def __init__(self, held: dict[str, None], name: str) -> None:
        self._held = held
        self._name = name

    def release(self) -> None:
        """Others may have it."""
        self._held.pop(self._name, None)


class SimFiles:
    """One machine's file system."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._names: dict[str, Inode] = {}
        self._durable_names: dict[str, Inode] = {}
        self._pending_names: list[dict[str, Inode | None]] = []
        """Changes of names that no directory sync has made durable; None: the name goes."""
        self._directories: dict[str, None] = {}
        self._locks: dict[str, None] = {}
        self.full = False
        """Writes fail with ENOSPC."""
        self.write_fails = 0
        """So many writes to come fail with EIO."""
        self.sync_fails = 0
        """So many syncs to come fail with EIO, and lose what they should have kept."""
        self.dying = False
        """The power goes at the next sync."""
        self.failure = ""
        """The mark of what failed last."""

    # What the storage calls.

    def make_directories(self, path: Path) -> None:
        """The directory and all above it."""
        name = str(path)
        while name not in self._directories and name not in ("/", ".", ""):
            self._directories[name] = None
            name = _parent(name)

    def listdir(self, path: Path) -> list[str]:
        """The names in a directory, sorted."""
        name = str(path)
        if name not in self._directories:
            raise _missing(name)
        found = dict.fromkeys(other for other in [*self._names, *self._directories] if _parent(other) == name)
        return sorted(_base(other) for other in found)

    def exists(self, path: Path) -> bool:
        """Whether there is a file or a directory."""
        name = str(path)
        return name in self._names or name in self._directories

    def read(self, path: Path) -> bytes:
        """All of a file."""
        return bytes(self._inode(str(path)).data)

    def open(self, path: Path, create: bool = False) -> File:
        """A file to read and write; FileNotFoundError unless it is there or `create`."""
        name = str(path)
        if create and name not in self._names:
            self.check_write(name)
            if _parent(name) not in self._directories:
                raise _missing(name)
            inode = self._names[name] = Inode()
            self._pending_names.append({name: inode})
        return SimFile(self, name, self._inode(name))

    def rename(self, old: Path, new: Path) -> None:
        """Replaces what had the new name."""
        source, target = str(old), str(new)
        inode = self._names[target] = self._inode(source)
        del self._names[source]
        self._pending_names.append({target: inode, source: None})

    def remove(self, path: Path) -> None:
        """FileNotFoundError if there is none."""
        name = str(path)
        self._inode(name)
        del self._names[name]
        self._pending_names.append({name: None})

    def remove_directory(self, path: Path) -> None:
        """An empty one."""
        name = str(path)
        if self.listdir(path):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), name)
        del self._directories[name]

    def lock(self, path: Path) -> Lock:
        """InUse if another has it."""
        name = str(path)
        if name in self._locks:
            raise InUse(errno.EWOULDBLOCK, "in use by another process", name)
        self._locks[name] = None
        return SimLock(self._locks, name)

    def release_locks(self) -> None:
        """The process that held them has ended."""
        self._locks.clear()

    def sync_directory(self, path: Path) -> None:
        """The names in it are durable."""
        directory = str(path)
        if self.dying:
            raise PowerCut
        rest = []
        for change in self._pending_names:
            if any(_parent(name) == directory for name in change):
                self._keep(change)
            else:
                rest.append(change)
        self._pending_names = rest

    # What the world does to it.

    def check_write(self, name: str) -> None:
        """Raises what a write meets at the moment."""
        if self.full:
            self.failure = "disk full ended a member"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        if self.write_fails:
            self.write_fails -= 1
            self.failure = "disk error ended a member"
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)

    def check_sync(self, name: str, inode: Inode) -> None:
        """Raises what a sync meets at the moment; a failed one leaves the pages clean and the data lost."""
        if self.dying:
            raise PowerCut
        if self.sync_fails:
            self.sync_fails -= 1
            self.failure = "failed sync ended a member"
            inode.lose_power(self._rng)
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)

    def lose_power(self) -> None:
        """Forgets what was not synced, save what chance keeps of it; nobody has a file open any more."""
        rng = self._rng
        self.dying = False
        for change in self._pending_names[: rng.randint(0, len(self._pending_names))]:
            self._keep(change)
        self._pending_names.clear()
        inodes = dict.fromkeys([*self._names.values(), *self._durable_names.values()])
        self._names = dict(self._durable_names)
        for inode in inodes:
            inode.lose_power(rng)

    def wipe(self) -> None:
        """An empty disk in its place."""
        self._names.clear()
        self._durable_names.clear()
        self._pending_names.clear()
        self._directories.clear()
        self._locks.clear()

    def damageable(self, under: Path) -> list[tuple[str, Inode]]:
        """Files below a directory that hold something synced, by name."""
        prefix = f"{under}/"
        return [
            (name, self._names[name])
            for name in sorted(self._names)
            if name.startswith(prefix) and self._names[name].synced_writes
        ]

    def _keep(self, change: dict[str, Inode | None]) -> None:
        for name, inode in change.items():
            if inode is None:
                self._durable_names.pop(name, None)
            else:
                self._durable_names[name] = inode

    def _inode(self, name: str) -> Inode:
        inode = self._names.get(name)
        if inode is None:
            raise _missing(name)
        return inode


def _missing(name: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _base(name: str) -> str:
    return name.rpartition("/")[2]
