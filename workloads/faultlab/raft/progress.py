"""What a leader knows of one follower, and how far ahead of its acknowledgements it may send.

probe: where the logs agree is unknown, so one append at a time, the next after an answer or a nudge.
replicate: the logs agree, so appends are pipelined up to a bound, `next` running ahead of `match`.
snapshot: what the follower lacks is compacted, so it gets the snapshot (snapshots.py) and no appends.
A rejection or a loss leads from replicate back to probe, an acceptance from the others to replicate.
"""

from collections import deque
from typing import Literal

from faultlab.contract.member import PeerProgress

from .config import CoreConfig
from .log import RaftLog
from .messages import NodeId
from .snapshots import SnapshotSender


class Progress:
    """One follower as the leader sees it."""

    __slots__ = (
        "_in_flight",
        "_match_at_nudge",
        "_round_began",
        "_round_end",
        "caught_up",
        "heard",
        "inquire",
        "match",
        "next",
        "node",
        "nudged",
        "paused",
        "probing",
        "round",
        "sending",
    )

    def __init__(self, node: NodeId, next_index: int, now: int = 0) -> None:
        self.node = node
        self.match = 0
        """The follower has synced the leader's log up to here."""
        self.next = next_index
        """The next entry to send."""
        self.probing = True
        self.paused = False
        """Of a probe: sent, no answer yet."""
        self.sending: SnapshotSender | None = None
        """Of snapshot: how far the follower has it."""
        self.inquire = False
        """An append without entries is due, to learn what became of those in flight."""
        self.nudged = False
        """Nudged since the last regular heartbeat."""
        self.round = 0
        """The latest heartbeat that the follower has answered."""
        self.heard = now
        """The leader's tick at which the follower was last heard."""
        self.caught_up = False
        """Of a learner: its latest round took less than an election timeout (thesis, 4.2.1)."""
        self._round_began = now
        self._round_end = next_index - 1
        self._in_flight: deque[int] = deque()
        self._match_at_nudge = -1

    def can_send(self, config: CoreConfig, log: RaftLog) -> bool:
        """Whether an append with entries may go now."""
        if self.probing:
            return not self.paused and self.sending is None
        in_flight = self._in_flight
        return not in_flight or (
            len(in_flight) < config.max_inflight_messages
            and log.bytes_between(self.match, self.next - 1) < config.max_inflight_bytes
        )

    def sent(self, last_index: int) -> None:
        """An append with entries up to `last_index` has gone."""
        if self.probing:
            self.paused = True
            return
        self.next = last_index + 1
        self._in_flight.append(last_index)

    def accepted(self, index: int) -> bool:
        """The follower has everything up to `index`; whether that was news."""
        news = index > self.match
        if news:
            self.match = index
        if self.sending is not None:
            if self.match < self.sending.meta.index:
                return news
            self.sending = None
        in_flight = self._in_flight
        while in_flight and in_flight[0] <= index:
            in_flight.popleft()
        if self.probing:
            self.probing = self.paused = False
            self.next = self.match + 1
        elif self.next <= self.match:
            self.next = self.match + 1
        return news

    def rejected(self, index: int, agree: int) -> bool:
        """The follower has nothing that matches `index`; the logs agree at `agree` at most.

        Returns whether that was news; an answer that came late is none.
        """
        if index <= self.match or self.sending is not None:
            # Late, or of a follower that lost what it had synced: not asked again before the next nudge.
            return False
        if self.probing:
            if index != self.next - 1:
                return False
            self.next = max(min(index, agree + 1), self.match + 1)
        else:
            self.probing = True
            self.inquire = False
            self.next = self.match + 1
            self._in_flight.clear()
        self.paused = False
        return True

    def send_snapshot(self, sender: SnapshotSender) -> None:
        """What the follower needs next is compacted."""
        self.sending = sender
        self.probing = True
        self.paused = self.inquire = False
        self._in_flight.clear()

    def nudge(self) -> None:
        """The follower answers heartbeats but lacks entries: messages may have been lost, so see to it."""
        self.nudged = True
        if self.sending is not None:
            self.sending.nudge()
        elif self.probing:
            self.paused = False
        elif self.match == self._match_at_nudge:
            self.inquire = True
        self._match_at_nudge = self.match

    def count_round(self, now: int, last_index: int, election_ticks: int) -> None:
        """A learner has got on: a round replicates what the log held when it began (thesis, 4.2.1)."""
        if self.match >= self._round_end:
            self.caught_up = now - self._round_began < election_ticks
            self._round_began = now
            self._round_end = last_index

    def is_recent(self, now: int, config: CoreConfig) -> bool:
        """Whether the follower was heard within an election timeout, and gets entries as they come."""
        return not self.probing and now - self.heard < config.election_ticks

    def snapshot(self, learner: bool = False) -> PeerProgress:
        """For the status document."""
        state: Literal["probe", "replicate", "snapshot"] = "replicate"
        in_flight = len(self._in_flight)
        if self.sending is not None:
            state, in_flight = "snapshot", self.sending.in_flight
        elif self.probing:
            state, in_flight = "probe", int(self.paused)
        return PeerProgress(match_index=self.match, in_flight=in_flight, state=state, learner=learner)
