"""The recent past of every resource, and cursors that follow it.

A watcher owns no queue. It holds a position in the log of its resource, and reads on from there when it is
woken; a watcher that falls behind the log's bound finds its position gone and gets `Expired`. So no slow
reader can make the server grow, and a write costs one append and one wake-up for each watcher.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from faultlab_embedded.store.errors import Expired

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

MAX_EVENTS = 5_000
MAX_AGE_S = 300.0


@dataclass(frozen=True, slots=True)
class Record:
    """One version of one object. `raw` is its JSON, which is also what goes on the wire."""

    resource: str
    namespace: str
    name: str
    uid: str
    version: int
    labels: dict[str, str]
    raw: bytes

    def decode(self) -> dict[str, Any]:
        """A fresh copy that the caller may change."""
        value: dict[str, Any] = msgspec.json.decode(self.raw)
        return value


@dataclass(frozen=True, slots=True)
class Change:
    """One write: `record` is the version after it (of a deletion: the last state), `before` the one it
    replaced."""

    type: EventType
    version: int
    record: Record
    before: Record | None
    at: float

    def last_seen(self) -> Record:
        """The object as it was before the change, under the change's version: what a watcher is told who sees
        it no more."""
        if self.before is None:
            return self.record
        obj = self.before.decode()
        obj["metadata"]["resourceVersion"] = str(self.version)
        return replace(self.before, version=self.version, raw=msgspec.json.encode(obj))


class Log:
    """Changes in the order of their versions, bounded in number and age: the oldest are dropped."""

    def __init__(
        self,
        floor: int,
        *,
        max_events: int = MAX_EVENTS,
        max_age_s: float = MAX_AGE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.floor = floor
        """Changes up to this version are not remembered."""
        self._changes: deque[Change] = deque()
        self._first = 0
        self._max_events = max_events
        self._max_age_s = max_age_s
        self._clock = clock
        self._waiting: set[asyncio.Event] = set()

    @property
    def end(self) -> int:
        """The position after the newest change."""
        return self._first + len(self._changes)

    def append(self, kind: EventType, record: Record, before: Record | None) -> None:
        """Remember a change and wake everybody who follows."""
        now = self._clock()
        self._changes.append(Change(kind, record.version, record, before, now))
        while len(self._changes) > self._max_events or self._changes[0].at < now - self._max_age_s:
            self.floor = self._changes.popleft().version
            self._first += 1
        for waiter in self._waiting:
            waiter.set()

    def position_after(self, version: int) -> int:
        """Where a reader who has seen everything up to `version` goes on. Raises Expired when that is
        forgotten."""
        if version < self.floor:
            raise Expired(f"too old resource version: {version} ({self.floor})")
        position = self.end
        for change in reversed(self._changes):
            if change.version <= version:
                break
            position -= 1
        return position

    def read(self, position: int, limit: int) -> list[Change]:
        """Up to `limit` changes from a position on. Raises Expired when the position was dropped."""
        start = position - self._first
        if start < 0:
            raise Expired("the watch fell behind the changes that are remembered: list again")
        stop = min(start + limit, len(self._changes))
        return [self._changes[index] for index in range(start, stop)]

    def subscribe(self) -> asyncio.Event:
        """An event that is set at every change until `unsubscribe`."""
        waiter = asyncio.Event()
        self._waiting.add(waiter)
        return waiter

    def unsubscribe(self, waiter: asyncio.Event) -> None:
        self._waiting.discard(waiter)
