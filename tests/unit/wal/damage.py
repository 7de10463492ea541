"""Logs that were damaged in a known place, in a known way, and what must become of each.

`make_case(kind, where, seed)` writes a log through the storage itself, on a disk in memory, and knows of each
group where it lies and what the log held after it. Then it damages the files, and says by where the damage
lies, not by what the storage thinks of it, what is right: to start, with which state, or to refuse.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from faultlab.raft.configuration import Configuration
from faultlab.raft.messages import Entry, HardState, SnapshotMeta
from faultlab.raft.storage.groups import MAGIC, SECTOR_BYTES
from faultlab.raft.storage.store import Recovered, Storage, StorageSettings, open_storage
from faultlab.sim.files import SimFiles

KINDS = ("cut", "torn", "zeroed", "flipped", "reordered", "duplicated")
PLACES = ("beyond", "before", "last", "sealed", "segment start", "snapshot")
SEEDS_EACH = 28
"""6 kinds, 6 places: 1008 cases."""

DATA = Path("/data")
MEMBER_DIR = DATA / "demo-0"
BOOTSTRAP = Configuration(voters=("demo-0", "demo-1", "demo-2"))


class Now:
    """A disk queue that does not queue."""

    def run(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        """At once."""
        job()
        done()


@dataclass
class Group:
    """A group that was written, and the log's state after it."""

    path: Path
    start: int
    end: int
    entries: list[Entry]
    hard_state: HardState

    def sectors(self, data: bytes, filled: bool = True) -> list[int]:
        """The offsets of its sectors; with `filled` only of those that hold something."""
        found = range(self.start, self.end, SECTOR_BYTES)
        return [at for at in found if not filled or any(data[at : at + SECTOR_BYTES])]


@dataclass
class Case:
    """A disk, and what must come of opening it."""

    files: SimFiles
    settings: StorageSettings
    refused: bool
    damaged: Path | None
    """The file that a refusal must name."""
    expected: Group | None
    """The last group that must come back, if it starts."""
    snapshot: SnapshotMeta
    lost_groups: int = 0
    """Acknowledged groups that are lost: the stated case, which nobody could tell from a torn write."""
    written: list[Entry] = field(default_factory=list)
    """Every entry ever written: nothing else may come back."""

    def open(self) -> tuple[Storage, Recovered]:
        """As the member does."""
        return open_storage(self.files, DATA, "demo", "demo-0", BOOTSTRAP, settings=self.settings)

    def image(self) -> dict[str, bytes]:
        """All files."""
        return {
            name: self.files.read(MEMBER_DIR / folder / name)
            for folder in ("wal", "snapshots")
            for name in self.files.listdir(MEMBER_DIR / folder)
        }


class History:
    """Writes a log of random groups, and remembers."""

    def __init__(self, rng: random.Random, groups: int, segment_bytes: int) -> None:
        self.rng = rng
        self.files = SimFiles(rng)
        self.settings = StorageSettings(segment_bytes, rng.choice([0, 2048]))
        self.storage, _ = open_storage(self.files, DATA, "demo", "demo-0", BOOTSTRAP, settings=self.settings)
        self.groups: list[Group] = []
        self.log: list[Entry] = []
        self.state = HardState()
        self.term = 1
        self.snapshot = SnapshotMeta(configuration=BOOTSTRAP)
        self.older: SnapshotMeta | None = None
        self.written: list[Entry] = []
        for count in range(groups):
            self.write_group()
            if count in (3, 5) and rng.random() < 0.4:
                self.take_snapshot()

    def write_group(self, sectors: int = 1) -> Group:
        """One more, over at least so many sectors."""
        rng = self.rng
        first = len(self.log) + 1
        if rng.random() < 0.25:
            self.term += 1
            first = rng.randint(max(self.snapshot.index + 1, len(self.log) - 2), len(self.log) + 1)
        entries = [Entry(i, self.term, self._payload()) for i in range(first, first + rng.randint(1, 6))]
        if sectors > 1:
            entries.append(Entry(entries[-1].index + 1, self.term, rng.randbytes(sectors * SECTOR_BYTES)))
        self.log = self.log[: first - 1] + entries
        self.state = HardState(self.term, rng.choice([None, "demo-1", "demo-2"]), first - 1)
        self.written += entries
        self.storage.add_entries(entries)
        self.storage.add_hard_state(self.state)
        self.storage.start_sync(Now(), _done)
        place = self.storage._writer._place
        path = self.storage._writer._segments[-1].path
        start = self.groups[-1].end if self.groups and self.groups[-1].path == path else self._first(path)
        self.groups.append(Group(path, start, place.offset, list(self.log), self.state))
        return self.groups[-1]

    def take_snapshot(self) -> None:
        """Of what is committed; drops what it covers from the log."""
        index = self.rng.randint(max(1, self.snapshot.index), len(self.log))
        writer = self.storage.open_snapshot_writer()
        for _ in range(self.rng.randint(1, 4)):
            writer.write(self.rng.randbytes(700))
        meta = writer.finish(SnapshotMeta(index, self.log[index - 1].term, BOOTSTRAP))
        if meta.index != self.snapshot.index:
            self.older = self.snapshot if self.snapshot.index else None
        self.snapshot = meta
        self.storage.compact(meta, self.rng.randint(0, index), Now(), _done)

    def read(self, path: Path) -> bytearray:
        """A file as it is."""
        return bytearray(self.files.read(path))

    def put(self, path: Path, data: bytes) -> None:
        """Makes that of a file."""
        file = self.files.open(path)
        file.truncate(0)
        file.write_at(0, bytes(data))
        file.sync()

    def case(self, refused: Path | None = None, expected: Group | None = None, lost: int = 0) -> Case:
        """What must come of it as it is now."""
        self.storage.abandon()
        return Case(
            self.files,
            self.settings,
            refused is not None,
            refused,
            expected,
            self.snapshot,
            lost,
            self.written,
        )

    def _payload(self) -> bytes:
        """Sometimes what looks like other things: zeros over sectors, the beginning of a group."""
        rng = self.rng
        size = rng.choice([0, 1, 40, 700])
        return rng.choice([rng.randbytes(size), rng.randbytes(size), bytes(2 * size), MAGIC * (size // 4)])

    def _first(self, path: Path) -> int:
        data = self.files.read(path)
        at = SECTOR_BYTES
        while data[at : at + 4] != MAGIC:
            at += SECTOR_BYTES
        return at


def make_case(kind: str, where: str, seed: int) -> Case:
    """One damaged disk."""
    rng = random.Random(f"{kind}/{where}/{seed}")
    small = where in ("sealed", "segment start")
    history = History(rng, rng.randint(6, 12), 8192 if small else rng.choice([16384, 65536, 262144]))
    return {
        "beyond": _beyond,
        "before": _before,
        "last": _last,
        "sealed": _sealed,
        "segment start": _segment_start,
        "snapshot": _snapshot,
    }[where](history, kind)


def _beyond(history: History, kind: str) -> Case:
    """The last group was not synced, and a crash has torn it; or something is where none was ever written."""
    rng = history.rng
    if kind in ("flipped", "duplicated"):
        last = history.groups[-1]
        data = history.read(last.path)
        free = list(range(last.end, len(data), SECTOR_BYTES))
        if kind == "flipped" and free:
            at = rng.choice(free) + rng.randrange(SECTOR_BYTES)
            data[at] ^= 1 << rng.randrange(8)
        elif len(free) > 1:
            at = rng.choice(free[1:])
            copy = bytes(data[last.start : last.end])[: len(data) - at]
            data[at : at + len(copy)] = copy
        history.put(last.path, data)
        return history.case(expected=last)
    synced = history.groups[-1]
    torn = history.write_group(sectors=rng.choice([1, 3, 8]))
    data = history.read(torn.path)
    filled = torn.sectors(data)
    if kind == "cut":
        del data[rng.randrange(torn.start + 1, filled[-1] + SECTOR_BYTES) :]
    elif kind == "torn":
        _zero(data, rng.sample(filled, rng.randint(1, len(filled))))
    elif kind == "zeroed":
        _zero(data, filled[rng.randrange(len(filled)) :])
    else:  # reordered: later sectors arrived before earlier ones
        _zero(data, filled[: rng.randint(1, len(filled))])
    history.put(torn.path, data)
    return history.case(expected=synced)


def _before(history: History, kind: str) -> Case:
    """A group that was synced for certain, as there is a later one in the same file."""
    rng = history.rng
    while history.groups[-1].path != history.groups[-2].path:
        history.write_group()
    path = history.groups[-1].path
    candidates = [group for group in history.groups[:-1] if group.path == path]
    group = rng.choice(candidates)
    data = history.read(path)
    _damage_for_certain(rng, data, group, kind, candidates)
    history.put(path, data)
    return history.case(refused=path)


def _last(history: History, kind: str) -> Case:
    """The last group, which was synced, or the last few. Their loss goes unnoticed if they look torn, or as
    if they had never been: the stated case."""
    rng = history.rng
    last = history.write_group(sectors=rng.choice([2, 4]))
    data = history.read(last.path)
    filled = last.sectors(data)
    lost = 1
    if kind in ("cut", "zeroed"):
        lost = rng.randint(1, min(3, sum(group.path == last.path for group in history.groups)))
        first = history.groups[-lost]
        if kind == "cut":
            del data[rng.randrange(first.start + 1, first.sectors(data)[-1] + SECTOR_BYTES) :]
        else:
            data[rng.choice(first.sectors(data)) :] = bytes(len(data))
    elif kind == "torn":
        _zero(data, rng.sample(filled, rng.randint(1, len(filled))))
    else:
        others = [group for group in history.groups[:-1] if group.path == last.path]
        _damage_for_certain(rng, data, last, kind, others)
        history.put(last.path, data)
        return history.case(refused=last.path)
    history.put(last.path, data)
    return history.case(expected=history.groups[-1 - lost], lost=lost)


def _sealed(history: History, kind: str) -> Case:
    """The last group of a segment behind which there is another: only that other one proves the sync."""
    rng = history.rng
    while len({group.path for group in history.groups if history.files.exists(group.path)}) < 2:
        history.write_group()
    paths = sorted({group.path for group in history.groups if history.files.exists(group.path)})
    path = rng.choice(paths[:-1])
    groups = [group for group in history.groups if group.path == path]
    group = groups[-1]
    data = history.read(path)
    if kind == "cut":
        del data[rng.randrange(group.start + 1, group.sectors(data)[-1] + SECTOR_BYTES) :]
    else:
        _damage_for_certain(rng, data, group, kind, groups[:-1])
    history.put(path, data)
    return history.case(refused=path)


def _segment_start(history: History, kind: str) -> Case:
    """The first group of a segment, which was synced before the file got its name."""
    rng = history.rng
    while len({group.path for group in history.groups}) < 2:
        history.write_group()
    path = rng.choice(sorted({g.path for g in history.groups if history.files.exists(g.path)}))
    data = history.read(path)
    first = Group(path, 0, SECTOR_BYTES, [], HardState())
    if kind == "cut":
        del data[rng.randrange(SECTOR_BYTES) :]
    else:
        others = [group for group in history.groups if group.path == path]
        _damage_for_certain(rng, data, first, kind, others)
    history.put(path, data)
    return history.case(refused=path)


def _snapshot(history: History, kind: str) -> Case:
    """A snapshot that has its name: the latest is needed, an older one is not; one without is nothing yet."""
    rng = history.rng
    history.take_snapshot()
    history.write_group()
    folder = MEMBER_DIR / "snapshots"
    names = history.files.listdir(folder)
    which = rng.choice(["latest", "latest", "older", "unfinished"])
    if which == "unfinished":
        path = folder / "writing.new"
        history.files.open(path, create=True).write_at(0, history.files.read(folder / names[-1]))
    else:
        path = folder / names[0 if which == "older" else -1]
    data = history.read(path)
    half = len(data) // 2
    if kind == "cut":
        del data[rng.randrange(len(data)) :]
    elif kind in ("torn", "zeroed"):
        at = rng.randrange(len(data) - 1)
        data[at : at + SECTOR_BYTES] = bytes(len(data[at : at + SECTOR_BYTES]))
    elif kind == "flipped":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "reordered":
        data = data[half:] + data[:half]
    else:
        data += data[rng.randrange(len(data)) :]
    history.put(path, data)
    if which == "latest" or (which == "older" and len(names) == 1):
        return history.case(refused=path)
    return history.case(expected=history.groups[-1])


def _damage_for_certain(
    rng: random.Random, data: bytearray, group: Group, kind: str, others: list[Group]
) -> None:
    """Damages a group so that its place in the log alone decides what follows; never leaves it as it was."""
    before = bytes(data)
    filled = group.sectors(data)
    if kind == "cut":
        del data[group.start : group.start + SECTOR_BYTES]
        data += bytes(SECTOR_BYTES)
    elif kind in ("torn", "zeroed"):
        _zero(data, filled if kind == "zeroed" else rng.sample(filled, rng.randint(1, len(filled))))
    elif kind == "reordered" and len(filled) > 1:
        one, other = rng.sample(filled, 2)
        swapped = data[one : one + SECTOR_BYTES], data[other : other + SECTOR_BYTES]
        data[other : other + SECTOR_BYTES], data[one : one + SECTOR_BYTES] = swapped
    elif kind == "duplicated" and others:
        other = rng.choice([each for each in others if each is not group] or others)
        size = min(group.end - group.start, other.end - other.start)
        data[group.start : group.start + size] = data[other.start : other.start + size]
    if data == before:  # flipped, or a group that is too small for the rest
        data[rng.choice(filled) + rng.randrange(SECTOR_BYTES)] ^= 1 << rng.randrange(8)


def _zero(data: bytearray, sectors: list[int]) -> None:
    for at in sectors:
        data[at : at + SECTOR_BYTES] = bytes(SECTOR_BYTES)


def _done() -> None:
    """Nothing waits."""
