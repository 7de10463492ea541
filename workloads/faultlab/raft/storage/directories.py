"""Where things are in a data directory, and whose.

    DATA_DIR/lock                            held as long as a process uses the directory
    DATA_DIR/<id>/wal/0000000001.wal         segments, by their number
    DATA_DIR/<id>/snapshots/<index>-<term>.snap
    .../*.new                                unfinished; removed at the next start

Each id has its own, so that a member that was replaced never meets what its former life left behind.
"""

from pathlib import Path

from faultlab.runtime.files import FileSystem

from ..configuration import NodeId, name_of

LOCK = "lock"
WAL = "wal"
SNAPSHOTS = "snapshots"
SEGMENT_SUFFIX = ".wal"
SNAPSHOT_SUFFIX = ".snap"
UNFINISHED_SUFFIX = ".new"

OLD_LOG = Path("wal") / "00000001.log"
"""The single log of format 1, directly in the data directory."""


def segment_name(number: int) -> str:
    """Of the segment with that number."""
    return f"{number:010d}{SEGMENT_SUFFIX}"


def segment_number(name: str) -> int | None:
    """The number in a segment's name; None for the name of anything else."""
    stem = name.removesuffix(SEGMENT_SUFFIX)
    return int(stem) if name == f"{stem}{SEGMENT_SUFFIX}" and len(stem) == 10 and stem.isdecimal() else None


def snapshot_name(index: int, term: int) -> str:
    """Of the snapshot after the entry at `index`."""
    return f"{index:012d}-{term:06d}{SNAPSHOT_SUFFIX}"


def snapshot_position(name: str) -> tuple[int, int] | None:
    """Index and term in a snapshot's name; None for the name of anything else."""
    index, _, term = name.removesuffix(SNAPSHOT_SUFFIX).partition("-")
    if not (index.isdecimal() and term.isdecimal()):
        return None
    return (int(index), int(term)) if name == snapshot_name(int(index), int(term)) else None


def list_if_there(files: FileSystem, directory: Path) -> list[str]:
    """The names in it, sorted; none where there is no such directory."""
    return files.listdir(directory) if files.exists(directory) else []


def segments_in(files: FileSystem, member_dir: Path) -> dict[int, Path]:
    """The segments of one id, by their number, in order."""
    wal = member_dir / WAL
    numbers = {segment_number(name): wal / name for name in list_if_there(files, wal)}
    return {number: numbers[number] for number in sorted(n for n in numbers if n is not None)}


def snapshots_in(files: FileSystem, member_dir: Path) -> dict[tuple[int, int], Path]:
    """The snapshots of one id, by index and term, in order."""
    folder = member_dir / SNAPSHOTS
    found = {snapshot_position(name): folder / name for name in list_if_there(files, folder)}
    return {position: found[position] for position in sorted(p for p in found if p is not None)}


def is_initialised(files: FileSystem, data_dir: Path, member: NodeId) -> bool:
    """Whether `member` has begun a log here. A directory whose making a crash interrupted does not count:
    nothing was promised in it."""
    member_dir = data_dir / member
    return bool(segments_in(files, member_dir) or snapshots_in(files, member_dir))


def ids_of(files: FileSystem, data_dir: Path, name: str) -> list[NodeId]:
    """The ids of the member `name` that have begun a log here, the newest last."""
    found = [
        other
        for other in list_if_there(files, data_dir)
        if name_of(other) == name and is_initialised(files, data_dir, other)
    ]
    return sorted(found, key=age_of)


def remove_older(files: FileSystem, data_dir: Path, member: NodeId) -> list[NodeId]:
    """Removes what earlier ids of the same name have left; gives them back. For a voter only: until then
    nobody else may have what is removed."""
    older = [other for other in ids_of(files, data_dir, name_of(member)) if age_of(other) < age_of(member)]
    for other in older:
        _remove_tree(files, data_dir / other)
    if older:
        files.sync_directory(data_dir)
    return older


def remove_unfinished(files: FileSystem, member_dir: Path) -> None:
    """Removes files that never got their name."""
    for folder in (member_dir / WAL, member_dir / SNAPSHOTS):
        for name in list_if_there(files, folder):
            if name.endswith(UNFINISHED_SUFFIX):
                files.remove(folder / name)


def _remove_tree(files: FileSystem, member_dir: Path) -> None:
    """Snapshots first, then segments from the oldest: a crash in between leaves a log that is refused for
    what is missing, not one that looks whole."""
    for name in list_if_there(files, member_dir):
        folder = member_dir / name
        for inner in files.listdir(folder):
            files.remove(folder / inner)
        files.remove_directory(folder)
    files.remove_directory(member_dir)


def age_of(member: NodeId) -> int:
    """The index in an id; 0 for that of a member from the beginning. Of two ids of one name the higher one
    is the later."""
    _, _, index = member.partition("#")
    return int(index) if index.isdecimal() else 0
