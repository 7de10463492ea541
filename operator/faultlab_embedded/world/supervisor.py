"""The process between the machine and the world: makes the namespaces, waits, tidies up.

It is no child of the launcher, and the parent of the world's PID 1. If it dies, the kernel kills the world
(parent-death signal, and the world reads a pipe of which this process holds the other end); if the world
dies, the kernel kills every pod with it. So a SIGKILL of any of them leaves no process, namespace or mount
behind. Run by the launcher as `python -m faultlab_embedded.world.supervisor FD`, where FD holds an `Order`.

Keep the imports small: the process is forked.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from faultlab_embedded.node import syscalls as sc
from faultlab_embedded.world.errors import WorldError
from faultlab_embedded.world.home import Home

_NAMESPACES = sc.CLONE_NEWNS | sc.CLONE_NEWNET | sc.CLONE_NEWPID | sc.CLONE_NEWUTS | sc.CLONE_NEWIPC
_STOP_S = 4.0
_REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EINVAL, errno.ENOSYS)


def main() -> None:
    """Reads the order, becomes the world's parent, ends with it."""
    with os.fdopen(int(sys.argv[1]), "rb") as source:
        order: dict[str, Any] = json.loads(source.read())
    if os.fork():
        os._exit(0)  # the launcher has waited for this one, and no zombie of the other stays with it
    home = Home(Path(order["home"]))
    ready: int = order["ready_fd"]
    try:
        home.lock_alive()
        user_before = os.getuid(), os.getgid()
        _enter(*user_before)
    except OSError as error:
        kind = "namespaces" if error.errno in _REFUSALS else "other"
        answer(ready, error=str(error), kind=kind)
        sys.exit(1)
    except WorldError as error:
        answer(ready, error=str(error), kind="other")
        sys.exit(1)
    order["supervisor_pid"] = os.getpid()
    life_read, life_write = os.pipe()
    world = os.fork()
    if world == 0:
        os.close(life_write)
        _become_world(order, life_read)
    os.close(life_read)
    os.write(2, f"supervisor {os.getpid()}, world {world}\n".encode())
    for fd in (ready, order["api_fd"], order["pages_fd"]):
        os.close(fd)
    _supervise(world)
    home.tidy()


def answer(fd: int, **fields: Any) -> bool:
    """One line to the launcher; False if it is gone."""
    try:
        os.write(fd, json.dumps(fields).encode() + b"\n")
    except OSError:
        return False
    return True


def _enter(uid: int, gid: int) -> None:
    """New namespaces; a user namespace too where this process is not allowed to do without."""
    if uid == 0:
        try:
            sc.unshare(_NAMESPACES)
            return
        except PermissionError:
            pass  # root of a container without CAP_SYS_ADMIN: as an ordinary user, then
    sc.unshare(sc.CLONE_NEWUSER | _NAMESPACES)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _become_world(order: dict[str, Any], life: int) -> None:
    sc.die_with_parent(signal.SIGKILL)
    code = 1
    try:
        from faultlab_embedded.world.server import run

        code = run(order, life)
    except BaseException as error:
        import traceback

        traceback.print_exc()
        refused = isinstance(error, OSError) and error.errno in _REFUSALS
        kind = "namespaces" if refused and "mount" in str(error) else "other"
        answer(order["ready_fd"], error=f"{type(error).__name__}: {error}", kind=kind)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _supervise(world: int) -> None:
    """Passes SIGTERM and SIGINT on, and waits; a world that does not end within 4 s is killed."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(world, signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, _STOP_S)

    def kill(_number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(world, signal.SIGKILL)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    signal.signal(signal.SIGALRM, kill)
    _, status = os.waitpid(world, 0)
    code = os.waitstatus_to_exitcode(status)
    os.write(2, f"{time.strftime('%FT%TZ', time.gmtime())} the world ended with {code}\n".encode())


if __name__ == "__main__":
    main()
