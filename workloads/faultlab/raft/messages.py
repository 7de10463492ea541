"""What members say to each other and what they keep: entries, hard state, and the wire form of messages.

Each message is a MessagePack array `[tag, sender, to, term, ...]`; members exchange lists of them. One
member's entries, votes, commit index and snapshot survive it as `Entry`, `HardState` and `SnapshotMeta`.
"""

from enum import IntEnum
from typing import Annotated, TypeAlias

import msgspec

from .configuration import Configuration
from .configuration import NodeId as NodeId
from .errors import MalformedMessage

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A term, an index, a size. What a peer says beyond is malformed, so that one more can still be encoded."""


class EntryKind(IntEnum):
    """What an entry's data is."""

    COMMAND = 0
    """For the state machine; empty data is the no-op of a new leader."""
    CONFIGURATION = 1
    """An encoded `Configuration`, in force from when it is appended."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One place in the log. Indexes start at 1."""

    index: Number
    term: Number
    data: bytes
    kind: Number = 0
    """An `EntryKind`."""


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What must survive a crash besides the entries (paper, figure 2). `commit` may lag behind safely."""

    term: int = 0
    vote: NodeId | None = None
    commit: int = 0
    promise_ns: int = 0
    """The longest promise to a leader that may still bind (promise.py)."""


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A state machine's state after the entry at `index`; of index 0, where every member begins."""

    index: Number = 0
    term: Number = 0
    configuration: Configuration = Configuration()
    """The latest up to `index`."""
    size: Number = 0
    """Bytes of the snapshot file."""
    checksum: Number = 0
    """CRC32C of the file's bytes. The same state gives the same bytes on every member."""


class VoteRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """A candidate asks for a vote in `term`; with `pre_vote`, whether it would get one (thesis, 9.6).

    `transfer`: the leader itself has asked for this campaign (thesis, 3.10), so nobody protects it.
    """

    sender: NodeId
    to: NodeId
    term: Number
    last_index: Number
    last_term: Number
    pre_vote: bool
    transfer: bool = False


class VoteResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """A grant carries the term asked for, a refusal the voter's own."""

    sender: NodeId
    to: NodeId
    term: Number
    granted: bool
    pre_vote: bool


class Append(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """AppendEntries: `entries` follow the one at `prev_index`, whose term is `prev_term`."""

    sender: NodeId
    to: NodeId
    term: Number
    prev_index: Number
    prev_term: Number
    commit: Number
    entries: list[Entry]


class AppendResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """Accepted: the sender has persisted the leader's log up to `index`.

    Rejected: nothing matches at `index` (the request's `prev_index`); the logs may agree at
    `hint_index` or below it, where the sender's term is `hint_term`, and certainly not above.
    """

    sender: NodeId
    to: NodeId
    term: Number
    index: Number
    rejected: bool
    hint_index: Number
    hint_term: Number


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """The leader lives. `commit` is never beyond what the receiver is known to have.

    `round` numbers the leader's heartbeats: those to all members at one time have the same.
    """

    sender: NodeId
    to: NodeId
    term: Number
    commit: Number
    round: Number


class HeartbeatResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """The sender knew of no later term when the heartbeat with `round` reached it."""

    sender: NodeId
    to: NodeId
    term: Number
    round: Number
    promise_ns: Number = 0
    """For so long from then on, on its own clock, it grants nobody a vote (promise.py)."""


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=7):
    """The leader asks the receiver to campaign at once and take over (thesis, 3.10)."""

    sender: NodeId
    to: NodeId
    term: Number


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=8):
    """A part of the leader's snapshot, from byte `offset` on (thesis, figure 5.3)."""

    sender: NodeId
    to: NodeId
    term: Number
    meta: SnapshotMeta
    offset: Number
    data: bytes


class SnapshotResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=9):
    """Of the snapshot at `index` the sender has written all before byte `offset`, and wants it from there.

    `rejected`: the part that this answers began elsewhere. A snapshot that is complete and durable is
    answered by an AppendResponse for its index.
    """

    sender: NodeId
    to: NodeId
    term: Number
    index: Number
    offset: Number
    rejected: bool


class ReadIndexRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=10):
    """A follower asks for an index at which its reads are linearizable (thesis, 6.4)."""

    sender: NodeId
    to: NodeId
    term: Number
    number: Number


class ReadIndexResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=11):
    """The reads of request `number` are linearizable once everything up to `index` is applied."""

    sender: NodeId
    to: NodeId
    term: Number
    number: Number
    index: Number


Message: TypeAlias = (
    VoteRequest
    | VoteResponse
    | Append
    | AppendResponse
    | Heartbeat
    | HeartbeatResponse
    | TimeoutNow
    | InstallSnapshot
    | SnapshotResponse
    | ReadIndexRequest
    | ReadIndexResponse
)

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
