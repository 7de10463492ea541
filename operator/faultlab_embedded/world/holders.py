"""The world's side of holding: counts holders and says when the last one is gone. See `holding`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

from faultlab_embedded.world.holding import short_path
from faultlab_embedded.world.home import Home

FIRST_HOLDER_S = 15.0
_MAX_HOLDERS = 64


class Holders:
    """Serves HOME/hold.sock.

    `on_last_gone` is called at most once, and never while the world is persistent.
    """

    def __init__(
        self, home: Home, persist: bool, on_last_gone: Callable[[], None], on_persist: Callable[[], None]
    ) -> None:
        self._home = home
        self._on_last_gone = on_last_gone
        self._on_persist = on_persist
        self._count = 0
        self.persist = persist
        self._ended = False

    async def serve(self) -> None:
        """Listens; a world that is not persistent ends if nobody holds it within 15 s."""
        name, fd = short_path(self._home.hold_socket)
        try:
            with suppress(FileNotFoundError):
                self._home.hold_socket.unlink()
            await asyncio.start_unix_server(self._talk, name)
        finally:
            os.close(fd)
        asyncio.get_running_loop().call_later(FIRST_HOLDER_S, self._end_if_alone)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        holding = False
        try:
            while line := (await reader.readline()).decode(errors="replace").strip():
                if line == "hold" and not (holding or self._ended) and self._count < _MAX_HOLDERS:
                    holding = True
                    self._count += 1
                    answer = "held"
                elif line == "bye":
                    last = holding and self._count == 1 and not self.persist
                    answer = "ending" if last else "staying"
                elif line == "persist":
                    self.persist = True
                    self._on_persist()
                    answer = "persistent"
                else:
                    answer = "refused"
                writer.write(f"{answer}\n".encode())
                await writer.drain()
                if line == "bye":
                    break
        except (ConnectionError, ValueError):
            pass
        finally:
            writer.close()
            if holding:
                self._count -= 1
                self._end_if_alone()

    def _end_if_alone(self) -> None:
        if not self._count and not self.persist and not self._ended:
            self._ended = True
            self._on_last_gone()
