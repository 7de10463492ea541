"""The disk in memory keeps what was synced, and of the rest what a power cut likes."""

import random
from pathlib import Path

import pytest

from faultlab.sim.files import SECTOR_BYTES, PowerCut, SimFiles

FOLDER = Path("/data")
FILE = FOLDER / "log"


def _disk(seed: int = 0) -> SimFiles:
    files = SimFiles(random.Random(seed))
    files.make_directories(FOLDER)
    return files


def _synced(files: SimFiles, content: bytes) -> None:
    file = files.open(FILE, create=True)
    file.write_at(0, content)
    file.sync()
    files.sync_directory(FOLDER)


@pytest.mark.parametrize("seed", range(40))
def test_what_was_synced_survives_every_power_cut(seed: int) -> None:
    files = _disk(seed)
    _synced(files, b"a" * 2000)
    files.open(FILE).write_at(2000, b"b" * 2000)

    files.lose_power()

    found = files.read(FILE)
    assert found[:2000] == b"a" * 2000
    assert len(found) <= 4000


def test_power_cuts_leave_nothing_the_beginning_single_sectors_or_all_of_what_was_not_synced() -> None:
    left = set()
    for seed in range(200):
        files = _disk(seed)
        _synced(files, b"")
        files.open(FILE).write_at(0, b"x" * 4 * SECTOR_BYTES)
        files.lose_power()
        found = files.read(FILE).ljust(4 * SECTOR_BYTES, b"\0")
        left.add(tuple(found[at] == ord("x") for at in range(0, len(found), SECTOR_BYTES)))

    assert {(False,) * 4, (True,) * 4, (True, False, False, False)} <= left
    assert any(not first and any(rest) for first, *rest in left)


def test_a_name_may_be_gone_until_its_directory_is_synced() -> None:
    there = set()
    for seed in range(50):
        files = _disk(seed)
        files.open(FILE, create=True).sync()
        files.lose_power()
        there.add(files.exists(FILE))

    assert there == {True, False}


def test_a_rename_is_whole_or_not_at_all() -> None:
    for seed in range(50):
        files = _disk(seed)
        _synced(files, b"old")
        new = files.open(FOLDER / "new", create=True)
        new.write_at(0, b"new")
        new.sync()
        files.rename(FOLDER / "new", FILE)
        files.lose_power()
        assert files.read(FILE) in (b"old", b"new")


def test_a_process_that_merely_dies_loses_nothing() -> None:
    files = _disk()
    files.open(FILE, create=True).write_at(0, b"in the page cache")
    files.release_locks()

    assert files.read(FILE) == b"in the page cache"


def test_a_failed_sync_leaves_nothing_for_the_next_one_to_save() -> None:
    lost = 0
    for seed in range(20):
        files = _disk(seed)
        _synced(files, b"")
        file = files.open(FILE)
        file.write_at(0, b"acknowledged?")
        files.sync_fails = 1
        with pytest.raises(OSError, match="Input/output error"):
            file.sync()
        file.sync()
        files.lose_power()
        lost += files.read(FILE) == b""

    assert lost > 0


def test_the_power_goes_at_the_first_sync_of_a_job_under_way() -> None:
    files = _disk()
    _synced(files, b"")
    files.dying = True

    with pytest.raises(PowerCut):
        files.open(FILE).sync()


def test_a_full_disk_says_so_and_works_again_when_there_is_room() -> None:
    files = _disk()
    file = files.open(FILE, create=True)
    files.full = True
    with pytest.raises(OSError, match="No space left"):
        file.write_at(0, b"x")
    files.full = False
    file.write_at(0, b"x")

    assert files.read(FILE) == b"x"
