"""Starts a world: opens its sockets outside, spawns the supervisor, waits until all is ready."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faultlab_embedded.node.images import ImageTable
from faultlab_embedded.world.errors import NamespacesForbidden, NotLinux, PortTaken, StartFailed
from faultlab_embedded.world.holding import request_persist
from faultlab_embedded.world.home import Home, WorldInfo
from faultlab_embedded.world.lifecycle import end

Object = Mapping[str, Any]
LOOPBACK = "127.0.0.1"
_TURN_S = 60.0
_MAX_LOG_BYTES = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Order:
    """What the launcher passes to the world's process; descriptors are inherited."""

    home: str
    objects: list[Any]
    static_pods: list[Any]
    images: list[Any]
    persist: bool
    api_fd: int
    pages_fd: int
    ready_fd: int


def up(
    home: Path,
    objects: Sequence[Object] = (),
    static_pods: Sequence[Object] = (),
    images: ImageTable | None = None,
    *,
    persist: bool = True,
    api_port: int = 0,
    pages_port: int = 0,
    timeout_s: float = 30.0,
) -> WorldInfo:
    """Starts the world in `home` unless it runs, and returns once its API serves and its static pods run.

    `objects` are created or server-side applied at the start, namespaces and CRDs first, the others in
    their order. A world that is not `persist` ends itself when its last holder (`hold`) is gone (the first
    one has 15 s to come), and its state goes with it unless there was some before. Asking for a persistent
    world makes a running one persistent; `objects`, `static_pods`, `images` and ports of a running world
    stay as they are.

    Ports of 0 are chosen by the system. Raises NotLinux, NamespacesForbidden, StartFailed or another
    WorldError.
    """
    if sys.platform != "linux":
        raise NotLinux(sys.platform)
    place = Home(home.resolve())
    with place.taking_turns(_TURN_S):
        if place.is_alive() and (running := _ready_info(place, timeout_s)):
            if persist and not running.persist:
                request_persist(place)
                return place.read_info() or running
            return running
        place.tidy()
        if not persist and not place.database.exists():
            place.temporary.touch()
        return _start(
            place, objects, static_pods, images or ImageTable(()), persist, api_port, pages_port, timeout_s
        )


def _ready_info(place: Home, timeout_s: float) -> WorldInfo | None:
    """The info of a live world; one that is about to end is waited out (None)."""
    deadline = time.monotonic() + timeout_s
    while place.is_alive():
        info = place.read_info()
        if info is not None:
            return info
        if time.monotonic() > deadline:
            raise StartFailed(f"the world in {place.path} neither becomes ready nor ends; see {place.log}")
        time.sleep(0.02)
    return None


def _start(
    place: Home,
    objects: Sequence[Object],
    static_pods: Sequence[Object],
    images: ImageTable,
    persist: bool,
    api_port: int,
    pages_port: int,
    timeout_s: float,
) -> WorldInfo:
    _rotate_log(place.log)
    ready_read, ready_write = os.pipe()
    document = os.memfd_create("order")
    with (
        _listen(api_port, "the API") as api,
        _listen(pages_port, "the pages") as pages,
        place.log.open("ab") as log,
    ):
        order = Order(
            home=str(place.path),
            objects=list(objects),
            static_pods=list(static_pods),
            images=images.to_json(),
            persist=persist,
            api_fd=api.fileno(),
            pages_fd=pages.fileno(),
            ready_fd=ready_write,
        )
        os.write(document, json.dumps(asdict(order)).encode())
        os.lseek(document, 0, os.SEEK_SET)
        starter = subprocess.Popen(
            [sys.executable, "-m", "faultlab_embedded.world.supervisor", str(document)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(document, api.fileno(), pages.fileno(), ready_write),
            start_new_session=True,
            cwd="/",
        )
    os.close(ready_write)
    os.close(document)
    try:
        answer = _read_answer(ready_read, timeout_s)
    except BaseException:
        end(place)
        raise
    finally:
        os.close(ready_read)
        starter.wait()
    return _judge(place, answer, timeout_s)


def _judge(place: Home, answer: dict[str, Any], timeout_s: float) -> WorldInfo:
    if answer.get("ready"):
        info = place.read_info()
        if info is not None:
            return info
        answer = {"error": "it said that it was ready and left no world.json"}
    end(place)
    if answer.get("kind") == "namespaces":
        raise NamespacesForbidden(str(answer["error"]))
    reason = answer.get("error") or f"no word within {timeout_s:.0f} s"
    raise StartFailed(f"the world did not start: {reason}\nThe end of {place.log}:\n{place.log_tail()}")


def _listen(port: int, what: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"port {port} on {LOOPBACK}, wanted for {what}: {error.strerror}; choose another or 0"
        ) from error
    listener.listen(512)
    return listener


def _read_answer(fd: int, timeout_s: float) -> dict[str, Any]:
    """The last JSON line before the pipe's end, or before one that says ready; {} if none came in time."""
    deadline = time.monotonic() + timeout_s
    data = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([fd], [], [], left)[0]:
            break
        piece = os.read(fd, 65536)
        data += piece
        if not piece or data.endswith(b"\n"):
            lines = data.decode().splitlines()
            if lines:
                answer: dict[str, Any] = json.loads(lines[0])
                return answer
            return {"error": "its process ended without a word"}
    return {}


def _rotate_log(path: Path) -> None:
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_name(path.name + ".old"))
