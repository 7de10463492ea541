"""The disk queue of one process: jobs one after another, each taking its time.

A job does its work at the end of its time. When the power goes before that, the job may have come as
far as its first sync: what it wrote is then on its way to the platter, whole, in part or not at all.
"""

from collections import deque
from collections.abc import Callable
from random import Random

from .files import PowerCut, SimFiles
from .loop import Loop

Job = Callable[[], None]


class SimDiskQueue:
    """`runtime/disk.py`'s DiskQueue in virtual time."""

    def __init__(
        self,
        loop: Loop,
        rng: Random,
        files: SimFiles,
        latency_ns: Callable[[], int],
        enter: Callable[..., None],
        on_failure: Callable[[OSError], None],
        on_broken: Callable[[BaseException], None],
    ) -> None:
        """`enter(done)` calls back into the process; `on_failure` ends it, for what disks may do, and
        `on_broken` for what no job may."""
        self._loop = loop
        self._rng = rng
        self._files = files
        self._latency_ns = latency_ns
        self._enter = enter
        self._on_failure = on_failure
        self._on_broken = on_broken
        self._jobs: deque[tuple[Job, Job]] = deque()
        self._ended = False
        self.interrupt: Callable[[], None] | None = None
        """Called once in the middle of the next job."""

    def run(self, job: Job, done: Job) -> None:
        """As DiskQueue.run."""
        self._jobs.append((job, done))
        if len(self._jobs) == 1:
            self._start()

    def end(self, power: bool) -> None:
        """The process is gone, and with it its jobs; after a power cut the one under way may have begun."""
        self._ended = True
        if power and self._jobs and self._rng.random() < 0.7:
            self._files.dying = True
            try:
                self._jobs[0][0]()
            except (PowerCut, OSError):
                pass
            finally:
                self._files.dying = False
        self._jobs.clear()

    def _start(self) -> None:
        latency_ns = self._latency_ns()
        if self.interrupt is not None:
            self._loop.after(latency_ns // 2, self.interrupt)
            self.interrupt = None
        self._loop.after(latency_ns, self._finish)

    def _finish(self) -> None:
        if self._ended:
            return
        job, done = self._jobs.popleft()
        try:
            job()
        except OSError as error:
            self._ended = True
            self._jobs.clear()
            self._on_failure(error)
            return
        except Exception as error:
            self._on_broken(error)
            return
        if self._jobs:
            self._start()
        self._enter(done)
