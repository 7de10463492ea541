"""A run as a space-time diagram (Lamport 1978): one self-contained HTML page.

Members are lanes, time runs to the right, messages are arrows from lane to lane. Lanes are coloured by role
and carry terms, commits, crashes, pauses; faults stand above them, clients' operations below. The page
(assets/diagram.html) draws what it is given as JSON, can be zoomed and asked for each message's words.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import msgspec

from .trace import TraceEvent
from .words import frame_in_words, in_words, is_heartbeat

MAX_MESSAGES = 20_000
"""The last ones are drawn, which is where a violation is; the page says how many are left out."""
_MARKS = frozenset({"configuration", "snapshot", "installed", "disk", "mark", "violation"})
_DATA = "/*DATA*/"


class Headline(msgspec.Struct, frozen=True, rename="camel"):
    """What the page says above the diagram."""

    title: str
    verdict: str
    """`ok`, or what was violated."""
    facts: dict[str, str]
    """Seed, hash, options and the like, in the order to be shown."""


def render(headline: Headline, events: Sequence[TraceEvent]) -> str:
    """The page. `events` are those of one run, in the order of time."""
    document = {"headline": msgspec.to_builtins(headline), **diagram_data(events)}
    page = files(__package__).joinpath("assets/diagram.html").read_text()
    # "</" would end the script that the data stands in.
    return page.replace(_DATA, json.dumps(document, separators=(",", ":")).replace("</", "<\\/"))


def diagram_data(events: Sequence[TraceEvent]) -> dict[str, Any]:
    """What the page draws; times are nanoseconds, members are numbers of lanes."""
    lanes = sorted({event.member for event in events if event.kind in ("started", "sent")}, key=_natural)
    lane_of = {name: place for place, name in enumerate(lanes)}
    end = max((event.at_ns for event in events), default=0)
    messages, left_out = _messages(events, lane_of, end)
    return {
        "lanes": lanes,
        "end": end,
        "spans": _spans(events, lane_of, end),
        "messages": messages,
        "leftOut": left_out,
        "commits": [
            [lane_of[event.member], event.at_ns, event.index]
            for event in events
            if event.kind == "commit" and event.member in lane_of
        ],
        "marks": [
            [lane_of.get(event.member, -1), event.at_ns, event.kind, in_words(event)]
            for event in events
            if event.kind in _MARKS
        ],
        "crashes": [
            [lane_of[event.member], event.at_ns, in_words(event)]
            for event in events
            if event.kind in ("crashed", "stopped") and event.member in lane_of
        ],
        "faults": _faults(events, end),
        "operations": _operations(events, end),
        "phases": [[event.at_ns, event.text] for event in events if event.kind == "phase"],
    }


def _messages(events: Sequence[TraceEvent], lane_of: dict[str, int], end: int) -> tuple[list[list[Any]], int]:
    """[from lane, to lane, sent at, arrived at, what, heartbeat, lost]; and how many are left out."""
    sent: dict[int, TraceEvent] = {}
    drawn: list[list[Any]] = []
    fates: dict[int, list[TraceEvent]] = {}
    for event in events:
        if event.kind == "sent":
            sent[event.number] = event
        elif event.kind in ("received", "dropped"):
            fates.setdefault(event.number, []).append(event)
    kept = list(sent)[-MAX_MESSAGES:]
    for number in kept:
        event = sent[number]
        if event.member not in lane_of or event.other not in lane_of:
            continue
        common = [lane_of[event.member], lane_of[event.other], event.at_ns]
        said = [frame_in_words(event), int(is_heartbeat(event))]
        known = [(fate.at_ns, int(fate.kind == "dropped")) for fate in fates.get(number, [])]
        drawn += [[*common, at_ns, *said, fate] for at_ns, fate in known or [(end, 2)]]
    return drawn, len(sent) - len(kept)


def _spans(events: Sequence[TraceEvent], lane_of: dict[str, int], end: int) -> list[list[Any]]:
    """[lane, from, to, state, term]: what each machine was, without a gap."""
    since: dict[str, tuple[int, str, int]] = {}
    paused: dict[str, str] = {}
    spans: list[list[Any]] = []

    def turn(member: str, at: int, state: str, term: int) -> None:
        before = since.get(member)
        if before is not None and at > before[0]:
            spans.append([lane_of[member], before[0], at, before[1], before[2]])
        since[member] = (at, state, term)

    for event in events:
        member = event.member
        if member not in lane_of:
            continue
        term = since.get(member, (0, "", 0))[2]
        if event.kind == "started":
            turn(member, event.at_ns, "follower", event.term)
        elif event.kind in ("crashed", "stopped"):
            turn(member, event.at_ns, "down", term)
        elif event.kind == "role":
            turn(member, event.at_ns, event.text, event.term)
        elif event.kind == "paused":
            paused[member] = since.get(member, (0, "follower", 0))[1]
            turn(member, event.at_ns, "paused", term)
        elif event.kind == "resumed" and member in paused:
            turn(member, event.at_ns, paused.pop(member), term)
    for member in lane_of:
        if member in since:
            turn(member, end, "", 0)
    return spans


def _faults(events: Sequence[TraceEvent], end: int) -> list[list[Any]]:
    """[from, to, words]; one that has no end is drawn for a moment."""
    faults: dict[int, list[Any]] = {}
    for event in events:
        if event.kind == "action":
            faults[event.number] = [event.at_ns, event.at_ns, in_words(event)]
        elif event.kind == "undone" and event.number in faults:
            faults[event.number][1] = min(event.at_ns, end)
    return list(faults.values())


def _operations(events: Sequence[TraceEvent], end: int) -> list[list[Any]]:
    """[process, from, to, what was asked, what was heard]."""
    asked: dict[int, TraceEvent] = {}
    operations: list[list[Any]] = []
    for event in events:
        if event.kind == "invoke":
            asked[event.number] = event
        elif event.kind == "complete" and event.number in asked:
            question = asked.pop(event.number)
            operations.append(
                [event.number, question.at_ns, event.at_ns, f"{question.member}: {question.text}", event.text]
            )
    for process, question in asked.items():
        operations.append([process, question.at_ns, end, f"{question.member}: {question.text}", "no answer"])
    return operations


def _natural(name: str) -> tuple[str, int]:
    """m2 before m10."""
    digits = name[len(name.rstrip("0123456789")) :]
    return name[: len(name) - len(digits)], int(digits or 0)
