"""The settings of one core. Time is in ticks, whose length the host chooses."""

import msgspec

from .messages import NodeId
from .rules import Rule


class CoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one member's core behaves. Every member of a cluster has the same, save `id`."""

    id: NodeId
    election_ticks: int
    """A follower campaigns after a random number of ticks in [election_ticks, 2 * election_ticks)."""
    heartbeat_ticks: int
    """Ticks between a leader's heartbeats; less than election_ticks."""
    pre_vote: bool = True
    """Ask whether an election could be won before raising the term for it (thesis, 9.6)."""
    check_quorum: bool = True
    """A leader that has not heard a majority for election_ticks steps down (thesis, 6.2)."""
    votes_unconfigured: bool = True
    """Grant votes before it is known who votes. A host that gives votes only to members that have caught up
    (membership.py) needs none of those, and switches them off: what lost its data then elects nobody."""
    lease: bool = False
    """Serve reads without a round while a majority cannot have elected another (thesis, 6.4.1; lease.py)."""
    tick_ns: int = 10_000_000
    """How long a tick is: what turns election_ticks into the lease's time."""
    max_clock_drift_percent: int = 10
    """By how much the rates of two members' monotonic clocks may differ: what the lease assumes."""
    priorities: dict[str, int] = {}
    """By member name, 0 where not given: leaders hand over to who has a higher one, and campaigns wait."""
    max_inflight_messages: int = 64
    """Appends with entries that a leader sends to one follower ahead of its acknowledgements."""
    max_inflight_bytes: int = 16 * 1024 * 1024
    """Their payload bytes; one append goes always."""
    snapshot_chunk_bytes: int = 256 * 1024
    """Of a snapshot file in one message."""
    max_inflight_chunks: int = 4
    """Parts of a snapshot that a leader sends to one follower ahead of its answers."""
    max_entries_bytes_per_message: int = 512 * 1024
    """Payload bytes in one append; one entry goes whatever its size."""
    max_uncommitted_bytes: int = 64 * 1024 * 1024
    """What may be proposed but not committed, payload and ENTRY_OVERHEAD_BYTES an entry (log.py); beyond it
    `propose` raises Busy. One batch goes where nothing waits."""
    max_waiting_reads: int = 65536
    """Reads waiting for their round, beyond which `read_index` raises Busy."""
    max_committed_per_ready: int = 4096
    """Entries to apply in one Ready; the rest come with the next."""
    break_rule: Rule | None = None
    """Tests of the lab only: the guard that is switched off."""

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_ticks < self.election_ticks:
            raise ValueError(
                f"heartbeat_ticks {self.heartbeat_ticks} must be at least 1 and less than"
                f" election_ticks {self.election_ticks}"
            )
        if self.lease and not self.check_quorum:
            raise ValueError("lease needs check_quorum: without it a leader cut off would never step down")
        if not 0 <= self.max_clock_drift_percent < 100:
            raise ValueError(f"max_clock_drift_percent {self.max_clock_drift_percent} must be in [0, 100)")
        for name in (
            "tick_ns",
            "max_inflight_messages",
            "max_inflight_bytes",
            "snapshot_chunk_bytes",
            "max_inflight_chunks",
            "max_entries_bytes_per_message",
            "max_uncommitted_bytes",
            "max_waiting_reads",
            "max_committed_per_ready",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
