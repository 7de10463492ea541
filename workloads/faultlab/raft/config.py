"""The settings of one core. Time is in ticks, whose length the host chooses."""

import msgspec

from faultlab.contract.member import BreakRule

from .messages import NodeId


class CoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one member's core behaves. Every member of a cluster has the same, save `id`."""

    id: NodeId
    voters: tuple[NodeId, ...]
    """All members, this one among them. Fixed: membership change comes with a later issue."""
    election_ticks: int
    """A follower campaigns after a random number of ticks in [election_ticks, 2 * election_ticks)."""
    heartbeat_ticks: int
    """Ticks between a leader's heartbeats; less than election_ticks."""
    pre_vote: bool = True
    """Ask whether an election could be won before raising the term for it (thesis, 9.6)."""
    check_quorum: bool = True
    """A leader that has not heard a majority for election_ticks steps down (thesis, 6.2)."""
    max_inflight_messages: int = 64
    """Appends with entries that a leader sends to one follower ahead of its acknowledgements."""
    max_entries_bytes_per_message: int = 512 * 1024
    """Payload bytes in one append; one entry goes whatever its size."""
    max_uncommitted_bytes: int = 64 * 1024 * 1024
    """Payload bytes proposed but not committed, beyond which `propose` raises Busy; one batch goes always."""
    max_waiting_reads: int = 65536
    """Reads waiting for their round, beyond which `read_index` raises Busy."""
    max_committed_per_ready: int = 4096
    """Entries to apply in one Ready; the rest come with the next."""
    break_rule: BreakRule | None = None
    """Tests of the lab only: the guard that is switched off."""

    def __post_init__(self) -> None:
        if self.id not in self.voters:
            raise ValueError(
                f"member {self.id!r} is not among the voters {list(self.voters)}; add it to them"
            )
        if len(set(self.voters)) != len(self.voters):
            raise ValueError(f"voters {list(self.voters)} name a member twice; name each once")
        if not 0 < self.heartbeat_ticks < self.election_ticks:
            raise ValueError(
                f"heartbeat_ticks {self.heartbeat_ticks} must be at least 1 and less than"
                f" election_ticks {self.election_ticks}"
            )
        for name in (
            "max_inflight_messages",
            "max_entries_bytes_per_message",
            "max_uncommitted_bytes",
            "max_waiting_reads",
            "max_committed_per_ready",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
