"""Network namespaces by descriptor: open one, run a function inside, come home.

Descriptors are held only as long as work is done: while one is open, a dead pod's namespace and its veth
stay. Entering is a matter of the calling thread alone, so it must be a worker thread that runs nothing else
meanwhile, never the event loop's. Sockets made inside stay inside and can be used from any thread.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from faultlab_chaos.errors import NamespaceRefused

T = TypeVar("T")

CLONE_NEWNET: Final = 0x40000000
_CANNOT_GO_HOME: Final = 70
_libc = ctypes.CDLL(None, use_errno=True)


class NetworkNamespace:
    """An open descriptor of a network namespace; a context manager that closes it."""

    def __init__(self, path: str | Path) -> None:
        """Raises NamespaceRefused if there is nothing at `path` (the process has ended) or no permission."""
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NamespaceRefused(f"cannot open the network namespace {path}: {error.strerror}") from error
        self.inode = os.fstat(self.descriptor).st_ino
        """What tells one namespace from another while both exist."""

    def __enter__(self) -> "NetworkNamespace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self.descriptor)

    def run(self, work: Callable[[], T]) -> T:
        """Runs `work` in this thread inside the namespace, and comes home whatever happens.

        Raises NamespaceRefused if the kernel does not let this process in. If the thread cannot come home
        the process ends itself: later work would otherwise be done in a pod's network; leases heal.
        """
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                _enter(self.descriptor)
            except OSError as error:
                raise NamespaceRefused(
                    f"cannot enter the pod's network namespace: {error.strerror}; the agent needs "
                    "CAP_SYS_ADMIN over it (a privileged container, or root of the lab's user namespace)"
                ) from error
            try:
                return work()
            finally:
                try:
                    _enter(home)
                except OSError as error:
                    print(f"cannot leave a pod's network namespace: {error.strerror}", file=sys.stderr)
                    os._exit(_CANNOT_GO_HOME)
        finally:
            os.close(home)


def host_namespaces() -> frozenset[int]:
    """The inodes of the namespaces that must never be cut: this process's own and that of PID 1."""
    inodes = set()
    for path in ("/proc/self/ns/net", "/proc/1/ns/net"):
        try:
            inodes.add(os.stat(path).st_ino)
        except OSError:
            continue  # PID 1 of another user: its namespace cannot be entered by this process either.
    return frozenset(inodes)


def leave_for_new_network() -> None:
    """Moves the calling thread into a new, empty network namespace; it ends with the thread.

    Raises OSError if the kernel does not let this process make namespaces.
    """
    if _libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
