"""What the world's process does to itself before anything else runs in it: mounts, limits, its tie to its
parent."""

from __future__ import annotations

import os
import resource
import select
from contextlib import suppress
from pathlib import Path

from faultlab_embedded.node import syscalls as sc
from faultlab_embedded.node.places import NODE_NAME, RUN_DIRECTORY

_MAX_FILES = 65_536


def outer_pid() -> int:
    """This process's PID as the machine sees it; to be asked before `confine` mounts a new /proc."""
    return int(os.readlink("/proc/self"))


def parent_is_gone(life: int) -> bool:
    """Whether the supervisor died before its parent-death signal was set up."""
    poll = select.poll()
    poll.register(life, 0)
    return bool(poll.poll(0))


def confine(home: Path) -> None:
    """Private mounts, a /proc of this PID namespace, an empty /run, a host name. Raises OSError.

    `home` stays visible even if it is below /run.
    """
    sc.mount("none", "/", flags=sc.MS_REC | sc.MS_PRIVATE)
    held = os.open(home, os.O_PATH | os.O_CLOEXEC)
    sc.mount("proc", "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    sc.mount("run", "/run", "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, "mode=0755,size=1g")
    if home.is_relative_to("/run"):
        home.mkdir(parents=True)
        sc.mount(f"/proc/self/fd/{held}", str(home), flags=sc.MS_BIND | sc.MS_REC)
    os.close(held)
    with suppress(OSError):  # shows the machine's interfaces if it stays; no harm beyond that
        sc.mount("sysfs", "/sys", "sysfs", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    for name in ("containers", "rootfs", "memory"):
        (RUN_DIRECTORY / name).mkdir(parents=True)
    sc.sethostname(NODE_NAME)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
