"""What happened in a run, as events with types: for a text, a diagram, and the hash that tells runs apart.

Every event goes into the hash, so two runs with the same hash did the same things at the same times. An
event is made as an object only for a sink that asks: most runs want the hash alone.
"""

import hashlib
from array import array
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from .loop import Loop

EventKind = Literal[
    "sent",
    "received",
    "dropped",
    "started",
    "stopped",
    "crashed",
    "paused",
    "resumed",
    "role",
    "commit",
    "configuration",
    "snapshot",
    "installed",
    "action",
    "undone",
    "disk",
    "invoke",
    "complete",
    "phase",
    "mark",
    "violation",
]


class TraceEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened.

    | kind | member | other | number | term | index | text | data |
    |---|---|---|---|---|---|---|---|
    | sent, received, dropped | sender | receiver | frame's id | | | channel | the frame's payload |
    | started | machine | its id | its life, from 1 | term | last index | | |
    | stopped, crashed | machine | | life | | | why | |
    | paused, resumed | machine | | | | | | |
    | role | machine | leader it follows | | term | | role | |
    | commit | machine | | | | commit index | | |
    | configuration | machine | | | | its index | who is in it | |
    | snapshot, installed | machine | | | | last index in it | | |
    | action, undone | target, if one | | its id | | | in words | |
    | disk | machine | | | | | the failure | |
    | invoke, complete | member asked | | client's process | | | in words | |
    | phase | | | | | | `chaos` or `recovery` | |
    | mark | machine | | | | | the mark's name | |
    | violation | machine | | | | | what was broken | |
    """

    at_ns: int
    kind: EventKind
    member: str = ""
    other: str = ""
    number: int = 0
    term: int = 0
    index: int = 0
    text: str = ""
    data: bytes = b""


Trace = Callable[[TraceEvent], None]
"""A sink: called with every event, in the order of time."""

_FLUSH_AT = 4096
_FRAME_CODES: dict[EventKind, int] = {"sent": 1, "received": 2, "dropped": 3}


class Recorder:
    """Takes events in: into the hash, and to the sink if there is one."""

    __slots__ = ("_hash", "_loop", "_numbers", "_parts", "_sink")

    def __init__(self, loop: Loop, sink: Trace | None) -> None:
        self._loop = loop
        self._sink = sink
        self._hash = hashlib.blake2b(digest_size=16)
        self._parts: list[str] = []
        self._numbers = array("q")
        """Of frames: time, what happened, which frame and how long, since the last flush."""

    def note(self, kind: EventKind, member: str = "", other: str = "", **fields: Any) -> None:
        """An event of now; `fields` as in TraceEvent."""
        parts = self._parts
        parts.append(f"{self._loop.now} {kind} {member} {other} {fields}")
        if len(parts) >= _FLUSH_AT:
            self._flush()
        if self._sink is not None:
            self._sink(TraceEvent(at_ns=self._loop.now, kind=kind, member=member, other=other, **fields))

    def frame(
        self, kind: EventKind, sender: str, receiver: str, number: int, channel: int, data: bytes
    ) -> None:
        """A frame's event, the commonest by far."""
        self._numbers.extend((self._loop.now, _FRAME_CODES[kind], number, len(data)))
        if self._sink is not None:
            self._sink(
                TraceEvent(
                    at_ns=self._loop.now,
                    kind=kind,
                    member=sender,
                    other=receiver,
                    number=number,
                    text=str(channel),
                    data=data,
                )
            )

    def digest(self) -> str:
        """The hash of everything so far, in hex."""
        self._flush()
        return self._hash.hexdigest()

    def _flush(self) -> None:
        self._hash.update("\n".join([*self._parts, ""]).encode())
        self._parts.clear()
        self._hash.update(self._numbers)
        del self._numbers[:]
