"""What a core hands to its host: the work of one turn, and the events that people watch."""

from typing import Literal, TypeAlias

import msgspec

from faultlab.contract.member import RaftRole

from .messages import Entry, HardState, Message, NodeId

CoreEventType: TypeAlias = Literal[
    "RoleChanged", "LeaderLost", "ElectionStarted", "LeaderElected", "LeaderKnown", "InvariantViolated"
]


class CoreEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a person watching wants to know; the types mean what `MemberEvent` says of them."""

    type: CoreEventType
    term: int
    role: RaftRole | None = None
    """Of RoleChanged: the new role."""
    leader: NodeId | None = None
    """Of LeaderKnown and LeaderElected: the leader; of LeaderLost: the one lost."""
    index: int | None = None
    """Of InvariantViolated, where it has one: the first index concerned."""
    detail: str | None = None
    """ElectionStarted: `preVote` or `vote`. LeaderLost, InvariantViolated: which, and where."""
    ticks: int | None = None
    """Of LeaderLost: how long nothing was heard; the host knows how long a tick is."""


class Ready(msgspec.Struct, kw_only=True):
    """The work of one turn. Do each Ready's parts in this order, and Readys in the order they came.

    Several may be under way at once: a later one's `messages` may go while an earlier one's entries
    are still being synced. What must hold:

    - `entries`, then `hard_state`, go to one log on disk, in the order of the Readys.
    - `messages` may go at once.
    - `after_persist` goes only when `entries` and `hard_state` of this Ready and all before it are
      synced (fdatasync); a Ready without either waits only for those before it. Then, if anything
      was synced, call `Raft.persisted` with the last entry of the last Ready synced that had any.
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
    """To apply, in order from index 1, each once in the life of this core; empty `data` is a no-op."""
    messages: list[Message]
    after_persist: list[Message]
    read_states: list[tuple[int, int]]
    """(context, index): the read is linearizable once everything up to `index` is applied."""
    lost_reads: list[int]
    """Contexts of reads that will never be answered, for this member leads no more: nothing happened."""
    events: list[CoreEvent]
