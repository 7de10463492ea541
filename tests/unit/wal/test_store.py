"""Segments, snapshots, identity: what a data directory holds after each of the things members do."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from faultlab.raft.configuration import Configuration
from faultlab.raft.messages import Entry, HardState, SnapshotMeta
from faultlab.raft.rules import Rule
from faultlab.raft.storage.directories import ids_of, is_initialised, remove_older, segments_in, snapshots_in
from faultlab.raft.storage.errors import DamagedLog, DirectoryInUse, DirectoryUnusable, ForeignLog
from faultlab.raft.storage.groups import SECTOR_BYTES
from faultlab.raft.storage.store import Recovered, Storage, StorageSettings, open_storage
from faultlab.runtime.files import FileSystem, RealFiles
from faultlab.sim.files import SimFiles

DATA = Path("/data")
BOOTSTRAP = Configuration(voters=("demo-0", "demo-1", "demo-2"))
SMALL = StorageSettings(8192, 2048)


class Now:
    """A disk queue that does not queue."""

    def run(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        """At once."""
        job()
        done()


@pytest.fixture(params=["real", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FileSystem, Path]:
    """A file system and a data directory in it."""
    return (RealFiles(), tmp_path) if request.param == "real" else (SimFiles(random.Random(1)), DATA)


def open_(
    place: tuple[FileSystem, Path], member: str = "demo-0", rule: Rule | None = None
) -> tuple[Storage, Recovered]:
    files, data_dir = place
    return open_storage(files, data_dir, "demo", member, BOOTSTRAP, rule, SMALL)


def reopen(place: tuple[FileSystem, Path], rule: Rule | None = None) -> Recovered:
    storage, recovered = open_(place, rule=rule)
    storage.close()
    return recovered


def write(storage: Storage, entries: list[Entry], state: HardState | None = None) -> None:
    storage.add_entries(entries)
    if state is not None:
        storage.add_hard_state(state)
    done: list[int] = []
    storage.start_sync(Now(), lambda: done.append(1))
    assert done == [1]


def run(first: int, last: int, term: int = 1, size: int = 100) -> list[Entry]:
    return [Entry(index, term, bytes([index % 256]) * size) for index in range(first, last + 1)]


def snapshot(storage: Storage, index: int, keep_after: int, parts: int = 3) -> SnapshotMeta:
    writer = storage.open_snapshot_writer()
    for part in range(parts):
        writer.write(f"{index}/{part} ".encode() * 1000)
    meta = writer.finish(SnapshotMeta(index, 1, BOOTSTRAP))
    storage.compact(meta, keep_after, Now(), lambda: None)
    return meta


def test_a_new_directory_begins_with_the_bootstrap_configuration(place: tuple[FileSystem, Path]) -> None:
    recovered = reopen(place)
    assert recovered.snapshot == SnapshotMeta(0, 0, BOOTSTRAP)
    assert (recovered.hard_state, recovered.entries) == (HardState(), [])
    files, data_dir = place
    storage, again = open_storage(files, data_dir, "demo", "demo-0", Configuration(voters=("x",)))
    storage.close()
    assert again.snapshot.configuration == BOOTSTRAP, "a directory knows what it began with"
    assert again.uuid == recovered.uuid


def test_what_was_synced_comes_back_over_segments(place: tuple[FileSystem, Path]) -> None:
    storage, _ = open_(place)
    for first in range(1, 200, 3):
        write(storage, run(first, first + 2), HardState(1, "demo-1", first - 1))
    storage.close()
    files, data_dir = place
    segments = segments_in(files, data_dir / "demo-0")
    assert list(segments) == list(range(1, len(segments) + 1))
    assert len(segments) > 3
    assert {len(files.read(path)) for path in segments.values()} == {SMALL.segment_bytes}
    recovered = reopen(place)
    assert recovered.entries == run(1, 201)
    assert recovered.hard_state == HardState(1, "demo-1", 198)


def test_a_group_larger_than_a_segment_gets_one_of_its_own_size(place: tuple[FileSystem, Path]) -> None:
    storage, _ = open_(place)
    write(storage, run(1, 2))
    write(storage, run(3, 3, size=50_000))
    write(storage, run(4, 5))
    storage.close()
    assert reopen(place).entries == [*run(1, 2), *run(3, 3, size=50_000), *run(4, 5)]


def test_later_entries_replace_earlier_ones_and_all_behind_them(place: tuple[FileSystem, Path]) -> None:
    storage, _ = open_(place)
    write(storage, run(1, 60))
    write(storage, run(1, 90, term=2))
    write(storage, run(30, 31, term=3))
    storage.add_entries(run(32, 35, term=3))
    write(storage, run(33, 33, term=4))
    storage.close()
    expected = [*run(1, 29, term=2), *run(30, 32, term=3), *run(33, 33, term=4)]
    assert reopen(place).entries == expected


def test_compaction_drops_whole_segments_and_keeps_what_they_alone_knew(
    place: tuple[FileSystem, Path],
) -> None:
    files, data_dir = place
    storage, _ = open_(place)
    storage.add_peer("demo-1", "one")
    storage.add_hard_state(HardState(1, "demo-2", 0))
    for index in range(1, 100):
        write(storage, run(index, index, size=300))
    before = storage.log_bytes
    meta = snapshot(storage, 80, keep_after=70)
    assert storage.log_bytes < before
    storage.close()
    segments = segments_in(files, data_dir / "demo-0")
    assert min(segments) > 1
    recovered = reopen(place)
    assert recovered.snapshot == meta
    assert recovered.entries == run(81, 99, size=300)
    assert recovered.hard_state == HardState(1, "demo-2", 80)
    assert recovered.known_peers == {"demo-1": "one"}


def test_entries_that_no_snapshot_covers_are_never_dropped(place: tuple[FileSystem, Path]) -> None:
    storage, _ = open_(place)
    write(storage, run(1, 10))
    with pytest.raises(ValueError, match="not all in a snapshot"):
        snapshot(storage, 5, keep_after=6)
    storage.close()


def test_a_log_that_begins_behind_its_snapshot_is_refused(place: tuple[FileSystem, Path]) -> None:
    files, data_dir = place
    storage, _ = open_(place)
    for index in range(1, 100):
        write(storage, run(index, index, size=300))
    snapshot(storage, 90, keep_after=90)
    storage.close()
    for path in snapshots_in(files, data_dir / "demo-0").values():
        files.remove(path)
    with pytest.raises(DamagedLog, match="the latest snapshot ends with entry 0"):
        open_(place)


def test_a_segment_that_is_missing_is_refused(place: tuple[FileSystem, Path]) -> None:
    files, data_dir = place
    storage, _ = open_(place)
    for index in range(1, 100):
        write(storage, run(index, index, size=300))
    storage.close()
    files.remove(segments_in(files, data_dir / "demo-0")[2])
    with pytest.raises(DamagedLog, match="segment 2, the one before it, is gone"):
        open_(place)


def test_two_snapshots_are_kept_at_most(place: tuple[FileSystem, Path]) -> None:
    files, data_dir = place
    storage, _ = open_(place)
    write(storage, run(1, 50))
    metas = [snapshot(storage, index, index - 1) for index in (10, 20, 30, 40)]
    assert [index for index, _ in snapshots_in(files, data_dir / "demo-0")] == [30, 40]
    assert b"".join(storage.read_snapshot(metas[-1])) == b"".join(
        f"40/{n} ".encode() * 1000 for n in range(3)
    )
    assert storage.read_snapshot_chunk(metas[-2], 5, 7) == (b"30/0 " * 3)[5:12]
    assert storage.read_snapshot_chunk(metas[0], 0, 7) is None, "gone"
    storage.close()


def test_a_chunk_ends_where_the_snapshot_does(place: tuple[FileSystem, Path]) -> None:
    storage, _ = open_(place)
    write(storage, run(1, 5))
    meta = snapshot(storage, 5, 5)
    got = b""
    while part := storage.read_snapshot_chunk(meta, len(got), 1000):
        got += part
    assert len(got) == meta.size
    assert got == b"".join(storage.read_snapshot(meta))
    storage.close()


def received(index: int = 500) -> tuple[SnapshotMeta, bytes]:
    """A snapshot of a leader, written elsewhere, and its bytes."""
    other, _ = open_storage(SimFiles(random.Random(2)), DATA, "demo", "demo-1", BOOTSTRAP, settings=SMALL)
    writer = other.open_snapshot_writer()
    data = random.Random(index).randbytes(5000)
    writer.write(data)
    return writer.finish(SnapshotMeta(index, 3, BOOTSTRAP)), data


def test_a_snapshot_that_is_installed_replaces_the_log(place: tuple[FileSystem, Path]) -> None:
    storage, _ = open_(place)
    write(storage, run(1, 40))
    meta, data = received()
    for at in range(0, 5000, 1000):
        storage.incoming.write(meta, at, data[at : at + 1000])
    storage.add_entries(run(41, 42))
    storage.install(meta, Now(), lambda: None)
    write(storage, run(501, 502, term=3), HardState(3, None, 500))
    assert b"".join(storage.read_snapshot(meta)) == data
    storage.close()
    recovered = reopen(place)
    assert recovered.snapshot == meta
    assert recovered.entries == run(501, 502, term=3)


def test_an_incoming_snapshot_goes_on_where_it_stopped_and_begins_anew_for_another(
    place: tuple[FileSystem, Path],
) -> None:
    storage, _ = open_(place)
    meta, data = received()
    storage.incoming.write(meta, 0, data[:1500])
    with pytest.raises(ValueError, match="1500 are here"):
        storage.incoming.write(meta, 2000, data[2000:])
    storage.incoming.write(meta, 1500, data[1500:3000])
    newer, newer_data = received(600)
    storage.incoming.write(newer, 0, newer_data)
    storage.install(newer, Now(), lambda: None)
    assert b"".join(storage.read_snapshot(newer)) == newer_data
    storage.close()


def test_a_received_snapshot_that_is_not_what_was_announced_is_not_installed(
    place: tuple[FileSystem, Path],
) -> None:
    files, data_dir = place
    storage, _ = open_(place)
    meta, data = received()
    storage.incoming.write(meta, 0, data[:-1] + b"!")
    with pytest.raises(OSError, match="its leader announced 5000"):
        storage.install(meta, Now(), lambda: None)
    assert snapshots_in(files, data_dir / "demo-0") == {}
    storage.abandon()
    assert reopen(place).snapshot.index == 0


def test_unfinished_files_are_removed_at_the_start(place: tuple[FileSystem, Path]) -> None:
    files, data_dir = place
    storage, _ = open_(place)
    meta, data = received()
    storage.open_snapshot_writer().write(b"half")
    storage.incoming.write(meta, 0, data)
    storage.abandon()
    files.open(data_dir / "demo-0" / "wal" / "0000000002.new", create=True).write_at(0, b"half")
    reopen(place)
    assert files.listdir(data_dir / "demo-0" / "snapshots") == []
    assert files.listdir(data_dir / "demo-0" / "wal") == ["0000000001.wal"]


def test_growth_is_counted_from_when_the_state_was_frozen(place: tuple[FileSystem, Path]) -> None:
    storage, _ = open_(place)
    write(storage, run(1, 40))
    writer = storage.open_snapshot_writer()
    before = storage.bytes_behind_snapshot
    assert before > 4000
    write(storage, run(41, 50))
    added = storage.bytes_behind_snapshot - before
    writer.write(b"state")
    storage.compact(writer.finish(SnapshotMeta(40, 1, BOOTSTRAP)), 40, Now(), lambda: None)
    assert storage.bytes_behind_snapshot == added
    storage.close()
    storage, _ = open_(place)
    assert storage.bytes_behind_snapshot == added
    storage.close()


def test_pending_bytes_are_those_that_no_disk_has(place: tuple[FileSystem, Path]) -> None:
    storage, _ = open_(place)
    storage.add_entries(run(1, 3))
    assert storage.pending_bytes == 300
    storage.add_entries(run(4, 4))
    assert storage.pending_bytes == 400
    storage.start_sync(Now(), lambda: None)
    assert storage.pending_bytes == 0
    storage.close()


def test_a_vote_lost_with_the_torn_tail_is_not_remembered_wrongly(place: tuple[FileSystem, Path]) -> None:
    """Entries of a later term than the hard state's: the member was in that term and had told nobody."""
    storage, _ = open_(place)
    write(storage, run(1, 1), HardState(1, "demo-0", 0))
    write(storage, run(2, 2, term=5))
    storage.close()
    assert reopen(place).hard_state == HardState(5, None, 0)


def test_a_second_process_on_the_same_directory_is_refused(place: tuple[FileSystem, Path]) -> None:
    storage, _ = open_(place)
    with pytest.raises(DirectoryInUse, match="in use"):
        open_(place)
    storage.close()
    reopen(place)


def test_another_members_log_is_refused(place: tuple[FileSystem, Path]) -> None:
    files, data_dir = place
    reopen(place)
    with pytest.raises(ForeignLog, match=r"'demo'.*'other'"):
        open_storage(files, data_dir, "other", "demo-0")
    (mine, theirs) = (data_dir / member / "wal" / "0000000001.wal" for member in ("demo-0", "demo-1"))
    storage, _ = open_(place, "demo-1")
    storage.close()
    files.rename(mine, theirs)
    with pytest.raises(ForeignLog, match=r"'demo-0'.*'demo-1'"):
        open_(place, "demo-1")


def test_a_log_of_the_old_format_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / "00000001.log").write_bytes(b"FLR1")
    with pytest.raises(ForeignLog, match="format 1"):
        open_((RealFiles(), tmp_path))


def test_snapshots_without_a_log_are_refused(place: tuple[FileSystem, Path]) -> None:
    files, data_dir = place
    storage, _ = open_(place)
    write(storage, run(1, 5))
    snapshot(storage, 5, 5)
    storage.close()
    files.remove(data_dir / "demo-0" / "wal" / "0000000001.wal")
    with pytest.raises(DamagedLog, match="no segment"):
        open_(place)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DirectoryUnusable, match="file"):
        open_((RealFiles(), tmp_path / "file" / "data"))


def test_the_ids_of_a_name_are_told_apart_and_older_ones_removed(place: tuple[FileSystem, Path]) -> None:
    files, data_dir = place
    assert ids_of(files, data_dir, "demo-0") == []
    for member in ("demo-0#120", "demo-0", "demo-0#7", "demo-1"):
        storage, _ = open_(place, member)
        storage.close()
    files.make_directories(data_dir / "demo-0#999" / "wal")
    assert ids_of(files, data_dir, "demo-0") == ["demo-0", "demo-0#7", "demo-0#120"]
    assert not is_initialised(files, data_dir, "demo-0#999")
    assert remove_older(files, data_dir, "demo-0#120") == ["demo-0", "demo-0#7"]
    assert ids_of(files, data_dir, "demo-0") == ["demo-0#120"]
    assert ids_of(files, data_dir, "demo-1") == ["demo-1"]
    assert not files.exists(data_dir / "demo-0#7")


def _sectors(place: tuple[FileSystem, Path], change: Callable[[bytearray], None]) -> None:
    files, data_dir = place
    file = files.open(data_dir / "demo-0" / "wal" / "0000000001.wal")
    data = bytearray(file.read_at(0, file.size()))
    change(data)
    file.write_at(0, bytes(data))
    file.sync()


def test_a_header_that_is_elsewhere_proves_that_its_group_was_written(place: tuple[FileSystem, Path]) -> None:
    """The disk has put the last group's first sector somewhere else: a sector of zeros is in its place."""
    storage, _ = open_(place)
    write(storage, run(1, 3, size=500))
    storage.close()

    def move(data: bytearray) -> None:
        sector = data[SECTOR_BYTES : 2 * SECTOR_BYTES]
        data[SECTOR_BYTES : 2 * SECTOR_BYTES] = bytes(SECTOR_BYTES)
        data[-SECTOR_BYTES:] = sector

    _sectors(place, move)
    with pytest.raises(DamagedLog, match="the header of group 2"):
        open_(place)


def test_what_was_written_behind_a_group_proves_that_it_was_synced(place: tuple[FileSystem, Path]) -> None:
    """A group with a sector of zeros, and of the one behind it only a later sector, as a crash left it."""
    storage, _ = open_(place)
    write(storage, run(1, 3, size=500))
    storage.close()

    def damage(data: bytearray) -> None:
        data[2 * SECTOR_BYTES : 3 * SECTOR_BYTES] = bytes(SECTOR_BYTES)
        data[-SECTOR_BYTES:] = b"x" * SECTOR_BYTES

    _sectors(place, damage)
    with pytest.raises(DamagedLog, match="something was written behind it"):
        open_(place)


def test_every_single_byte_flip_of_what_was_synced_is_noticed() -> None:
    files = SimFiles(random.Random(1))
    place: tuple[FileSystem, Path] = (files, DATA)
    storage, _ = open_(place)
    write(storage, run(1, 2))
    write(storage, run(3, 3))
    storage.close()
    for at in range(4 * SECTOR_BYTES):

        def flip(data: bytearray, at: int = at) -> None:
            data[at] ^= 1

        _sectors(place, flip)
        if at < 3 * SECTOR_BYTES:
            with pytest.raises(DamagedLog):
                open_(place)
        else:
            assert reopen(place).entries == run(1, 3)
            continue
        _sectors(place, flip)


@pytest.mark.parametrize("segments", [1, 3])
def test_with_the_guard_off_damage_is_cut_off_with_all_behind_it(
    place: tuple[FileSystem, Path], segments: int
) -> None:
    """What the guard is for: entries that were acknowledged are gone, and nobody is told."""
    storage, _ = open_(place)
    for index in range(1, 20 * segments):
        write(storage, run(index, index, size=300))
    storage.close()

    def damage(data: bytearray) -> None:
        data[5 * SECTOR_BYTES] ^= 1

    _sectors(place, damage)
    with pytest.raises(DamagedLog):
        open_(place)
    assert reopen(place, "ignoreDamage").entries == run(1, 4, size=300)
    storage, _ = open_(place)
    write(storage, run(5, 6, term=9))
    storage.close()
    assert reopen(place).entries == [*run(1, 4, size=300), *run(5, 6, term=9)]
