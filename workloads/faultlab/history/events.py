"""One line of a history, and reading and writing many of them.

The format is Jepsen's operation: `{"process": 3, "type": "invoke", "f": "read", "key": "k1",
"value": null, "time": 123456789}`. A process has at most one open operation; after `info` it
never appears again. `fail` means that it certainly did not happen, `info` that nobody knows.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

EventType = Literal["invoke", "ok", "fail", "info"]


class HistoryError(ValueError):
    """A history that cannot be read: names the file, the line and what was expected."""


class Event(msgspec.Struct, omit_defaults=True, rename="camel"):
    """An operation's invocation or its completion.

    `time` is in nanoseconds since the start of the run, on the clock named by `clock`; across
    clocks `uncertainty_ns` widens both ends.
    """

    process: int | str
    type: EventType
    f: str
    key: str | None
    value: Any
    time: int
    clock: str | None = None
    uncertainty_ns: int = 0
    term: int | None = None
    """On a completion: the term in which the answering leader proposed or served it."""
    member: str | None = None
    """The member that the client was connected to; on a completion the one that was asked last."""
    intended: int | None = None
    """On an invocation at a constant rate: when it should have started. Latency counts from here."""
    error: str | None = None
    """On fail and info: what the client saw."""
    attempts: int = 1
    """On a completion: how many times the operation was sent, as one and the same request."""


_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """One line, without its newline."""
    return _encoder.encode(event)


def read_events(path: Path) -> Iterator[Event]:
    """Every event of an NDJSON file in order; blank lines are passed over.

    Raises HistoryError with file and line number where a line is not an event.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield _decoder.decode(line)
            except msgspec.DecodeError as error:
                raise HistoryError(f"{path}, line {number}: not a history event: {error}") from error


def write_events(path: Path, events: Iterable[Event]) -> int:
    """Writes the events one a line, and says how many there were."""
    count = 0
    with path.open("wb") as out:
        for event in events:
            out.write(_encoder.encode(event))
            out.write(b"\n")
            count += 1
    return count
