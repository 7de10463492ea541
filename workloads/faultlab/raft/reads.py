"""ReadIndex: which reads wait for which round of heartbeats (thesis, 6.4).

A read is linearizable at commit index c if, after it was asked for, the leader that had committed c was
still the leader. So reads gather; a round takes all that wait, notes the commit index and sends
heartbeats with the round's number; a majority of answers confirms it. One round is under way at a
time: under load each serves all the reads that came during the one before.
"""

from .errors import Busy


class ReadRounds:
    """The reads of one leadership."""

    __slots__ = ("_asked", "_index", "_limit", "_waiting", "number")

    def __init__(self, limit: int) -> None:
        self.number = 0
        """Of the latest round; every heartbeat carries it, so a lost one is made good by the next."""
        self._limit = limit
        self._index = 0
        self._waiting: list[int] = []
        self._asked: list[int] = []

    def ask(self, context: int) -> None:
        """A read waits for the next round; Busy at the limit."""
        if len(self._waiting) + len(self._asked) >= self._limit:
            raise Busy(f"{self._limit} reads wait for this leader to be confirmed; try again later")
        self._waiting.append(context)

    @property
    def can_start(self) -> bool:
        """Whether reads wait and no round is under way."""
        return bool(self._waiting) and not self._asked

    def start(self, commit: int) -> None:
        """The next round begins, with every read that waits."""
        self.number += 1
        self._index = commit
        self._asked, self._waiting = self._waiting, []

    def confirm(self, number: int) -> list[tuple[int, int]]:
        """A majority has answered round `number`: the reads that this answers, with their index."""
        if number < self.number or not self._asked:
            return []
        answered = [(context, self._index) for context in self._asked]
        self._asked = []
        return answered

    def abandon(self) -> list[int]:
        """This member leads no more: the contexts of the reads that nobody will answer."""
        return self._asked + self._waiting
