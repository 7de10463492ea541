"""What a disk may do to what it once had synced: flip bits, lose a write, put one in the place of another.

Lost and misdirected writes are told of old writes, as they would be found at the next start. Only of those
with a later one behind them: a disk that loses the very last write it has acknowledged cannot be told from
one that never got it, by no log (docs/systems/raft-storage.md).
"""

from pathlib import Path
from random import Random

from .files import SECTOR_BYTES, Inode, SimFiles


def damage(files: SimFiles, directory: Path, kind: str, share: float, rng: Random) -> bool:
    """Damages one file below a directory, chosen by `share` in [0, 1); whether there was one to damage."""
    candidates = [
        (inode, old_writes)
        for name, inode in files.damageable(directory)
        if (old_writes := _old_writes(name, inode))
    ]
    if not candidates:
        return False
    inode, old_writes = candidates[int(share * len(candidates))]
    offset, length = rng.choice(old_writes)
    start = offset + rng.randrange(length)
    stop = min(offset + length, start + SECTOR_BYTES)
    if kind == "flip":
        _overwrite(inode, start, bytes([inode.durable[start] ^ (1 << rng.randrange(8))]))
    elif kind == "lost":
        _overwrite(inode, start, bytes(stop - start))
    else:
        source, size = rng.choice(old_writes)
        _overwrite(inode, start, bytes(inode.durable[source : source + min(size, stop - start)]))
    return True


def _old_writes(name: str, inode: Inode) -> list[tuple[int, int]]:
    """Those of which the file's owner knows that they were synced: of a log all but the last ones; of a
    snapshot all, since it got its name only then."""
    syncs = inode.synced_writes if name.endswith(".snap") else inode.synced_writes[:-1]
    return [piece for writes in syncs for piece in writes]


def _overwrite(inode: Inode, offset: int, data: bytes) -> None:
    end = offset + len(data)
    if end <= len(inode.durable):
        inode.durable[offset:end] = data
        inode.data[offset:end] = data
