"""Nothing is called durable before it is, and a disk that fails ends the process."""

import asyncio
import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faultlab.raft.messages import Entry, HardState, SnapshotMeta
from faultlab.raft.storage.errors import DirectoryUnusable
from faultlab.raft.storage.snapshots import SnapshotWriter
from faultlab.raft.storage.store import StorageSettings, open_storage
from faultlab.runtime.disk import EXIT_DISK_FAILED, DiskThread
from faultlab.runtime.files import RealFile, RealFiles
from faultlab.sim.files import Inode, PowerCut, SimFiles

FILES = RealFiles()
SMALL = StorageSettings(16384, 4096)


async def test_done_is_called_once_the_group_can_be_read_back(tmp_path: Path) -> None:
    storage, _ = open_storage(FILES, tmp_path, "demo", "demo-0", settings=SMALL)
    disk = DiskThread()
    segment = tmp_path / "demo-0" / "wal" / "0000000001.wal"
    for index in range(1, 4):
        done = asyncio.Event()
        data = f"value {index}".encode()
        storage.add_entries([Entry(index, 1, data)])
        storage.start_sync(disk, done.set)
        await asyncio.wait_for(done.wait(), 5)
        assert data in segment.read_bytes()
    assert disk.close(5)
    storage.close()
    storage, recovered = open_storage(FILES, tmp_path, "demo", "demo-0")
    assert [entry.index for entry in recovered.entries] == [1, 2, 3]
    storage.close()


def test_closing_writes_what_was_gathered(tmp_path: Path) -> None:
    storage, _ = open_storage(FILES, tmp_path, "demo", "demo-0", settings=SMALL)
    storage.add_hard_state(HardState(3, "demo-2", 0))
    storage.close()
    storage, recovered = open_storage(FILES, tmp_path, "demo", "demo-0")
    assert recovered.hard_state == HardState(3, "demo-2", 0)
    storage.close()


async def test_jobs_run_in_the_order_given_and_each_done_follows_its_job() -> None:
    disk = DiskThread()
    seen: list[str] = []
    last = asyncio.Event()
    for number in range(50):
        disk.run(
            lambda n=number: seen.append(f"job {n}"),  # type: ignore[misc]
            lambda n=number: seen.append(f"done {n}"),  # type: ignore[misc]
        )
    disk.run(lambda: None, last.set)
    await asyncio.wait_for(last.wait(), 5)
    assert [each for each in seen if each.startswith("job")] == [f"job {n}" for n in range(50)]
    assert [each for each in seen if each.startswith("done")] == [f"done {n}" for n in range(50)]
    assert all(seen.index(f"job {n}") < seen.index(f"done {n}") for n in range(50))
    assert disk.close(5)


async def test_after_a_failed_write_nothing_is_acknowledged() -> None:
    failures: list[OSError] = []
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_failure(error: OSError) -> None:
        failures.append(error)
        loop.call_soon_threadsafe(failed.set)

    acknowledged: list[int] = []
    full = FILES.open(Path("/dev/full"))
    disk = DiskThread(on_failure)
    disk.run(lambda: full.write_at(0, b"lost"), lambda: acknowledged.append(1))
    await asyncio.wait_for(failed.wait(), 5)
    disk.run(lambda: None, lambda: acknowledged.append(2))
    assert disk.close(5)
    await asyncio.sleep(0)
    full.close()
    assert acknowledged == []
    assert "No space left" in str(failures[0])


async def test_a_job_that_is_broken_ends_the_member_too() -> None:
    failures: list[OSError] = []
    disk = DiskThread(failures.append)
    disk.run(lambda: [][0], lambda: pytest.fail("acknowledged"))
    assert disk.close(5)
    assert "IndexError" in str(failures[0])


def test_a_failed_sync_ends_the_process_with_a_message() -> None:
    """A pipe takes the bytes and refuses to be synced."""
    program = (
        "import asyncio, os\n"
        "from pathlib import Path\n"
        "from faultlab.runtime.disk import DiskThread\n"
        "from faultlab.runtime.files import RealFile\n"
        "async def main():\n"
        "    file = RealFile(Path('/data/wal/00000001.wal'), os.pipe()[1])\n"
        "    DiskThread().run(file.sync, lambda: print('ACKNOWLEDGED'))\n"
        "    await asyncio.sleep(10)\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert ended.returncode == EXIT_DISK_FAILED
    assert "/data/wal/00000001.wal failed: Invalid argument" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("method", ["write_at", "write_synced"])
def test_a_short_write_is_an_error_that_says_how_short(tmp_path: Path, method: str) -> None:
    """A file size limit in the middle of a write makes the kernel write less."""
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from faultlab.runtime.files import RealFiles\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "getattr(RealFiles().open(Path(sys.argv[1]), create=True), sys.argv[2])(0, bytes(4096))\n"
    )
    path = tmp_path / "short"
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path), method], capture_output=True, text=True, timeout=30
    )
    assert f"a short write: 1000 of 4096 bytes at byte 0; the volume may be full: '{path}'" in ended.stderr


class Failing:
    """A disk queue that runs at once, and remembers the failure that would end the member."""

    def __init__(self) -> None:
        self.failed: OSError | None = None

    def run(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        """Nothing more after a failure."""
        if self.failed is None:
            try:
                job()
            except OSError as error:
                self.failed = error
            else:
                done()


@pytest.mark.parametrize("what", ["full", "write fails", "sync fails"])
@pytest.mark.parametrize("when", ["a group", "a new segment", "a snapshot"])
def test_a_failing_disk_never_acknowledges_and_never_loses_what_was(what: str, when: str) -> None:
    files, disk = SimFiles(random.Random(1)), Failing()
    settings = StorageSettings(8192, 0)
    storage, _ = open_storage(files, Path("/data"), "demo", "demo-0", settings=settings)
    acknowledged = []
    first = [Entry(index, 1, bytes([index]) * 900) for index in range(1, 4)]
    storage.add_entries(first)
    storage.start_sync(disk, lambda: acknowledged.append("first"))
    if what == "full":
        files.full = True
    elif what == "write fails":
        files.write_fails = 1
    else:
        files.sync_fails = 1
    if when == "a snapshot":
        writer = storage.open_snapshot_writer()
        disk.run(lambda: writer.write(b"state"), lambda: None)
        disk.run(lambda: _finish(writer), lambda: acknowledged.append("snapshot"))
    else:
        storage.add_entries([Entry(4, 1, b"x" * (7000 if when == "a new segment" else 10))])
        storage.start_sync(disk, lambda: acknowledged.append("second"))
    assert disk.failed is not None
    assert acknowledged == ["first"]

    files.full = False
    files.release_locks()
    files.lose_power()
    _, recovered = open_storage(files, Path("/data"), "demo", "demo-0", settings=settings)
    assert recovered.entries[:3] == first
    assert recovered.snapshot.index == 0


def test_a_failed_sync_is_not_tried_again_unless_the_guard_is_off() -> None:
    """What the guard is for: the second sync finds nothing left to do, and the group is gone."""
    for rule, acknowledges in ((None, False), ("retryFailedSync", True)):
        files, disk = SimFiles(random.Random(3)), Failing()
        storage, _ = open_storage(files, Path("/data"), "demo", "demo-0", break_rule=rule, settings=SMALL)  # type: ignore[arg-type]
        files.sync_fails = 1
        acknowledged: list[int] = []
        storage.add_entries([Entry(1, 1, b"x" * 5000)])
        storage.start_sync(disk, lambda seen=acknowledged: seen.append(1))  # type: ignore[misc]
        assert bool(acknowledged) is acknowledges
        assert (disk.failed is None) is acknowledges
        files.release_locks()
        files.lose_power()
        _, recovered = open_storage(files, Path("/data"), "demo", "demo-0", settings=SMALL)
        assert recovered.entries == []


def test_what_a_dead_process_had_not_synced_is_synced_before_it_counts() -> None:
    """Found in memory after a crash of the process alone, it would be gone after a power cut."""
    files = SimFiles(random.Random(4))
    storage, _ = open_storage(files, Path("/data"), "demo", "demo-0", settings=SMALL)
    storage.add_entries([Entry(1, 1, b"x" * 5000)])
    job = storage._writer.take()
    assert job is not None
    files.dying = True
    with pytest.raises(PowerCut):
        job()  # written, and the process ends before the sync
    files.dying = False
    files.release_locks()
    _, found = open_storage(files, Path("/data"), "demo", "demo-0", settings=SMALL)
    assert len(found.entries) == 1
    files.release_locks()
    files.lose_power()
    _, again = open_storage(files, Path("/data"), "demo", "demo-0", settings=SMALL)
    assert again.entries == found.entries


class ForgetfulFiles(SimFiles):
    """A failed sync leaves what was written in memory, marked as clean: ext4's way (Rebello et al.)."""

    def check_sync(self, name: str, inode: Inode) -> None:
        """Fails once, and then has nothing left to do."""
        if self.sync_fails:
            self.sync_fails -= 1
            inode.pending.clear()
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        super().check_sync(name, inode)


def test_what_a_failed_sync_left_in_memory_alone_is_written_again_before_it_counts() -> None:
    files, disk = ForgetfulFiles(random.Random(6)), Failing()
    storage, _ = open_storage(files, Path("/data"), "demo", "demo-0", settings=SMALL)
    storage.add_entries([Entry(1, 1, b"x" * 5000)])
    files.sync_fails = 1
    storage.start_sync(disk, lambda: pytest.fail("acknowledged"))
    assert disk.failed is not None
    files.release_locks()
    _, found = open_storage(files, Path("/data"), "demo", "demo-0", settings=SMALL)
    files.release_locks()
    files.lose_power()
    _, again = open_storage(files, Path("/data"), "demo", "demo-0", settings=SMALL)
    assert again.entries == found.entries == [Entry(1, 1, b"x" * 5000)]


def test_no_room_for_the_first_segment_is_said_at_the_start() -> None:
    files = SimFiles(random.Random(5))
    files.full = True
    with pytest.raises(DirectoryUnusable, match="No space left on device"):
        open_storage(files, Path("/data"), "demo", "demo-0", settings=SMALL)


def test_errors_of_a_file_name_it(tmp_path: Path) -> None:
    file = RealFile(tmp_path / "pipe", os.pipe()[1])
    for write in (file.write_at, file.write_synced):
        with pytest.raises(OSError, match=str(tmp_path / "pipe")) as raised:
            write(0, b"x")
        assert raised.value.errno == errno.ESPIPE


def _finish(writer: SnapshotWriter) -> None:
    writer.finish(SnapshotMeta(2, 1))
