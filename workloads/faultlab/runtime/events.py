"""The last events of a member, for whoever watches: a ring with ids that count up."""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

EventT = TypeVar("EventT")

RING_EVENTS = 10_000
"""The oldest goes when one more comes; a watcher that far behind sees a gap in the ids."""


class EventRing(Generic[EventT]):
    """Keeps the newest events by id, and wakes those who wait for more."""

    def __init__(self, capacity: int = RING_EVENTS) -> None:
        self._events: deque[tuple[int, EventT]] = deque(maxlen=capacity)
        self._last_id = 0
        self._changed: set[asyncio.Event] = set()

    @property
    def last_id(self) -> int:
        """The id of the newest event; 0 before the first."""
        return self._last_id

    @property
    def next_id(self) -> int:
        """The id that the next event gets."""
        return self._last_id + 1

    def add(self, event: EventT) -> None:
        """Appends under `next_id`."""
        self._last_id += 1
        self._events.append((self._last_id, event))
        for waiting in self._changed:
            waiting.set()

    def after(self, event_id: int, limit: int) -> list[tuple[int, EventT]]:
        """At most `limit` events with an id greater than `event_id`, oldest first."""
        missing = self._last_id - event_id
        if missing <= 0 or not self._events:
            return []
        start = max(0, len(self._events) - missing)
        return [self._events[i] for i in range(start, min(start + limit, len(self._events)))]

    def watch(self) -> "EventWatch":
        """A context manager that gives an `asyncio.Event`, set whenever something was added."""
        return EventWatch(self._changed)

    def __iter__(self) -> Iterator[EventT]:
        return (event for _, event in self._events)


class EventWatch:
    """One watcher's wake-up, registered while the `with` block runs."""

    def __init__(self, registry: set[asyncio.Event]) -> None:
        self._registry = registry
        self._event = asyncio.Event()

    def __enter__(self) -> asyncio.Event:
        self._registry.add(self._event)
        return self._event

    def __exit__(self, *_: object) -> None:
        self._registry.discard(self._event)
