"""What a core hands to its host: the work of one turn, and the events that people watch."""

from typing import Literal, TypeAlias

import msgspec

from faultlab.contract.member import RaftRole

from .configuration import Configuration
from .messages import Entry, HardState, InstallSnapshot, Message, NodeId, SnapshotMeta

CoreEventType: TypeAlias = Literal[
    "RoleChanged",
    "LeaderLost",
    "ElectionStarted",
    "LeaderElected",
    "LeaderKnown",
    "ConfigurationChanged",
    "SnapshotInstalled",
    "SnapshotRefused",
    "LeadershipTransfer",
    "InvariantViolated",
]


class CoreEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that a person watching wants to know; the types mean what `MemberEvent` says of them."""

    type: CoreEventType
    term: int
    role: RaftRole | None = None
    """Of RoleChanged: the new role."""
    leader: NodeId | None = None
    """Of LeaderKnown and LeaderElected: the leader; of LeaderLost: the one lost; of LeadershipTransfer: the
    member that is to take over; of SnapshotRefused: who sent it."""
    index: int | None = None
    """ConfigurationChanged, SnapshotInstalled, SnapshotRefused: its index. InvariantViolated: the first
    concerned, if any."""
    detail: str | None = None
    """ElectionStarted: `preVote`, `vote` or `transfer`. LeaderLost, InvariantViolated: which, and where.
    SnapshotRefused: why.
    LeadershipTransfer: `begun` or `given up`. ConfigurationChanged: the members."""
    ticks: int | None = None
    """Of LeaderLost: how long nothing was heard; the host knows how long a tick is."""
    configuration: Configuration | None = None
    """Of ConfigurationChanged: the one in force now, committed or not."""


class SnapshotChunkRequest(msgspec.Struct, frozen=True, gc=False):
    """A leader's host is to read `length` bytes at `offset` of the snapshot `meta` and send them to `to`.

    It may do so whenever it likes, or never (the snapshot is gone): the core asks again when no answer comes,
    for the then latest snapshot if `meta` is neither that nor the one before it. A transfer begins with
    offset 0: the file should be verified before that part goes, as the follower can tell only at the end.
    """

    sender: NodeId
    to: NodeId
    term: int
    meta: SnapshotMeta
    offset: int
    length: int

    def message(self, data: bytes) -> InstallSnapshot:
        """What to send, once `data` has been read."""
        return InstallSnapshot(self.sender, self.to, self.term, self.meta, self.offset, data)


class ReceivedChunk(msgspec.Struct, frozen=True, gc=False):
    """A part of an incoming snapshot. Parts come in order and without gaps; `offset` 0 begins a new file."""

    meta: SnapshotMeta
    offset: int
    data: bytes


class Ready(msgspec.Struct, kw_only=True, gc=False):
    """The work of one turn. Do each Ready's parts in this order, and Readys in the order they came.

    Several may be under way at once: a later one's `messages` may go while an earlier one's entries
    are still being synced. What must hold:

    - `received` is written to the incoming snapshot file, in order.
    - `snapshot`: the incoming file is complete, and what came is what `meta` says. Make it durable (fsync,
      rename, fsync the directory), and let the log on disk begin anew behind its index, with nothing before
      or after: what it held contradicts the snapshot or ends before it. Then load the state machine from it;
      `committed` goes on behind its index. A file that is not what `meta` says cannot be sent back: end the
      member.
    - `entries`, then `hard_state`, go to one log on disk, in the order of the Readys.
    - `messages` may go at once, and so may what answers `chunks`.
    - `after_persist` goes only when `received` (written), `snapshot`, `entries` and `hard_state` of this
      Ready and all before it are synced (fdatasync); a Ready without any of them waits only for those before
      it. Then, if anything was synced, call `Raft.persisted` with the last entry of the last Ready synced
      that had any. What is addressed to this member itself (a sole voter's own vote) goes to `Raft.step`.
    - `committed` may be applied at once: a majority has them. This member itself may not have synced
      them yet; a host that applies them after syncing the same Ready applies only what it has.
    """

    hard_state: HardState | None = None
    """Set when it differs from the last one handed out."""
    entries: list[Entry]
    """To append; where the first one's index was appended before, that and all after it are replaced."""
    must_sync: bool = False
    """False when only the commit index moved (or nothing): then writing it may wait for the next sync."""
    committed: list[Entry]
    """To apply, in order from the snapshot's index on, each once in the life of this core."""
    messages: list[Message]
    after_persist: list[Message]
    chunks: list[SnapshotChunkRequest]
    received: list[ReceivedChunk]
    snapshot: SnapshotMeta | None = None
    read_states: list[tuple[int, int]]
    """(context, index): the read is linearizable once everything up to `index` is applied."""
    lost_reads: list[int]
    """Contexts of reads that will never be answered, for the leader is another: nothing happened."""
    events: list[CoreEvent]
