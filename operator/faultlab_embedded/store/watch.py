"""Selections of a resource's objects, and watchers that follow them."""

from __future__ import annotations

from dataclasses import dataclass

from faultlab_embedded.store.log import Change, EventType, Log, Record
from faultlab_embedded.store.selectors import FieldMatch, LabelMatch, parse_fields, parse_labels

WATCH_BATCH = 256
"""Changes that a watcher takes at a time."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource are meant; None stands for all."""

    namespace: str | None = None
    labels: LabelMatch | None = None
    fields: FieldMatch | None = None

    @classmethod
    def parse(cls, namespace: str | None, labels: str | None, fields: str | None) -> Selection:
        """From the selectors' texts. Raises BadRequest."""
        return cls(namespace, parse_labels(labels), parse_fields(fields))

    def matches(self, record: Record) -> bool:
        return (
            (self.namespace is None or record.namespace == self.namespace)
            and (self.labels is None or self.labels(record.labels))
            and (self.fields is None or self.fields(record.namespace, record.name, record.decode))
        )


class Watcher:
    """Follows one resource's changes through one selection."""

    def __init__(self, log: Log, since: int, selection: Selection) -> None:
        self._log = log
        self._selection = selection
        self._position = log.position_after(since)
        self._woken = log.subscribe()

    def close(self) -> None:
        """Stop being woken. Safe to call twice."""
        self._log.unsubscribe(self._woken)

    async def next(self) -> list[tuple[EventType, Record]]:
        """The next changes that concern the selection, at least one. Raises Expired for a reader too far
        behind.

        An object that changes into or out of the selection is ADDED or DELETED, as the selection sees it. May
        be cancelled at any time without losing a change.
        """
        while True:
            self._woken.clear()
            changes = self._log.read(self._position, WATCH_BATCH)
            self._position += len(changes)
            if seen := [event for change in changes if (event := self._seen(change)) is not None]:
                return seen
            if not changes:
                await self._woken.wait()

    def _seen(self, change: Change) -> tuple[EventType, Record] | None:
        before = change.before is not None and self._selection.matches(change.before)
        after = change.type != "DELETED" and self._selection.matches(change.record)
        if not before and not after:
            return None
        if not after:
            return "DELETED", change.last_seen()
        return ("MODIFIED" if before else "ADDED"), change.record
