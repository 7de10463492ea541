"""The file system as the storage of a member uses it, so that a simulator can put its own underneath.

What is written may be lost, whole or in part, until `File.sync` has returned; a new, renamed or removed
name, until `sync_directory` has. Every call raises OSError with the path in it. Nothing here tries a
second time: what the kernel did with the pages of a failed sync is not known (Rebello et al., "Can
Applications Recover from fsync Failures?", ATC 2020), so the caller ends instead.
"""

import errno
import fcntl
import os
from pathlib import Path
from typing import Protocol


class InUse(OSError):
    """Another process holds the lock; `strerror` says which, as far as it is known."""


class File(Protocol):
    """An open file."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Writes all of `data`; a write that comes out shorter is an error."""
        ...

    def write_synced(self, offset: int, data: bytes) -> None:
        """Writes all of `data` and makes it durable, at less cost than with a `sync` after it."""
        ...

    def read_at(self, offset: int, count: int) -> bytes:
        """What is there: less than `count` bytes at the file's end only."""
        ...

    def sync(self) -> None:
        """Makes durable what was written, and the size (fdatasync)."""
        ...

    def truncate(self, size: int) -> None:
        """Cuts the file, or extends it with zeros."""
        ...

    def preallocate(self, size: int) -> None:
        """Takes room on the disk up to `size`, zeros where nothing was written, so that writing there
        neither runs out of space nor changes the file's size."""
        ...

    def size(self) -> int:
        """In bytes."""
        ...

    def close(self) -> None:
        """Syncs nothing."""
        ...


class Lock(Protocol):
    """A lock that is held."""

    def release(self) -> None:
        """Others may have it; a process that ends releases it too."""
        ...


class FileSystem(Protocol):
    """Files and directories by path."""

    def make_directories(self, path: Path) -> None:
        """The directory and all above it, as far as they are missing; their names durable."""
        ...

    def listdir(self, path: Path) -> list[str]:
        """The names in a directory, sorted; FileNotFoundError if there is none."""
        ...

    def exists(self, path: Path) -> bool:
        """Whether a file or a directory has that name."""
        ...

    def read(self, path: Path) -> bytes:
        """All of a file."""
        ...

    def open(self, path: Path, create: bool = False) -> File:
        """To read and to write. With `create` it is made, empty, if it is missing."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Replaces at once whatever had the new name."""
        ...

    def remove(self, path: Path) -> None:
        """A file."""
        ...

    def remove_directory(self, path: Path) -> None:
        """An empty one."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Makes the names in it durable."""
        ...

    def lock(self, path: Path) -> Lock:
        """Takes the lock that this file stands for; raises InUse at once if somebody else has it."""
        ...


class RealFile:
    """A file of the operating system."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Takes the descriptor over."""
        self._path = path
        self._descriptor = descriptor
        self._named = _Named(path)

    def write_at(self, offset: int, data: bytes) -> None:
        """As `File.write_at`."""
        with self._named:
            written = os.pwrite(self._descriptor, data, offset)
        self._require(written, offset, data)

    def write_synced(self, offset: int, data: bytes) -> None:
        """As `File.write_synced`: one call (RWF_DSYNC), as each lets go of the interpreter lock and has to
        wait for it again. Where the file system does not know it, nothing is written by it."""
        try:
            with self._named:
                written = os.pwritev(self._descriptor, (data,), offset, os.RWF_DSYNC)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            self.write_at(offset, data)
            self.sync()
        else:
            self._require(written, offset, data)

    def read_at(self, offset: int, count: int) -> bytes:
        """As `File.read_at`."""
        parts = []
        with self._named:
            while count and (part := os.pread(self._descriptor, count, offset)):
                parts.append(part)
                offset += len(part)
                count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def sync(self) -> None:
        """As `File.sync`."""
        with self._named:
            os.fdatasync(self._descriptor)

    def truncate(self, size: int) -> None:
        """As `File.truncate`."""
        with self._named:
            os.ftruncate(self._descriptor, size)

    def preallocate(self, size: int) -> None:
        """As `File.preallocate`."""
        with self._named:
            os.posix_fallocate(self._descriptor, 0, size)

    def size(self) -> int:
        """As `File.size`."""
        with self._named:
            return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """As `File.close`."""
        with self._named:
            os.close(self._descriptor)

    def _require(self, written: int, offset: int, data: bytes) -> None:
        if written != len(data):
            what = f"a short write: {written} of {len(data)} bytes at byte {offset}; the volume may be full"
            raise OSError(errno.EIO, what, str(self._path))


class RealLock:
    """A flock on a file that carries the holder's process id."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """As `Lock.release`."""
        os.close(self._descriptor)


class RealFiles:
    """The operating system's files."""

    def make_directories(self, path: Path) -> None:
        """As `FileSystem.make_directories`."""
        missing = []
        while not path.is_dir():
            missing.append(path)
            path = path.parent
        for directory in reversed(missing):
            directory.mkdir(exist_ok=True)
            self.sync_directory(directory.parent)

    def listdir(self, path: Path) -> list[str]:
        """As `FileSystem.listdir`."""
        return sorted(os.listdir(path))

    def exists(self, path: Path) -> bool:
        """As `FileSystem.exists`."""
        return path.exists()

    def read(self, path: Path) -> bytes:
        """As `FileSystem.read`."""
        return path.read_bytes()

    def open(self, path: Path, create: bool = False) -> RealFile:
        """As `FileSystem.open`."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return RealFile(path, os.open(path, flags, 0o644))

    def rename(self, old: Path, new: Path) -> None:
        """As `FileSystem.rename`."""
        os.rename(old, new)

    def remove(self, path: Path) -> None:
        """As `FileSystem.remove`."""
        os.remove(path)

    def remove_directory(self, path: Path) -> None:
        """As `FileSystem.remove_directory`."""
        os.rmdir(path)

    def sync_directory(self, path: Path) -> None:
        """As `FileSystem.sync_directory`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _Named(path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: Path) -> RealLock:
        """As `FileSystem.lock`."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise InUse(errno.EWOULDBLOCK, f"in use by another process (pid {holder})", str(path)) from error
        except OSError as error:
            os.close(descriptor)
            raise OSError(error.errno, error.strerror, str(path)) from error
        return RealLock(descriptor)


class _Named:
    """Puts the path into what a call on a descriptor raises, which does not know it."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, self._path) from error
