"""Holding a world: a connection that keeps one that is not persistent alive.

The protocol on HOME/hold.sock is lines of text: a holder says `hold` and is answered `held`; it goes by
closing the connection (or dying), or by saying `bye` and hearing `ending` (it was the last, the world ends)
or `staying`. `persist` is answered `persistent`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faultlab_embedded.world.errors import NotRunning
from faultlab_embedded.world.home import Home, WorldInfo

_TIMEOUT_S = 5.0
_END_S = 8.0


@contextmanager
def hold(home: Path) -> Iterator[WorldInfo]:
    """Keeps the world in `home` alive for the time of the block. Raises NotRunning.

    Leaving the block as the last holder of a world that is not persistent waits until it is gone, state
    included.
    """
    place = Home(home.resolve())
    info = place.read_info()
    if info is None or not place.is_alive():
        raise NotRunning(f"no world runs in {place.path}; start one with `faultlab up`")
    with _connect(place) as connection:
        if _ask(connection, "hold") != "held":
            raise NotRunning(f"the world in {place.path} is about to end, or has too many holders")
        try:
            yield info
        finally:
            last = "ending"
            with suppress(OSError):
                last = _ask(connection, "bye")
    if last != "staying":
        place.wait_dead(_END_S)
        with place.taking_turns(_END_S):
            if not place.is_alive():
                place.tidy()  # the supervisor has done it, unless it was killed


def request_persist(place: Home) -> None:
    """Makes a running world persistent. Raises NotRunning."""
    with _connect(place) as connection:
        _ask(connection, "persist")


def short_path(path: Path) -> tuple[str, int]:
    """A spelling of a socket's path that fits into 107 bytes, and the descriptor that makes it valid."""
    fd = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    return f"/proc/self/fd/{fd}/{path.name}", fd


def _connect(place: Home) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection.settimeout(_TIMEOUT_S)
    name, fd = short_path(place.hold_socket)
    try:
        connection.connect(name)
    except OSError as error:
        connection.close()
        raise NotRunning(f"the world in {place.path} does not answer ({error.strerror})") from error
    finally:
        os.close(fd)
    return connection


def _ask(connection: socket.socket, word: str) -> str:
    connection.sendall(f"{word}\n".encode())
    answer = b""
    while not answer.endswith(b"\n"):
        piece = connection.recv(64)
        if not piece:
            break
        answer += piece
    return answer.decode().strip()
