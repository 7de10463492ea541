"""A thread that makes bytes durable, so that the loop never waits for the disk.

One job at a time: while one is being synced the owner gathers the next, which is group commit. The
thread holds the interpreter lock only to hand over, as `pwrite` and `fdatasync` release it. It is woken by
an eventfd: whoever writes to that lets the lock go, where `queue` wakes a thread that then waits for it,
which costs five times as much.

A job that fails ends the process. Linux may mark pages clean after a failed fsync, so trying again and
going on could acknowledge what is not on disk (Rebello et al., "Can Applications Recover from fsync
Failures?", ATC 2020). A restart reads back what is really there.
"""

import asyncio
import errno
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import NoReturn, Protocol

log = logging.getLogger("faultlab.disk")

EXIT_DISK_FAILED = 74
"""EX_IOERR of sysexits.h."""


class DiskQueue(Protocol):
    """Runs jobs one after another away from the loop, in the order given."""

    def run(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        """Runs `job`, then `done` on the loop. An OSError in a job ends the member: the job is not tried
        again, and neither that `done` nor any later one is ever called."""
        ...


def exit_on_disk_failure(error: OSError) -> NoReturn:
    """Ends the process at once, with nothing more acknowledged."""
    os.write(
        sys.stderr.fileno(),
        f"error disk: writing {error.filename or 'a file'} failed: {error.strerror or error}; nothing since"
        " the last sync was acknowledged; check the volume (space, health), then start this member"
        " again\n".encode(),
    )
    os._exit(EXIT_DISK_FAILED)


class DiskThread:
    """A `DiskQueue` of the running loop."""

    def __init__(self, on_failure: Callable[[OSError], None] = exit_on_disk_failure) -> None:
        """`on_failure` is called in the thread, which ends when that returns: nothing that was handed
        over at or after the failure is ever called back."""
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[tuple[Callable[[], None], Callable[[], None]] | None] = deque()
        self._waiting = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._work, name="disk", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        """As `DiskQueue.run`.

        The owner bounds what waits here: one group of the log at a time, one slice of a snapshot, and
        the chunks that a leader may have in flight.
        """
        self._hand_over((job, done))

    def close(self, timeout_s: float) -> bool:
        """Ends after what was handed over; False if that took longer than `timeout_s`."""
        self._hand_over(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        os.close(self._waiting)
        self._waiting = -1  # a number that may soon be another file's
        return True

    def _hand_over(self, job: tuple[Callable[[], None], Callable[[], None]] | None) -> None:
        self._jobs.append(job)
        os.eventfd_write(self._waiting, 1)

    def _next(self) -> tuple[Callable[[], None], Callable[[], None]] | None:
        os.eventfd_read(self._waiting)
        return self._jobs.popleft()

    def _work(self) -> None:
        while (handed := self._next()) is not None:
            job, done = handed
            try:
                job()
            except OSError as error:
                self._on_failure(error)
                return
            except Exception as error:
                log.exception("a job for the disk is broken")
                self._on_failure(OSError(errno.EIO, f"broken: {error!r}"))
                return
            try:
                self._loop.call_soon_threadsafe(done)
            except RuntimeError:
                return  # the loop closed while the disk was busy: nobody is left to tell
