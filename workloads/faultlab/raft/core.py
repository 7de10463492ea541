"""Raft without I/O: messages and ticks in; a `Ready` out (Ongaro and Ousterhout 2014; Ongaro's thesis).

The host's loop, in the manner of etcd/raft:

    raft.step(message) | raft.tick() | raft.propose(payloads) | raft.read_index(context)
    while raft.has_ready():
        ready = raft.ready()       # see Ready for what the host owes it
        ...
        raft.persisted(index, term)   # once synced

The core never blocks, never looks at a clock and draws from the generator it was given, so the same
calls in the same order give the same Readys. It is not thread-safe. Messages may be lost, repeated
and reordered. Batching is the host's to win: everything between two calls of `ready` goes out as one
append per follower, one read round, one write.

Snapshots, membership change and leadership transfer come with a later issue: a snapshot replaces the
log's prefix (log.py), a membership the voters (quorum.py), a transfer adds a message (messages.py).
"""

import random
from collections.abc import Mapping

from faultlab.contract.member import PeerProgress, RaftRole

from .config import CoreConfig
from .messages import Entry, HardState, Message, NodeId
from .ready import Ready


class Raft:
    """One member's protocol state."""

    def __init__(
        self, config: CoreConfig, hard_state: HardState, entries: list[Entry], rng: random.Random
    ) -> None:
        """A member as it starts, or comes back with what it persisted: a follower that knows no leader.

        `entries` is the whole log from index 1 (kept, not copied). The first Readys hand out all
        committed entries again: the host's state starts empty. Raises BadState when `hard_state`
        and `entries` contradict each other.
        """
        raise NotImplementedError

    def tick(self) -> None:
        """One tick of time has passed."""
        raise NotImplementedError

    def step(self, message: Message) -> None:
        """Takes in a message; raises MalformedMessage if it is not for this member or not from a voter."""
        raise NotImplementedError

    def propose(self, payloads: list[bytes]) -> tuple[int, int]:
        """Appends one entry a payload (none of them empty) and returns (first index, term).

        A payload is chosen once the entry `committed` at its index has this term, and lost once
        another has it. Raises NotLeader, or Busy over max_uncommitted_bytes; then nothing happened.
        """
        raise NotImplementedError

    def read_index(self, context: int) -> None:
        """Asks for an index at which a read is linearizable (thesis, 6.4); `context` comes back with it.

        The answer is in a later Ready's `read_states` or `lost_reads`. Raises NotLeader, or Busy when
        max_waiting_reads wait; then nothing happened. A leader cut off answers neither until it steps
        down, so give each read a deadline. Reads asked for before the leader has committed an entry
        of its own term wait for that.
        """
        raise NotImplementedError

    def has_ready(self) -> bool:
        """Whether `ready` would have anything to say."""
        raise NotImplementedError

    def ready(self) -> Ready:
        """Everything to be done since the last call. Never the same work twice."""
        raise NotImplementedError

    def persisted(self, last_index: int, last_term: int) -> None:
        """The host has synced all Readys up to the one whose last entry has this index and term.

        A leader counts itself towards a majority only from here on. Calls come in the order of the
        Readys; one may cover several. A pair that no outstanding Ready ends with is ignored.
        """
        raise NotImplementedError

    @property
    def role(self) -> RaftRole:
        raise NotImplementedError

    @property
    def term(self) -> int:
        raise NotImplementedError

    @property
    def leader(self) -> NodeId | None:
        """Whom this member follows, itself when it leads, None when unknown."""
        raise NotImplementedError

    @property
    def commit(self) -> int:
        """The highest index known to be committed; 0 if none."""
        raise NotImplementedError

    @property
    def last_index(self) -> int:
        """The end of this member's log, synced or not; 0 if empty."""
        raise NotImplementedError

    @property
    def progress(self) -> Mapping[NodeId, PeerProgress]:
        """What this leader knows of each other voter; empty unless it leads."""
        raise NotImplementedError
