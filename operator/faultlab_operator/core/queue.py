"""When which object is looked at: a work queue that never looks at one object twice at a time.

What may never happen: two reconciles of one key at once; a wake-up lost (one that comes during a
reconcile causes another); a failing key delaying others, or being tried without pause.
"""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Mapping
from typing import Final, Protocol

from faultlab_operator.core.clock import Clock
from faultlab_operator.core.keys import Key
from faultlab_operator.errors import OperatorError

log = logging.getLogger(__name__)

MIN_INTERVAL_S: Final = 0.05
"""Between the starts of two reconciles of one key, however often it is woken."""

BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""After the first, second, ... failure in a row of one key; the last for all further ones."""

PARALLEL: Final = 16
"""Reconciles of different keys at once; further ones wait for a place."""


class Reconciler(Protocol):
    """Brings one object's world to what its spec says. Level-triggered: computes everything afresh."""

    async def reconcile(self, key: Key) -> float | None:
        """Looks at `key` now; the object may be gone. Returns the seconds after which to look again
        even if nothing changes, None for never. An exception means: again, after a back-off."""


class WorkQueue:
    """Deduplicated keys with a time each; `run` feeds them to their kinds' reconcilers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._started: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()
        self._places = asyncio.Semaphore(PARALLEL)

    def wake(self, key: Key, after: float = 0.0) -> None:
        """Has `key` looked at in `after` seconds, or sooner if that is already planned."""
        last = self._started.get(key)
        at = self._clock.monotonic() + after
        if last is not None:
            at = max(at, last + MIN_INTERVAL_S)
        if key in self._due and self._due[key] <= at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, next(self._order), key))
        self._changed.set()

    async def run(self, reconcilers: Mapping[str, Reconciler]) -> None:
        """Reconciles until cancelled; then cancels what is running and waits for it."""
        try:
            while True:
                self._changed.clear()
                pause = self._start_due(reconcilers)
                try:
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            running = list(self._running.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _start_due(self, reconcilers: Mapping[str, Reconciler]) -> float | None:
        """Starts every key that is due and free; returns the seconds until the next one."""
        now = self._clock.monotonic()
        if len(self._started) > 1024:
            self._started = {key: at for key, at in self._started.items() if at > now - MIN_INTERVAL_S}
        while self._heap:
            at, _, key = self._heap[0]
            if self._due.get(key) != at:
                heapq.heappop(self._heap)  # was moved to an earlier time, or forgotten
                continue
            if at > now:
                return at - now
            heapq.heappop(self._heap)
            if key in self._running:
                # Stays due: _finished pushes it again.
                continue
            del self._due[key]
            reconciler = reconcilers.get(key.kind)
            if reconciler is not None:
                self._started[key] = now
                self._running[key] = asyncio.create_task(self._reconcile(key, reconciler), name=str(key))
        return None

    async def _reconcile(self, key: Key, reconciler: Reconciler) -> None:
        again: float | None = None
        try:
            async with self._places:
                again = await reconciler.reconcile(key)
            self._failures.pop(key, None)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            again = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
            log.warning(
                "%s: %s: %s; again in %.1f s",
                key,
                type(error).__name__,
                error,
                again,
                exc_info=log.isEnabledFor(logging.DEBUG) or not _expected(error),
            )
        finally:
            self._running.pop(key, None)
            if key in self._due:
                # Woken meanwhile; its place in the heap may have been used up while it was running.
                at = max(self._due.pop(key), self._clock.monotonic())
                self.wake(key, at - self._clock.monotonic())
        if again is not None:
            self.wake(key, again)


def _expected(error: Exception) -> bool:
    """Whether the message alone says enough: errors of the lab's own tree name thing and remedy."""
    return isinstance(error, OperatorError | TimeoutError | OSError)
