"""Linearizable reads on their way: the leader's round first (thesis, 6.4), then the state has to catch up.

A read changes nothing, so every failure is definite.
"""

import msgspec

from faultlab.runtime.resp.encoder import error_line
from faultlab.runtime.resp.handler import Slot

from .kv import KeyValueStore

MAX_WAITING_READS = 65_536
"""Of one member; the host refuses more with -BUSY."""

LOST = error_line("NOTLEADER this member lost its leadership before the read; nothing happened")
NOT_CONFIRMED = error_line("NOTLEADER this member could not confirm in time that it leads; nothing happened")

Read = tuple[bytes, Slot]


class ReadBatch(msgspec.Struct):
    """The reads of one turn of the loop: one round serves them all."""

    reads: list[Read]
    term: int
    deadline_s: float
    index: int | None = None
    """Once the round is over: what must be applied before they are answered."""


class WaitingReads:
    """The batches of one member, by the context that the core knows them under."""

    def __init__(self, member: str, store: KeyValueStore) -> None:
        self._member = member
        self._store = store
        self._batches: dict[int, ReadBatch] = {}
        self._last_context = 0
        self._confirmed: list[int] = []
        self.reads = 0
        """How many wait, in all batches."""

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, reads: list[Read], term: int, deadline_s: float) -> int:
        """Keeps a batch; the context to ask the core with."""
        self._last_context += 1
        self._batches[self._last_context] = ReadBatch(reads, term, deadline_s)
        self.reads += len(reads)
        return self._last_context

    def confirmed(self, context: int, index: int) -> None:
        """The round is over: the reads are linearizable at `index`."""
        batch = self._batches.get(context)
        if batch is not None:
            batch.index = index
            self._confirmed.append(context)

    def answer(self) -> None:
        """Answers every confirmed batch that the state has caught up with."""
        if not self._confirmed:
            return
        applied, store = self._store.applied_index, self._store
        later: list[int] = []
        for context in self._confirmed:
            batch = self._batches.get(context)
            if batch is None or batch.index is None:
                continue
            if batch.index > applied:
                later.append(context)
                continue
            del self._batches[context]
            self.reads -= len(batch.reads)
            for command, slot in batch.reads:
                slot.resolve(store.read(command), self._member, batch.term)
        self._confirmed = later

    def lost(self, context: int, reply: str = LOST) -> None:
        """The batch will not be answered: say so."""
        batch = self._batches.pop(context, None)
        if batch is not None:
            self.reads -= len(batch.reads)
            for _, slot in batch.reads:
                slot.resolve(reply, None, None)

    def expire(self, now_s: float) -> None:
        """Gives up on those whose time is up: a leader cut off hears from nobody that it leads."""
        for context in [c for c, batch in self._batches.items() if batch.deadline_s <= now_s]:
            self.lost(context, NOT_CONFIRMED)
