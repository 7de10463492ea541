"""Histories: what clients asked for and what they were told, one JSON object a line, as Jepsen's."""

from faultlab.history.events import Event, EventType, HistoryError, encode_event, read_events, write_events
from faultlab.history.operations import Operation, Outcome, pair_events

__all__ = [
    "Event",
    "EventType",
    "HistoryError",
    "Operation",
    "Outcome",
    "encode_event",
    "pair_events",
    "read_events",
    "write_events",
]
