"""Who leads, decided from a Lease's record: no I/O, and no clock but the caller's.

The rule is client-go's: whoever does not hold the lock waits for a whole lease duration from the moment
at which it *saw* the record change, on its own monotonic clock; the times in the record are for people.
The holder counts from when it *sent* its last successful write, which is before anybody can have seen
it. So the holder stops before the next one starts, whatever the machines' clocks say, as long as they
run at about the same speed.

What may never happen: `held` is true in two processes at once.
"""

from dataclasses import dataclass, replace
from typing import Final

DURATION_S: Final = 5
"""Without a renewal for this long, another one may take the lock."""
MARGIN_S: Final = 1.0
"""So much sooner the holder itself stops: what it has sent by then needs time to arrive."""
LONGEST_S: Final = 60
"""A record's own duration is honoured up to this."""
RENEW_S: Final = 1.0
"""Between two renewals."""
POLL_S: Final = 0.5
"""Between two looks of one who waits."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a Lease's spec says; `version` is its resourceVersion."""

    holder: str
    """Empty once it was released."""
    duration_s: int
    acquired_at: str
    renewed_at: str
    transitions: int
    version: str = ""


class Election:
    """One process' part in it. All `now` are seconds of its monotonic clock."""

    def __init__(self, identity: str, duration_s: int = DURATION_S, margin_s: float = MARGIN_S) -> None:
        self.identity = identity
        self._duration_s = duration_s
        self._margin_s = margin_s
        self._seen: Record | None = None
        self._seen_at = 0.0
        self._held_until = float("-inf")

    @property
    def seen(self) -> Record | None:
        """The record as it was last seen."""
        return self._seen

    def held(self, now: float) -> bool:
        """Whether this process leads."""
        return now < self._held_until

    def lost(self) -> bool:
        """Whether the last record seen is not this process': who had the lock has it no more."""
        return self._seen is not None and self._seen.holder != self.identity

    def see(self, record: Record | None, now: float) -> None:
        """What was read from the API server just now; None if there is no Lease."""
        if record != self._seen:
            self._seen, self._seen_at = record, now
        if self.lost():
            self._held_until = float("-inf")

    def wrote(self, record: Record, sent_at: float, now: float) -> None:
        """The API server took `record`, which this process had sent at `sent_at`."""
        self.see(record, now)
        if record.holder == self.identity:
            self._held_until = sent_at + self._duration_s - self._margin_s
        else:
            self._held_until = float("-inf")

    def pause(self, now: float) -> float:
        """Seconds until this process may take or renew the lock; 0 if it may now."""
        if self._seen is None or self._seen.holder in ("", self.identity):
            return 0.0
        patience = max(self._duration_s, min(self._seen.duration_s, LONGEST_S))
        return max(0.0, self._seen_at + patience - now)

    def claim(self, wall: str) -> Record:
        """The record to write when `pause` is 0; `wall` is the time that it is to show."""
        if self._seen is not None and self._seen.holder == self.identity:
            return replace(self._seen, renewed_at=wall, duration_s=self._duration_s)
        return Record(
            holder=self.identity,
            duration_s=self._duration_s,
            acquired_at=wall,
            renewed_at=wall,
            transitions=0 if self._seen is None else self._seen.transitions + 1,
            version="" if self._seen is None else self._seen.version,
        )

    def resignation(self, wall: str) -> Record | None:
        """The record to write at the end, for a successor that need not wait; None if another's is there."""
        if self._seen is None or self._seen.holder != self.identity:
            return None
        return replace(self._seen, holder="", renewed_at=wall)
