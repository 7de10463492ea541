"""Nothing is called durable before it is, and a disk that fails ends the process."""

import asyncio
import subprocess
import sys
from pathlib import Path

from faultlab.raft.messages import Entry, HardState
from faultlab.raft.storage.wal import open_wal
from faultlab.runtime.disk import EXIT_DISK_FAILED, DiskThread
from faultlab.runtime.files import RealFiles


async def test_done_is_called_once_the_batch_can_be_read_back(tmp_path: Path) -> None:
    wal, _ = open_wal(tmp_path, "demo", "demo-0")
    for index in range(1, 4):
        done = asyncio.Event()
        wal.encoder.add_entries([Entry(index, 1, b"x")])
        wal.start_sync(done.set)
        await asyncio.wait_for(done.wait(), 5)
        assert wal.path.stat().st_size == wal.encoder.offset
    wal.close()
    wal, recovered = open_wal(tmp_path, "demo", "demo-0")
    assert [entry.index for entry in recovered.entries] == [1, 2, 3]
    wal.close()


async def test_closing_writes_what_was_gathered(tmp_path: Path) -> None:
    wal, _ = open_wal(tmp_path, "demo", "demo-0")
    wal.encoder.add_hard_state(HardState(3, "demo-2", 0))
    wal.close()
    wal, recovered = open_wal(tmp_path, "demo", "demo-0")
    assert recovered.hard_state == HardState(3, "demo-2", 0)
    wal.close()


async def test_after_a_failed_write_nothing_is_acknowledged() -> None:
    failures: list[OSError] = []
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_failure(error: OSError) -> None:
        failures.append(error)
        loop.call_soon_threadsafe(failed.set)

    acknowledged: list[int] = []
    full = RealFiles().open(Path("/dev/full"))
    disk = DiskThread(on_failure)
    disk.run(lambda: full.write_at(0, b"lost"), lambda: acknowledged.append(1))
    await asyncio.wait_for(failed.wait(), 5)
    disk.run(lambda: None, lambda: acknowledged.append(2))
    assert disk.close(5)
    await asyncio.sleep(0)
    full.close()
    assert acknowledged == []
    assert "No space left" in str(failures[0])


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
