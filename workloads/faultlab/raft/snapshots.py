"""Snapshots in parts: how a leader sends one, and how a follower takes it in (thesis, 5.3 and figure 5.3).

The parts go out a few at a time. The follower takes them in order and answers with the offset it wants next,
so a transfer goes on where it was after a loss, and with another leader too: the same snapshot (index, term,
checksum) is the same bytes. A first part is sent alone, to learn where the follower is.

What came is compared with the checksum before anything is replaced by it. Bytes that are not what the leader
announced are the leader's fault, or the network's: they are dropped, and the snapshot is asked for from its
beginning.
"""

from typing import Literal

from .checksum import extend_crc32c
from .errors import MalformedMessage
from .messages import (
    AppendResponse,
    InstallSnapshot,
    NodeId,
    SnapshotMeta,
    SnapshotResponse,
)
from .ready import CoreEvent, ReceivedChunk, SnapshotChunkRequest
from .state import State

_NUDGES_BEFORE_RESENDING = 4
"""One comes with every heartbeat; a follower may well take that long for the parts in flight."""

_MAX_PARTS_LEFT = 1024
"""A leader's snapshot that came damaged is asked for again at once; the next time after 16 further parts were
left unanswered, then 64, and so on up to this many. A leader that hears nothing sends one with every fourth
heartbeat, so in the end minutes pass between two tries, and what is always damaged takes no bandwidth."""


class SnapshotSender:
    """How far one follower has got with one snapshot, as its leader knows."""

    __slots__ = (
        "_acked_at_nudge",
        "_chunk_bytes",
        "_limit",
        "_nudges",
        "_probe",
        "_rewound",
        "acked",
        "meta",
        "sent",
    )

    def __init__(self, meta: SnapshotMeta, chunk_bytes: int, limit: int) -> None:
        self.meta = meta
        self.acked = 0
        """The follower has all before this offset."""
        self.sent = 0
        """And was sent all before this."""
        self._chunk_bytes = chunk_bytes
        self._limit = limit
        self._probe: Literal["due", "sent", "answered"] = "due"
        self._rewound = -1
        self._acked_at_nudge = 0
        self._nudges = 0

    @property
    def in_flight(self) -> int:
        """How many parts wait for their answer."""
        return -(-(self.sent - self.acked) // self._chunk_bytes)

    @property
    def answering(self) -> bool:
        """Whether the follower has answered since it was last asked where it is."""
        return self._probe == "answered"

    def next_parts(self) -> list[tuple[int, int]]:
        """The (offset, length) of the parts to send now."""
        if self._probe == "due":
            self._probe = "sent"
            return [self._part()]
        parts: list[tuple[int, int]] = []
        while self._probe == "answered" and self.sent < self.meta.size and self.in_flight < self._limit:
            parts.append(self._part())
        return parts

    def _part(self) -> tuple[int, int]:
        part = self.sent, min(self._chunk_bytes, self.meta.size - self.sent)
        self.sent += part[1]
        return part

    def answered(self, response: SnapshotResponse) -> None:
        """The follower wants the snapshot from an offset on; raises MalformedMessage for one beyond it."""
        offset = response.offset
        if not 0 <= offset <= self.meta.size:
            raise MalformedMessage(
                f"{response.sender} wants byte {offset} of a snapshot of {self.meta.size} bytes"
            )
        self._probe = "answered"
        if response.rejected:
            # Each part behind a lost one is answered so: the first answer is acted on.
            if offset != self._rewound:
                self.acked = self.sent = self._rewound = offset
        elif offset > self.acked:
            self.acked = offset
            self.sent = max(self.sent, offset)
            self._rewound = -1

    def nudge(self) -> None:
        """The follower lives: if it has got no further for a few nudges, parts or answers were lost."""
        self._nudges = self._nudges + 1 if self.acked == self._acked_at_nudge else 0
        self._acked_at_nudge = self.acked
        if self._nudges == _NUDGES_BEFORE_RESENDING:
            self._nudges = 0
            self.sent = self.acked
            self._probe = "due"
            self._rewound = -1


class SnapshotReceiver:
    """The snapshot that a follower is being sent."""

    __slots__ = ("_checksum", "_damaged", "_leave", "_meta", "_next", "_state", "_term", "refused")

    def __init__(self, state: State) -> None:
        self._state = state
        self._meta: SnapshotMeta | None = None
        self._term = 0
        self._next = 0
        self._checksum = 0
        """Of what has come, all before `_next`."""
        self._damaged = 0
        """How often this snapshot of this leader was not what it had announced."""
        self._leave = 0
        """So many parts are left unanswered before it is tried again."""
        self.refused = 0
        """How many snapshots were not what had been announced, of all leaders."""

    def take(self, message: InstallSnapshot) -> None:
        """Takes the next part and answers; the last one installs the snapshot if it is what was announced."""
        state, log, meta = self._state, self._state.log, message.meta
        end = message.offset + len(message.data)
        if not 0 <= message.offset <= end <= meta.size or meta.index < 1 or meta.term > message.term:
            raise MalformedMessage(
                f"{message.sender} sent bytes {message.offset} to {end} of a snapshot of {meta.size} bytes"
                f" up to entry {meta.index} of term {meta.term}; expected them within it"
            )
        if meta.index <= log.commit or log.matches(meta.index, meta.term):
            log.commit = max(log.commit, meta.index)
            self._accept(message.sender, meta.index)
            return
        if not self._is_current(meta):
            if self._meta is not None and message.term == self._term and meta.index < self._meta.index:
                return  # Late: this leader has gone on to a newer one. A new leader may have an older.
            self._meta = meta
            self._start_again(damaged=0)
        elif message.term != self._term:
            self._damaged = self._leave = 0  # what was damaged may have been the leader's before
        self._term = message.term
        if self._leave:
            self._leave -= 1
            return
        if message.offset != self._next or (not message.data and meta.size > self._next):
            self._answer(message.sender, meta, rejected=True)
            return
        self._checksum = extend_crc32c(self._checksum, message.data)
        if end == meta.size and self._checksum != meta.checksum:
            self._refuse(message)
            return
        state.received.append(ReceivedChunk(meta, message.offset, message.data))
        self._next = end
        if end == meta.size:
            self._install(meta)
            self._accept(message.sender, meta.index)
        else:
            self._answer(message.sender, meta, rejected=False)

    def _is_current(self, meta: SnapshotMeta) -> bool:
        mine = self._meta
        return mine is not None and (mine.index, mine.term, mine.size, mine.checksum) == (
            meta.index,
            meta.term,
            meta.size,
            meta.checksum,
        )

    def _start_again(self, damaged: int) -> None:
        self._next = self._checksum = 0
        self._damaged = damaged
        self._leave = min(4**damaged, _MAX_PARTS_LEFT) if damaged > 1 else 0

    def _refuse(self, message: InstallSnapshot) -> None:
        """Drops what has come; the next part of offset 0 has the host begin a new file."""
        state, meta, checksum = self._state, message.meta, self._checksum
        self._start_again(self._damaged + 1)
        self.refused += 1
        if not self._leave:
            self._answer(message.sender, meta, rejected=True)
        state.events.append(
            CoreEvent(
                type="SnapshotRefused",
                term=state.term,
                leader=message.sender,
                index=meta.index,
                detail=f"{meta.size} bytes with checksum {checksum:08x} came, and {meta.checksum:08x} was"
                f" announced ({self._damaged} times so far)",
            )
        )

    def _install(self, meta: SnapshotMeta) -> None:
        state = self._state
        self._meta = None
        state.log.install(meta, keep_rest=state.config.break_rule == "installKeepsLog")
        state.snapshot = meta
        state.events.append(CoreEvent(type="SnapshotInstalled", term=state.term, index=meta.index))

    def _accept(self, leader: NodeId, index: int) -> None:
        state = self._state
        state.after_persist.append(AppendResponse(state.id, leader, state.term, index, False, 0, 0))

    def _answer(self, leader: NodeId, meta: SnapshotMeta, *, rejected: bool) -> None:
        state = self._state
        state.after_persist.append(
            SnapshotResponse(state.id, leader, state.term, meta.index, self._next, rejected)
        )


def request(state: State, to: NodeId, meta: SnapshotMeta, offset: int, length: int) -> None:
    """Has the host read and send one part."""
    state.chunks.append(SnapshotChunkRequest(state.id, to, state.term, meta, offset, length))
