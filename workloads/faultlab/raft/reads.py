"""ReadIndex: which reads wait for which confirmation (thesis, 6.4).

A read is linearizable at commit index c if, after it was asked for, the leader that had committed c was
still the leader. So reads gather; a round takes all that wait and asks: a leader its voters, by a heartbeat
whose answers confirm it, a follower its leader, by a ReadIndexRequest. One round is under way at a time:
under load each serves all the reads that came during the one before.
"""

import random
from typing import Generic, TypeAlias, TypeVar

from .errors import Busy
from .messages import NodeId, ReadIndexRequest, ReadIndexResponse
from .state import State

Asker: TypeAlias = int | tuple[NodeId, int]
"""Whose read it is: the context of one of this host's, or a follower and the number of its request."""

_Read = TypeVar("_Read")

_FIRST_NUMBER_BITS = 61


class ReadRounds(Generic[_Read]):
    """The reads that wait for the next round, and those of the one that is under way."""

    __slots__ = ("_asked", "_limit", "_waiting", "index", "number")

    def __init__(self, limit: int) -> None:
        self.number = 0
        """Of the latest round."""
        self.index = 0
        """The commit index when it began."""
        self._limit = limit
        self._waiting: list[_Read] = []
        self._asked: list[_Read] = []

    def ask(self, read: _Read) -> None:
        """A read waits for the next round; Busy at the limit."""
        if len(self._waiting) + len(self._asked) >= self._limit:
            raise Busy(f"{self._limit} reads wait for the leader to be confirmed; try again later")
        self._waiting.append(read)

    @property
    def can_start(self) -> bool:
        """Whether reads wait and no round is under way."""
        return bool(self._waiting) and not self._asked

    @property
    def under_way(self) -> bool:
        """Whether a round waits for its confirmation."""
        return bool(self._asked)

    def start(self, number: int, index: int) -> None:
        """A round begins, with every read that waits; `number` is above that of the one before."""
        self.number = number
        self.index = index
        self._asked, self._waiting = self._waiting, []

    def confirm(self, number: int) -> list[_Read]:
        """Round `number` is confirmed, and any before it: the reads that are answered by that."""
        if number < self.number or not self._asked:
            return []
        answered, self._asked = self._asked, []
        return answered

    def abandon(self) -> list[_Read]:
        """Nobody confirms anything any more: the reads that will not be answered."""
        abandoned = self._asked + self._waiting
        self._asked, self._waiting = [], []
        return abandoned


class FollowerReads:
    """The reads of a member that does not lead: it asks its leader for an index (thesis, 6.4).

    A lost request or answer is made good by asking again, with the same number, after a heartbeat interval.
    """

    __slots__ = ("_next_number", "_rounds", "_state", "_ticks")

    def __init__(self, state: State, rng: random.Random) -> None:
        self._state = state
        self._rounds: ReadRounds[int] = ReadRounds(state.config.max_waiting_reads)
        self._ticks = 0
        # An answer to a request of this member's life before must not be taken for one to a new request,
        # even if the generator starts the same each time: the clock has moved on.
        self._next_number = rng.getrandbits(_FIRST_NUMBER_BITS) + state.clock_ns()

    def ask(self, context: int) -> None:
        """A read waits to be asked for; Busy at the limit."""
        self._rounds.ask(context)

    @property
    def has_work(self) -> bool:
        """Whether `flush` would send a request."""
        return self._rounds.can_start

    def flush(self) -> None:
        """Asks for all reads that wait, unless a request is under way."""
        if self._rounds.can_start:
            self._next_number += 1
            self._rounds.start(self._next_number, 0)
            self._request()

    def tick(self) -> None:
        """One tick; asks again for what was not answered in time."""
        if self._rounds.under_way:
            self._ticks += 1
            if self._ticks >= self._state.config.heartbeat_ticks:
                self._request()

    def answered(self, response: ReadIndexResponse) -> None:
        """The leader has answered a request; one that is not under way is ignored."""
        if response.number == self._rounds.number:
            reads = self._rounds.confirm(response.number)
            self._state.read_states += [(context, response.index) for context in reads]

    def abandon(self) -> None:
        """The leader is another, or none: what waits is lost."""
        self._state.lost_reads += self._rounds.abandon()

    def _request(self) -> None:
        state = self._state
        self._ticks = 0
        if state.leader is not None:
            state.messages.append(ReadIndexRequest(state.id, state.leader, state.term, self._rounds.number))


def answer(state: State, reads: list[Asker], index: int) -> None:
    """Tells each asker that its read is linearizable at `index`."""
    for asker in reads:
        if isinstance(asker, int):
            state.read_states.append((asker, index))
        else:
            node, number = asker
            state.messages.append(ReadIndexResponse(state.id, node, state.term, number, index))
