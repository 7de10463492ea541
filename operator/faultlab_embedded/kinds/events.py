"""events.k8s.io/v1: another view of core events."""

from __future__ import annotations

from faultlab_embedded.store.strategy import Object

_RENAMED = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}


class EventView:
    """Between core/v1 (stored) and events.k8s.io/v1 (shown)."""

    def outgoing(self, obj: Object) -> Object:
        """A core event as events.k8s.io/v1 shows it."""
        shown = {_RENAMED.get(key, key): value for key, value in obj.items()}
        return {**shown, "apiVersion": "events.k8s.io/v1"}

    def incoming(self, obj: Object) -> Object:
        """An event of events.k8s.io/v1 as core/v1 stores it."""
        stored = {new: old for old, new in _RENAMED.items()}
        return {**{stored.get(key, key): value for key, value in obj.items()}, "apiVersion": "v1"}
