"""Processes of a benchmark: started with a log file, measured from /proc, and ended by their ids.

They get a parent-death signal, so that none outlives the benchmark however that ends.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_PR_SET_PDEATHSIG = 1
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_STOP_S = 5.0
_SHOWN_LOG_BYTES = 2000
_LIBC = ctypes.CDLL(None, use_errno=True)


class BenchmarkError(Exception):
    """What keeps a measurement from being made; the message says what to do."""


def await_that(probe: Callable[[], T | None], what: str, timeout_s: float = 30.0, pause_s: float = 0.02) -> T:
    """The first result of `probe` that is neither None nor False; BenchmarkError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = probe()
        if found is not None and found is not False:
            return found
        time.sleep(pause_s)
    raise BenchmarkError(f"{what} did not come within {timeout_s:.0f} s")


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now, all different."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


class Process:
    """One running program. Its output goes to `log`."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=_die_with_parent,
            )
        self.pid = self._popen.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def kill(self) -> float:
        """SIGKILL; gives the monotonic time of it in seconds."""
        self._popen.kill()
        at_s = time.monotonic()
        self._popen.wait(_STOP_S)
        return at_s

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not end it in time."""
        if self.alive():
            self._popen.terminate()
            try:
                self._popen.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def cpu_s(self) -> float:
        """User and system time spent so far, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS

    def resident_mb(self) -> float:
        """Resident memory now, in MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def last_words(self) -> str:
        """The end of its log, for an error message."""
        return self.log.read_bytes()[-_SHOWN_LOG_BYTES:].decode("utf-8", "replace")


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def file_system(path: Path) -> str:
    """The type of the file system that `path` lies on, as /proc/mounts names it."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, fs_type, *_ = line.split()
        inside = path.resolve().is_relative_to(mount)
        if inside and len(mount) >= len(best):
            best, kind = mount, fs_type
    return kind


def median_sync_ms(directory: Path, count: int = 200) -> float:
    """What appending 512 bytes and fdatasync take here: the median, in milliseconds."""
    path = directory / "sync-probe"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    taken = []
    try:
        for _ in range(count):
            begun = time.perf_counter()
            os.write(descriptor, b"x" * 512)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - begun)
    finally:
        os.close(descriptor)
        path.unlink()
    return sorted(taken)[count // 2] * 1000


@contextlib.contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """SIGTERM ends the benchmark as Ctrl-C does: with everything cleaned up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
