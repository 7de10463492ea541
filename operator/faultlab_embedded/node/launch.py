"""Starts processes in namespaces through the shim and tells when and how they ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from faultlab_embedded.node.reaper import Reaper
from faultlab_embedded.node.rootfs import Bind

START_TIMEOUT_S = 60.0
_SHIM = str(Path(__file__).with_name("shim.py"))
_CHUNK = 65536

Output = Callable[[str, bytes], None]
"""Receives ("stdout" or "stderr", bytes); empty bytes mean the stream's end."""


class StartFailed(Exception):
    """The process could not become its program; the message says why, as a container runtime would."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A container to start. Descriptors in `namespaces` stay the caller's."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    staging: str
    """An empty directory on which the root is built, in the container's own mount namespace."""
    namespaces: Mapping[str, int] = field(default_factory=dict)
    binds: Sequence[Bind] = ()
    keep_visible: Sequence[str] = ()
    own_pids: bool = True
    read_only: bool = False
    privileged: bool = False
    no_new_privileges: bool = False


@dataclass(slots=True)
class Process:
    """A started process: its PID as the node sees it, and its exit code when there is one."""

    pid: int
    exited: asyncio.Future[int]

    def signal(self, number: int) -> None:
        """Sends a signal to the process and, where it leads one, to its group. Ended ones ignore it."""
        if not self.exited.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill_group(self) -> None:
        """SIGKILL to all that the process started and that did not leave its session."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class Launcher:
    """Starts containers and processes in them. One for a world."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper

    async def run(self, launch: Launch, output: Output) -> Process:
        """Starts a container. Raises StartFailed."""
        spec = {
            "mode": "run",
            "newPid": launch.own_pids,
            "binds": [asdict(bind) for bind in launch.binds],
            "keepVisible": list(launch.keep_visible),
            "staging": launch.staging,
            "readOnly": launch.read_only,
            "privileged": launch.privileged,
            "argv": list(launch.argv),
            "env": dict(launch.env),
            "cwd": launch.cwd,
            "noNewPrivileges": launch.no_new_privileges,
        }
        return await self._start(spec, dict(launch.namespaces), output)

    async def execute(self, pid: int, argv: Sequence[str], env: Mapping[str, str], output: Output) -> Process:
        """Starts a process beside the one with `pid`, in all its namespaces. Raises StartFailed."""
        namespaces: dict[str, int] = {}
        try:
            for kind in ("net", "uts", "ipc", "pid", "mnt"):  # the mount namespace last: /proc is read before
                namespaces[kind] = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            spec = {
                "mode": "exec",
                "argv": list(argv),
                "env": dict(env),
                "cwd": "/",
                "noNewPrivileges": False,
            }
            return await self._start(spec, namespaces, output)
        except FileNotFoundError as error:
            raise StartFailed(f"the container's process {pid} is gone") from error
        finally:
            for fd in namespaces.values():
                os.close(fd)

    async def _start(self, spec: dict[str, object], namespaces: dict[str, int], output: Output) -> Process:
        pipes: list[int] = []
        try:
            status_read, status_write = os.pipe()
            pipes += [status_read, status_write]
            out_read, out_write = os.pipe()
            pipes += [out_read, out_write]
            err_read, err_write = os.pipe()
            pipes += [err_read, err_write]
            document = os.memfd_create("container")
            pipes.append(document)
            spec = {**spec, "namespaces": namespaces, "statusFd": status_write}
            os.write(document, json.dumps(spec).encode())
            os.lseek(document, 0, os.SEEK_SET)
            shim = self._spawn(document, status_write, out_write, err_write, list(namespaces.values()))
            for fd in (status_write, out_write, err_write, document):
                os.close(fd)
                pipes.remove(fd)
            _read_stream(out_read, "stdout", output)
            _read_stream(err_read, "stderr", output)
            pipes.remove(out_read)
            pipes.remove(err_read)
            told = bytearray()
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await _read_all(status_read, told)
            except TimeoutError as error:
                _abandon(shim, told)
                text = f"the container did not start within {START_TIMEOUT_S:.0f} s"
                raise StartFailed(text) from error
        finally:
            for fd in pipes:
                os.close(fd)
        return self._started(told.decode(errors="replace").splitlines())

    def _spawn(self, document: int, status: int, out: int, err: int, namespaces: list[int]) -> int:
        shim = subprocess.Popen(
            [sys.executable, "-I", "-S", _SHIM, str(document)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=(document, status, *namespaces),
            cwd="/",
            env={},
        )
        shim.returncode = 0  # the reaper waits for it, and subprocess must not
        return shim.pid

    def _started(self, lines: list[str]) -> Process:
        pid = _pid_in(lines)
        error = next((line[6:] for line in lines if line.startswith("error ")), None)
        if pid is None:
            raise StartFailed(error or "the container's shim ended without a word; see the world's log")
        exited = self._reaper.exit_code(pid)
        if error is not None:
            raise StartFailed(error)
        return Process(pid, exited)


def _pid_in(lines: list[str]) -> int | None:
    return next((int(line[4:]) for line in lines if line.startswith("pid ")), None)


def _abandon(shim: int, told: bytearray) -> None:
    """Kills a start that takes too long: the container if it exists already (the shim is gone then)."""
    with suppress(ProcessLookupError):
        os.kill(_pid_in(told.decode(errors="replace").splitlines()) or shim, signal.SIGKILL)


async def _read_all(fd: int, data: bytearray) -> None:
    """Collects a pipe's bytes until its end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    os.set_blocking(fd, False)

    def readable() -> None:
        try:
            piece = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        data.extend(piece)
        if not piece and not done.done():
            done.set_result(None)

    loop.add_reader(fd, readable)
    try:
        await done
    finally:
        loop.remove_reader(fd)


def _read_stream(fd: int, name: str, output: Output) -> None:
    """Hands a pipe's bytes to `output` until its end, then closes it."""
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)

    def readable() -> None:
        try:
            piece = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        if not piece:
            loop.remove_reader(fd)
            os.close(fd)
        output(name, piece)

    loop.add_reader(fd, readable)
