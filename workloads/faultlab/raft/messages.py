"""What members say to each other and what they keep: entries, hard state, and the wire form of messages.

Each message is a MessagePack array `[tag, sender, to, term, ...]`; members exchange lists of them. One
member's entries, votes and commit index survive it as `Entry` and `HardState`.

Snapshots add an `InstallSnapshot` message here, leadership transfer a `TimeoutNow` (thesis, 3.10 and 5).
"""

from typing import TypeAlias

import msgspec

from .errors import MalformedMessage

NodeId: TypeAlias = str
"""A member's name, `demo-0`."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One place in the log. Indexes start at 1; empty `data` is the no-op of a new leader."""

    index: int
    term: int
    data: bytes


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What must survive a crash besides the entries (paper, figure 2). `commit` may lag behind safely."""

    term: int = 0
    vote: NodeId | None = None
    commit: int = 0


class VoteRequest(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A candidate asks for a vote in `term`; with `pre_vote`, whether it would get one (thesis, 9.6)."""

    sender: NodeId
    to: NodeId
    term: int
    last_index: int
    last_term: int
    pre_vote: bool


class VoteResponse(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A grant carries the term asked for, a refusal the voter's own."""

    sender: NodeId
    to: NodeId
    term: int
    granted: bool
    pre_vote: bool


class Append(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """AppendEntries: `entries` follow the one at `prev_index`, whose term is `prev_term`."""

    sender: NodeId
    to: NodeId
    term: int
    prev_index: int
    prev_term: int
    commit: int
    entries: list[Entry]


class AppendResponse(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Accepted: the sender has persisted the leader's log up to `index`.

    Rejected: nothing matches at `index` (the request's `prev_index`); the logs may agree at
    `hint_index` or below it, where the sender's term is `hint_term`, and certainly not above.
    """

    sender: NodeId
    to: NodeId
    term: int
    index: int
    rejected: bool
    hint_index: int
    hint_term: int


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The leader lives. `commit` is never beyond what the receiver is known to have; `round` serves reads."""

    sender: NodeId
    to: NodeId
    term: int
    commit: int
    round: int


class HeartbeatResponse(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The sender knew of no later term when the heartbeat with `round` reached it."""

    sender: NodeId
    to: NodeId
    term: int
    round: int


Message: TypeAlias = VoteRequest | VoteResponse | Append | AppendResponse | Heartbeat | HeartbeatResponse

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Message])


def encode(messages: list[Message]) -> bytes:
    """The wire form of a batch; framing is the transport's."""
    return _encoder.encode(messages)


def decode(data: bytes | bytearray | memoryview) -> list[Message]:
    """The batch that `encode` made; raises MalformedMessage for anything else."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(
            f"{len(data)} bytes from a peer are not a batch of Raft messages: {error}"
        ) from error
