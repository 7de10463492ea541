"""Histories: what clients asked for and what they were told, one JSON object a line, as Jepsen's."""

from faultlab.history.events import Event, EventType, read_events, write_events

__all__ = ["Event", "EventType", "read_events", "write_events"]
