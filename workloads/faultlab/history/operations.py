"""From events to operations: what was asked, when, and how it ended.

A history is well formed when each process has at most one open operation, each completion answers
the invocation before it (same `f`, same key), a process's times never go back, and a process never
appears again after `info`. Anything else is refused with the line's number, because a checker that
guesses at what was meant proves nothing. The order of lines of *different* processes does not
matter: time says who came first.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from faultlab.history.events import Event, HistoryError

Outcome = Literal["ok", "fail", "info"]


class Operation(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One invocation with its completion, its ends already widened by the events' uncertainty.

    `start` and `end` are nanoseconds since the start of the run; the operation took effect (if it
    did) at some moment in between, both included. `end` is None where nobody knows: it may take
    effect at any time after `start`, or never.
    """

    index: int
    """Number of the invocation among the history's events, from 1: the line, where no line is blank."""
    process: int
    f: str
    key: str | None
    value: Any
    """What was asked: the invocation's value."""
    result: Any
    """What was answered: the value of an ok completion, else None."""
    outcome: Outcome
    start: int
    end: int | None
    member: str | None = None
    error: str | None = None

    def describe(self) -> str:
        """The operation in a few words, for messages."""
        what = f"{self.f} {self.key}" if self.key is not None else self.f
        return f"process {self.process}, {what} (event {self.index})"


def pair_events(events: Iterable[Event]) -> list[Operation]:
    """All operations of the integer processes, in order of their invocations.

    Operations still open at the end are `info`. Processes that are not integers (`"nemesis"`) are
    passed over. Raises HistoryError at the first event that is not well formed.
    """
    pairs: list[tuple[int, Event, Event | None]] = []
    opened: dict[int, int] = {}
    last_time: dict[int, int] = {}
    gone: dict[int, int] = {}
    for number, event in enumerate(events, start=1):
        process = event.process
        if not isinstance(process, int):
            continue
        if process in gone:
            raise _broken(number, event, f"its operation ended as info at event {gone[process]}, so the "
                          "process must never appear again; give its client a new number")  # fmt: skip
        if event.time < last_time.get(process, event.time):
            raise _broken(number, event, f"its time {event.time} lies before the process's previous one, "
                          f"{last_time[process]}")  # fmt: skip
        if event.uncertainty_ns < 0:
            raise _broken(number, event, f"uncertaintyNs is {event.uncertainty_ns}; it must be 0 or more")
        last_time[process] = event.time
        if event.type == "invoke":
            if process in opened:
                raise _broken(number, event, "the process still has an open operation, invoked at event "
                              f"{pairs[opened[process]][0]}")  # fmt: skip
            opened[process] = len(pairs)
            pairs.append((number, event, None))
            continue
        position = opened.pop(process, None)
        if position is None:
            raise _broken(number, event, f"{event.type} completes nothing: the process has no open operation")
        invoked_at, invoke, _ = pairs[position]
        if invoke.f != event.f or invoke.key != event.key:
            raise _broken(number, event, f"completes {event.f} {event.key!r}, but event {invoked_at} invoked "
                          f"{invoke.f} {invoke.key!r}")  # fmt: skip
        if event.type == "info":
            gone[process] = number
        pairs[position] = (invoked_at, invoke, event)
    return [_operation(number, invoke, completion) for number, invoke, completion in pairs]


def _operation(number: int, invoke: Event, completion: Event | None) -> Operation:
    outcome: Outcome = "info"
    end = result = error = None
    if completion is not None and completion.type != "invoke":
        outcome = completion.type
        error = completion.error
        if outcome != "info":
            end = completion.time + completion.uncertainty_ns
        if outcome == "ok":
            result = completion.value
    assert isinstance(invoke.process, int)
    return Operation(
        number, invoke.process, invoke.f, invoke.key, invoke.value, result, outcome,
        invoke.time - invoke.uncertainty_ns, end, invoke.member, error,
    )  # fmt: skip


def _broken(number: int, event: Event, why: str) -> HistoryError:
    what = f"{event.type} {event.f}" + (f" {event.key}" if event.key is not None else "")
    return HistoryError(f"event {number} (process {event.process}, {what}): {why}")
