"""A run's events in words: one line each, for people who look for what went wrong."""

from collections.abc import Iterable, Iterator

from faultlab.raft.errors import MalformedMessage
from faultlab.raft.forwarding import ANSWER_CHANNEL, REQUEST_CHANNEL
from faultlab.raft.messages import (
    Append,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    Message,
    VoteRequest,
    VoteResponse,
    decode,
)
from faultlab.raft.node import RAFT_CHANNEL

from .trace import TraceEvent

_HEARTBEATS = (Heartbeat, HeartbeatResponse)
_FRAMES = frozenset({"sent", "received", "dropped"})


def seconds(at_ns: int) -> str:
    """A moment of the run: `1.234567`."""
    return f"{at_ns / 1e9:.6f}"


def frame_in_words(event: TraceEvent) -> str:
    """What a frame says: `append 12..15 of term 3, commit 11`."""
    channel = int(event.text or 0)
    if channel == RAFT_CHANNEL:
        try:
            messages = decode(event.data)
        except MalformedMessage:
            return f"{len(event.data)} bytes that are no messages"
        return "; ".join(message_in_words(message) for message in messages)
    named = {REQUEST_CHANNEL: "requests passed on", ANSWER_CHANNEL: "answers to requests"}
    return f"{named.get(channel, f'channel {channel}')} ({len(event.data)} bytes)"


def is_heartbeat(event: TraceEvent) -> bool:
    """Whether a frame holds nothing but heartbeats or answers to them."""
    if int(event.text or 0) != RAFT_CHANNEL:
        return False
    try:
        return all(isinstance(message, _HEARTBEATS) for message in decode(event.data))
    except MalformedMessage:
        return False


def message_in_words(message: Message) -> str:
    """One Raft message, with its term."""
    match message:
        case Append():
            first, last = message.prev_index + 1, message.prev_index + len(message.entries)
            what = f"append {_range(first, last)}" if message.entries else f"append nothing after {first - 1}"
            return f"{what}, term {message.term}, commit {message.commit}"
        case AppendResponse():
            if message.rejected:
                return f"nothing matches at {message.index}, try {message.hint_index}, term {message.term}"
            return f"has all up to {message.index}, term {message.term}"
        case Heartbeat():
            return f"heartbeat, term {message.term}, commit {message.commit}, round {message.round}"
        case HeartbeatResponse():
            return f"hears the heartbeat, term {message.term}, round {message.round}"
        case VoteRequest():
            asked = "would I get a vote" if message.pre_vote else "a vote, please"
            return f"{asked} for term {message.term}? last {message.last_index} of term {message.last_term}"
        case VoteResponse():
            kind = "pre-vote" if message.pre_vote else "vote"
            return f"{kind} {'granted' if message.granted else 'refused'}, term {message.term}"
        case _:
            return f"{_plain(type(message).__name__)}, term {message.term}"


def in_words(event: TraceEvent) -> str:
    """An event without its time: `m2 becomes leader of term 5`."""
    who = event.member
    match event.kind:
        case "sent":
            return f"{who} --> {event.other}  #{event.number} {frame_in_words(event)}"
        case "received":
            return f"{who} ->> {event.other}  #{event.number} arrives"
        case "dropped":
            return f"{who} -x  {event.other}  #{event.number} is lost"
        case "started":
            return (
                f"{who} starts as {event.other}, life {event.number}, term {event.term}, log to {event.index}"
            )
        case "stopped" | "crashed":
            return f"{who} {event.kind}{f': {event.text}' if event.text else ''}"
        case "paused":
            return f"{who} is paused"
        case "resumed":
            return f"{who} goes on"
        case "role":
            follows = f", follows {event.other}" if event.other and event.text != "leader" else ""
            return f"{who} is {event.text} in term {event.term}{follows}"
        case "commit":
            return f"{who} knows entries up to {event.index} as committed"
        case "configuration":
            return f"{who} goes by configuration {event.index}: {event.text}"
        case "snapshot":
            return f"{who} has a snapshot up to {event.index}"
        case "installed":
            return f"{who} has installed a snapshot up to {event.index}"
        case "action":
            return f"FAULT {event.text}" + (f" ({who})" if who else "")
        case "undone":
            return f"END OF FAULT {event.text}" + (f" ({who})" if who else "")
        case "disk":
            return f"{who}'s disk: {event.text}"
        case "invoke":
            return f"client {event.number} asks {who}: {event.text}"
        case "complete":
            return f"client {event.number} hears: {event.text}"
        case "phase":
            return f"=== {event.text} ==="
        case "mark":
            return f"mark: {event.text}" + (f" ({who})" if who else "")
        case "violation":
            return f"VIOLATION {event.text}"


def lines(events: Iterable[TraceEvent], *, heartbeats: bool = False) -> Iterator[str]:
    """One line an event, with its time in seconds; heartbeats are left out unless asked for."""
    left_out: set[int] = set()
    for event in events:
        if event.kind == "sent" and not heartbeats and is_heartbeat(event):
            left_out.add(event.number)
        if event.kind in _FRAMES and event.number in left_out:
            continue
        yield f"{seconds(event.at_ns):>12}  {in_words(event)}"


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}..{last}"


def _plain(name: str) -> str:
    """`TimeoutNow` as `timeout now`."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
