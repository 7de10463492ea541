"""One member's log in memory, and how far it is committed, applied, handed to the disk and synced.

    applied <= commit <= last_index        handed out to apply; chosen by a majority; the end
    synced <= written <= last_index        fdatasynced here; handed out to be; the end

applied may exceed commit only in a cluster that a break rule has broken: see `truncate`. A snapshot
would give the list a first index other than 1; `_at` is the one place that would know.
"""

from bisect import bisect_right
from collections import deque
from itertools import accumulate
from operator import attrgetter

from .errors import BadState
from .messages import Entry

_term = attrgetter("term")


class _Mark:
    """One batch on its way to the disk: where it ended, and how much of that still stands."""

    __slots__ = ("last_index", "last_term", "stands")

    def __init__(self, last_index: int, last_term: int) -> None:
        self.last_index = last_index
        self.last_term = last_term
        self.stands = last_index


class RaftLog:
    """Entries from index 1 without a gap, terms never falling."""

    __slots__ = ("_ends", "_entries", "_marks", "applied", "commit", "last_index", "synced", "written")

    def __init__(self, entries: list[Entry], commit: int) -> None:
        """Takes over `entries`, all synced; raises BadState if they have a gap or end before `commit`."""
        for place, entry in enumerate(entries, start=1):
            if entry.index != place:
                raise BadState(
                    f"entry {entry.index} stands in place {place} of the log; expected no gap from 1"
                )
        if commit > len(entries):
            raise BadState(
                f"entries up to {commit} were committed but the log ends at {len(entries)}; restore the log"
            )
        self._entries = entries
        self._ends = list(accumulate((len(entry.data) for entry in entries), initial=0))
        self._marks: deque[_Mark] = deque()
        self.last_index = self.written = self.synced = len(entries)
        self.commit = commit
        self.applied = 0

    def _at(self, index: int) -> int:
        return index - 1

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else 0

    def term(self, index: int) -> int:
        """The term of the entry at `index`; 0 for index 0."""
        return self._entries[self._at(index)].term if index else 0

    def matches(self, index: int, term: int) -> bool:
        """Whether the log holds an entry of that term there; all logs match at (0, 0)."""
        return index <= self.last_index and self.term(index) == term

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a log that ends so holds at least what this one may have committed (paper, 5.4.1)."""
        mine = self.last_term
        return last_term > mine or (last_term == mine and last_index >= self.last_index)

    def last_not_after(self, index: int, term: int) -> int:
        """The highest index not above `index` whose term is not above `term`; 0 if there is none."""
        return bisect_right(self._entries, term, hi=min(index, self.last_index), key=_term)

    def bytes_after(self, index: int) -> int:
        """Payload bytes beyond `index`."""
        return self._ends[-1] - self._ends[index]

    def append(self, entries: list[Entry]) -> None:
        """Adds entries that follow the last one."""
        self._entries += entries
        ends = accumulate((len(entry.data) for entry in entries), initial=self._ends.pop())
        self._ends += ends
        self.last_index += len(entries)

    def slice(self, first: int, max_bytes: int) -> list[Entry]:
        """Entries from `first`, as many as fit into `max_bytes` of payload, one at least."""
        stop = bisect_right(self._ends, self._ends[first - 1] + max_bytes, lo=first) - 1
        return self._entries[self._at(first) : self._at(max(stop, first) + 1)]

    def range(self, first: int, last: int) -> list[Entry]:
        """Entries `first` to `last`, both included, as far as they exist."""
        return self._entries[self._at(first) : self._at(last + 1)]

    def truncate(self, last: int) -> None:
        """Drops everything beyond `last`; entries that follow must be appended before the next Ready.

        Were committed entries among them, commit falls back to `last`; what was handed out to apply
        stays applied, and what comes to stand at those indexes is not handed out: this member's
        state machine is wrong from then on, as it would be in a system without that guard.
        """
        del self._entries[self._at(last + 1) :]
        del self._ends[last + 1 :]
        self.last_index = last
        self.commit = min(self.commit, last)
        self.written = min(self.written, last)
        self.synced = min(self.synced, last)
        for mark in self._marks:
            mark.stands = min(mark.stands, last)

    def take_unwritten(self) -> list[Entry]:
        """What the host must write next."""
        if self.written == self.last_index:
            return []
        entries = self._entries[self._at(self.written + 1) :]
        self.written = self.last_index
        self._marks.append(_Mark(self.last_index, entries[-1].term))
        return entries

    def take_committed(self, limit: int) -> list[Entry]:
        """What the host must apply next, at most `limit` entries."""
        if self.applied >= self.commit:
            return []
        first = self.applied + 1
        self.applied = min(self.commit, self.applied + limit)
        return self._entries[self._at(first) : self._at(self.applied + 1)]

    def mark_synced(self, last_index: int, last_term: int) -> bool:
        """The batch that ended so is on disk, and all before it; whether `synced` moved.

        Batches, not indexes, are matched: an entry that was truncated and written again while the first
        write was being synced counts only with the second.
        """
        for count, mark in enumerate(self._marks, start=1):
            if mark.last_index == last_index and mark.last_term == last_term:
                for _ in range(count):
                    self._marks.popleft()
                moved = mark.stands > self.synced
                self.synced = max(self.synced, mark.stands)
                return moved
        return False
