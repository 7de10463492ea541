"""Asking after a world and ending it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from faultlab_embedded.world.errors import StopFailed
from faultlab_embedded.world.home import Home, WorldInfo

_TURN_S = 60.0
_TERM_S = 8.0
_KILL_S = 3.0


def status(home: Path) -> WorldInfo | None:
    """The world that runs in `home` and is ready, or None. What a dead world left does not count."""
    place = Home(home.resolve())
    return place.read_info() if place.is_alive() else None


def down(home: Path, *, purge: bool = False) -> bool:
    """Ends the world in `home`, gracefully within about 3 s; False if none ran. Raises StopFailed.

    State (objects, claims, logs) stays for the next `up`, unless `purge`.
    """
    place = Home(home.resolve())
    if not place.path.is_dir():
        return False
    with place.taking_turns(_TURN_S):
        was_alive = place.is_alive()
        if was_alive:
            end(place)
        place.tidy()
        if purge:
            place.purge()
        return was_alive


def end(place: Home) -> None:
    """Sends SIGTERM, then SIGKILL, until the world is gone. Raises StopFailed."""
    for number, patience_s in ((signal.SIGTERM, _TERM_S), (signal.SIGKILL, _KILL_S)):
        pid = place.supervisor_pid()
        if pid is not None and place.is_alive():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if place.wait_dead(patience_s):
            return
    raise StopFailed(f"the world in {place.path} (supervisor {place.supervisor_pid()}) does not end")
