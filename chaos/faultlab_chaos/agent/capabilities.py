"""What faults this node's kernel can do, found by trying each in a network that is thrown away.

Whether a module's file exists says little: it may be built in, forbidden, or not loadable from here.
"""

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from faultlab_chaos.contract.wire import Capabilities, Capability
from faultlab_chaos.errors import ChaosError
from faultlab_chaos.injectors import nftables
from faultlab_chaos.injectors.namespaces import NetworkNamespace, leave_for_new_network
from faultlab_chaos.injectors.partition import Label, Partitions

_PTRACE_ATTACH: Final = 16
_PTRACE_DETACH: Final = 17
_LOOPBACK_INDEX: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


def look(version: str) -> Capabilities:
    """Tries everything; takes some 50 ms, and leaves nothing behind."""
    tried = [
        _try("setns", "network namespaces of pods are entered", _setns),
        _try("nftables", "NetworkPartition: drop by source, with timeouts in the kernel", _nftables),
        _try("netem", "NetworkFault: delay, loss, reordering", _qdisc("netem", delay=1000)),
        _try("tbf", "NetworkFault: bandwidth", _qdisc("tbf", rate="1mbit", burst=4096, latency="10ms")),
        _try("ptrace", "ClockFault: another process is attached to", _ptrace),
    ]
    return Capabilities(version=version, kernel=platform.release(), capabilities=tuple(tried))


def _try(name: str, purpose: str, attempt: Callable[[], None]) -> Capability:
    """Runs the attempt in a thread and a network of its own, which ends with it.

    The message is the purpose if it works, else the reason why not.
    """

    def alone() -> None:
        leave_for_new_network()
        attempt()

    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(alone).result()
    except NetlinkError as error:
        return Capability(name, False, f"not in this kernel ({os.strerror(error.code)})")
    except (ChaosError, OSError) as error:
        return Capability(name, False, str(error) or type(error).__name__)
    return Capability(name, True, purpose)


def _setns() -> None:
    with NetworkNamespace("/proc/thread-self/ns/net") as here:
        here.run(lambda: None)


def _nftables() -> None:
    with nftables.kernel() as kernel:
        partitions = Partitions(kernel)
        label = Label("capabilities", "try", "", "")
        partitions.cut("faultlab-try", label, ["192.0.2.1"], 60_000, standing=False)
        partitions.cut("faultlab-try", label, ["192.0.2.1"], 60_000, standing=True)
        if not any(cut.remaining_ms > 0 for cut in partitions.read()):
            raise ChaosError("a set element with a timeout was taken but does not stand")


def _qdisc(kind: str, **parameters: object) -> Callable[[], None]:
    def attempt() -> None:
        with IPRoute() as route:
            route.tc("add", kind, _LOOPBACK_INDEX, handle="1:", **parameters)

    return attempt


def _ptrace() -> None:
    """Attaches to a child that waits for input."""
    with subprocess.Popen([sys.executable, "-ISc", "input()"], stdin=subprocess.PIPE) as child:
        try:
            if _libc.ptrace(_PTRACE_ATTACH, child.pid, None, None) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"{os.strerror(number)} (see sysctl kernel.yama.ptrace_scope)")
            os.waitpid(child.pid, 0)
            _libc.ptrace(_PTRACE_DETACH, child.pid, None, None)
        finally:
            child.kill()
