"""Exit statuses of the world's children. The process that runs this is PID 1 of the world.

Containers become its children by reparenting, and so does every orphan of a pod that shares the world's PID
namespace: all are waited for here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import OrderedDict

_KEPT_EXITS = 1024


class Reaper:
    """Waits for any child, tells who asked. `install` once, on the event loop that owns SIGCHLD."""

    def __init__(self) -> None:
        self._awaited: dict[int, asyncio.Future[int]] = {}
        self._early: OrderedDict[int, int] = OrderedDict()

    def install(self) -> None:
        """From now on no other part of the process may call waitpid."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)
        self.reap()

    def exit_code(self, pid: int) -> asyncio.Future[int]:
        """The child's exit code (128 + N if signal N ended it), as soon as it is known.

        A child that ended before anyone asked is remembered, up to 1024 of them, the oldest forgotten first.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if pid in self._early:
            future.set_result(self._early.pop(pid))
        else:
            self._awaited[pid] = future
        return future

    def reap(self) -> None:
        """Collects every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self._settle(pid, code if code >= 0 else 128 - code)

    def _settle(self, pid: int, code: int) -> None:
        future = self._awaited.pop(pid, None)
        if future is not None:
            if not future.done():
                future.set_result(code)
            return
        self._early[pid] = code
        if len(self._early) > _KEPT_EXITS:
            self._early.popitem(last=False)
