"""What the storage refuses, in the tree of `RaftError`."""

from pathlib import Path

from ..errors import RaftError


class StorageError(RaftError):
    """The data directory cannot serve this member; the message names file, offset and what to do."""


class DamagedLog(StorageError):
    """Bytes that were synced once are not what was written. Nothing is repaired by guessing."""

    def __init__(self, path: Path, offset: int, what: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {offset}: {what}. What was written after it may have been"
            " acknowledged, so nothing is cut off. Restore this data directory from a copy, or give the"
            " member an empty one only if a majority of the others is intact and up to date"
        )
        self.path = path
        self.offset = offset


class ForeignLog(StorageError):
    """The log was written by another member, another cluster or another format."""


class DirectoryInUse(StorageError):
    """Another process holds the data directory."""


class DirectoryUnusable(StorageError):
    """The operating system refuses to create, lock, read or write in the data directory."""
