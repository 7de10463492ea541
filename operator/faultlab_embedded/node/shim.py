"""Starts one container: enters the pod's namespaces, builds the root, becomes the program.

Run as `python -I -S shim.py FD`, where FD holds the JSON of a `Spec` and spec["statusFd"] is a pipe to the
node. What comes out on the pipe: a line `pid N` (as the node sees it) once the process exists, then, only
if it did not become the program, one line `error TEXT`. The pipe's end means that the program runs (or is
gone).

The container's process is a grandchild: the shim ends at once, and the process becomes a child of the node,
which is PID 1 of the world. The program itself is PID 1 of its PID namespace, as with containerd: nothing
stands between it and its signals, and a program without a handler for SIGTERM ignores it until the grace is
over.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from faultlab_embedded.node import rootfs
from faultlab_embedded.node import syscalls as sc

_NAMESPACE_FLAGS = {
    "net": sc.CLONE_NEWNET,
    "uts": sc.CLONE_NEWUTS,
    "ipc": sc.CLONE_NEWIPC,
    "pid": sc.CLONE_NEWPID,
    "mnt": sc.CLONE_NEWNS,
}


def main() -> None:
    """Reads the spec and starts the container (`mode` "run") or a process in a running one ("exec")."""
    with os.fdopen(int(sys.argv[1]), "rb") as source:
        spec: dict[str, Any] = json.loads(source.read())
    status = spec["statusFd"]
    os.set_inheritable(status, False)
    try:
        child = _enter_and_fork(spec)
        if child == 0:
            _become(spec)
        else:
            os.write(status, f"pid {child}\n".encode())
            os._exit(0)
    except BaseException as error:
        text = str(error).replace("\n", " ") or type(error).__name__
        os.write(status, f"error {text}\n".encode()[:4000])
    os._exit(127)


def _enter_and_fork(spec: dict[str, Any]) -> int:
    for kind, fd in spec["namespaces"].items():
        sc.setns(fd, _NAMESPACE_FLAGS[kind])
        os.close(fd)
    if spec["mode"] == "run":
        sc.unshare(sc.CLONE_NEWNS | (sc.CLONE_NEWPID if spec["newPid"] else 0))
    return os.fork()


def _become(spec: dict[str, Any]) -> None:
    os.setsid()
    if spec["mode"] == "run":
        binds = [rootfs.Bind(**bind) for bind in spec["binds"]]
        layout = rootfs.plan(binds, spec["keepVisible"])
        rootfs.build(spec["staging"], layout, read_only=spec["readOnly"], privileged=spec["privileged"])
    else:
        os.chdir("/")
    try:
        os.chdir(spec["cwd"])
    except OSError as error:
        raise FileNotFoundError(f"workingDir {spec['cwd']!r}: {error.strerror}") from error
    if spec["noNewPrivileges"]:
        sc.no_new_privileges()
    os.umask(0o022)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    argv, env = spec["argv"], spec["env"]
    os.execve(_find(argv[0], env.get("PATH", os.defpath)), argv, env)


def _find(program: str, path: str) -> str:
    if "/" in program:
        if not os.path.exists(program):
            raise FileNotFoundError(f'exec: "{program}": no such file or directory')
        return program
    for directory in path.split(":"):
        candidate = os.path.join(directory or ".", program)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(f'exec: "{program}": executable file not found in $PATH ({path})')


if __name__ == "__main__":
    main()
