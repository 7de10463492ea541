"""What a leader knows of one follower, and how far ahead of its acknowledgements it may send.

probe: where the logs agree is unknown, so one append at a time, the next after an answer or a nudge.
replicate: the logs agree, so appends are pipelined up to a bound, `next` running ahead of `match`.
A rejection or a loss leads from replicate back to probe, an acceptance from probe to replicate.
"""

from collections import deque

from faultlab.contract.member import PeerProgress

from .messages import NodeId


class Progress:
    """One follower as the leader sees it."""

    __slots__ = (
        "_in_flight",
        "_match_at_nudge",
        "heard",
        "inquire",
        "match",
        "next",
        "node",
        "nudged",
        "paused",
        "probing",
        "round",
    )

    def __init__(self, node: NodeId, next_index: int) -> None:
        self.node = node
        self.match = 0
        """The follower has synced the leader's log up to here."""
        self.next = next_index
        """The next entry to send."""
        self.probing = True
        self.paused = False
        """Of a probe: sent, no answer yet."""
        self.inquire = False
        """An append without entries is due, to learn what became of those in flight."""
        self.nudged = False
        """Nudged since the last regular heartbeat."""
        self.round = 0
        """The latest read round that the follower has answered."""
        self.heard = 0
        """The leader's tick at which the follower was last heard."""
        self._in_flight: deque[int] = deque()
        self._match_at_nudge = -1

    def can_send(self, limit: int) -> bool:
        """Whether an append with entries may go now."""
        return not self.paused if self.probing else len(self._in_flight) < limit

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
        if index <= self.match:
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

    def nudge(self) -> None:
        """The follower answers heartbeats but lacks entries: messages may have been lost, so see to it."""
        self.nudged = True
        if self.probing:
            self.paused = False
        elif self.match == self._match_at_nudge:
            self.inquire = True
        self._match_at_nudge = self.match

    def snapshot(self) -> PeerProgress:
        """For the status document."""
        return PeerProgress(
            match_index=self.match,
            in_flight=int(self.paused) if self.probing else len(self._in_flight),
            state="probe" if self.probing else "replicate",
        )
