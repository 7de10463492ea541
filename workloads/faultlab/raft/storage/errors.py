"""What the storage refuses, in the tree of `RaftError`."""

from pathlib import Path

from ..errors import RaftError


class StorageError(RaftError):
    """The data directory cannot serve this member; the message names file, offset and what to do."""


class DamagedLog(StorageError):
    """Bytes that were synced once are not what was written. Nothing is repaired by guessing."""

    def __init__(self, path: Path, offset: int, what: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {offset}: {what}. This member may have acknowledged what is lost, so"
            " it must not go on. Replace it: under a new id it gets everything from the others"
            " (`faultlab-node raft --replace`; in Kubernetes the operator does it by itself)"
        )
        self.path = path
        self.offset = offset
        self.what = what


class ForeignLog(StorageError):
    """The log was written by another member, another cluster or another format."""


class DirectoryInUse(StorageError):
    """Another process holds the data directory."""


class DirectoryUnusable(StorageError):
    """The operating system refuses to create, lock, read or write in the data directory."""
