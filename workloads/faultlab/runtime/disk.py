"""A thread that makes bytes durable, so that the loop never waits for the disk.

One job at a time: while one is being synced the owner gathers the next, which is group commit. The
thread holds the interpreter lock only to hand over, as `write` and `fdatasync` release it.

A failed write or sync ends the process. Linux may mark pages clean after a failed fsync, so trying
again and going on could acknowledge what is not on disk (Rebello et al., "Can Applications Recover from
fsync Failures?", ATC 2020). A restart reads back what is really there.
"""

import asyncio
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

EXIT_DISK_FAILED = 74
"""EX_IOERR of sysexits.h."""


def exit_on_disk_failure(path: str, error: OSError) -> NoReturn:
    """Ends the process at once, with nothing more acknowledged."""
    os.write(
        sys.stderr.fileno(),
        f"error disk write to {path} failed: {error}; nothing since the last sync was acknowledged;"
        " check the volume (space, health), then start this member again\n".encode(),
    )
    os._exit(EXIT_DISK_FAILED)


class DiskThread:
    """Appends to one file and syncs it; calls back on the loop."""

    def __init__(
        self,
        descriptor: int,
        path: str,
        on_failure: Callable[[str, OSError], None] = exit_on_disk_failure,
    ) -> None:
        """Takes the descriptor over for writing; its owner closes it after `close`.

        `on_failure` is called in the thread, which ends when that returns: nothing that was handed
        over at or after the failure is ever called back.
        """
        self._descriptor = descriptor
        self._path = path
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[bytes, Callable[[], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    def append(self, data: bytes, done: Callable[[], None]) -> None:
        """Writes `data` at the file's end; once it is synced, calls `done` on the loop.

        The owner hands over one job at a time, so at most one waits here.
        """
        self._jobs.put((data, done))

    def close(self, timeout_s: float) -> bool:
        """Ends after what was handed over; False if that took longer than `timeout_s`."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            data, done = job
            try:
                write_all(self._descriptor, data)
                os.fdatasync(self._descriptor)
            except OSError as error:
                self._on_failure(self._path, error)
                return
            try:
                self._loop.call_soon_threadsafe(done)
            except RuntimeError:
                return  # the loop closed while the disk was busy: nobody is left to tell


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data`, however many calls that takes; raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
