"""One member's log in memory, and how far it is committed, applied, handed to the disk and synced.

    offset <= snapshot.index <= applied <= commit <= last_index
    synced <= written <= last_index        fdatasynced here; handed out to be; the end

The log begins behind `offset`: what comes before is compacted (thesis, 5.1), and of it only the last term is
known. Entries between `offset` and the snapshot's index are a tail kept for followers that lag a little.

applied may exceed commit only in a cluster that a break rule has broken: see `truncate`.
"""

from bisect import bisect_right
from collections import deque
from itertools import accumulate
from operator import attrgetter

from .configuration import Configuration, decode_configuration
from .errors import BadState, MalformedMessage
from .history import ConfigurationHistory
from .messages import Entry, EntryKind, SnapshotMeta

ENTRY_OVERHEAD_BYTES = 160
"""What an entry takes in memory besides its payload, about: the object, its numbers, the header of its bytes,
its places in lists (measured: 162 with CPython 3.12). Of small entries it is most of what they take."""

_term = attrgetter("term")
_data = attrgetter("data")
_kind = attrgetter("kind")


def configurations_in(entries: list[Entry]) -> list[tuple[int, Configuration]]:
    """The configurations among `entries`, each with its index; raises MalformedMessage for a bad one."""
    if not any(map(_kind, entries)):
        return []
    found = []
    for entry in entries:
        if entry.kind == EntryKind.CONFIGURATION:
            found.append((entry.index, decode_configuration(entry.data)))
        elif entry.kind:
            raise MalformedMessage(f"entry {entry.index} is of unknown kind {entry.kind}; expected 0 or 1")
    return found


class _Mark:
    """One batch on its way to the disk: where it ended, and how much of that still stands."""

    __slots__ = ("last_index", "last_term", "stands")

    def __init__(self, last_index: int, last_term: int) -> None:
        self.last_index = last_index
        self.last_term = last_term
        self.stands = last_index


class RaftLog:
    """Entries from `offset` + 1 without a gap, terms never falling."""

    __slots__ = (
        "_ends",
        "_entries",
        "_marks",
        "_offset_term",
        "applied",
        "commit",
        "history",
        "last_index",
        "offset",
        "previous_snapshot",
        "snapshot",
        "synced",
        "written",
    )

    def __init__(self, snapshot: SnapshotMeta, entries: list[Entry], commit: int) -> None:
        """Takes over `entries`, all synced, of which some may be older than the snapshot.

        Entries that contradict the snapshot or end before it are dropped: a crash came between the snapshot's
        sync and the log's. Raises BadState for a gap, or a log that ends before `commit`.
        """
        entries = _check_places(entries, snapshot)
        self.snapshot = self.previous_snapshot = snapshot
        self.offset, self._offset_term = snapshot.index, snapshot.term
        if entries and entries[0].index <= snapshot.index:
            if _holds(entries, snapshot):
                self.offset, self._offset_term = entries[0].index, entries[0].term
                entries = entries[1:]
            else:
                entries = []
        self._entries = entries
        self._ends = list(accumulate(map(len, map(_data, entries)), initial=0))
        self._marks: deque[_Mark] = deque()
        self.last_index = self.written = self.synced = self.offset + len(entries)
        if commit > self.last_index:
            raise BadState(
                f"entries up to {commit} were committed but the log ends at {self.last_index}; restore it"
            )
        self.commit = max(commit, snapshot.index)
        self.applied = snapshot.index
        self.history = ConfigurationHistory(snapshot.index, snapshot.configuration)
        self.history.extend(configurations_in(self.range(snapshot.index + 1, self.last_index)))

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self._offset_term

    def term(self, index: int) -> int:
        """The term of the entry at `index`, which is not before `offset`."""
        if index > self.offset:
            return self._entries[index - self.offset - 1].term
        assert index == self.offset, f"entry {index} is compacted; the log begins behind {self.offset}"
        return self._offset_term

    def matches(self, index: int, term: int) -> bool:
        """Whether the log holds an entry of that term there; what is compacted was committed: it does."""
        return index < self.offset or (index <= self.last_index and self.term(index) == term)

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a log that ends so holds at least what this one may have committed (paper, 5.4.1)."""
        mine = self.last_term
        return last_term > mine or (last_term == mine and last_index >= self.last_index)

    def last_not_after(self, index: int, term: int) -> int:
        """The highest index not above `index` whose term is not above `term`.

        What is compacted is not known: an index before `offset` says that it must lie there.
        """
        if index < self.offset:
            return index
        found = bisect_right(self._entries, term, hi=min(index, self.last_index) - self.offset, key=_term)
        if found or term >= self._offset_term:
            return self.offset + found
        return max(self.offset - 1, 0)

    def bytes_after(self, index: int) -> int:
        """What the entries beyond `index`, which is not before `offset`, take in memory."""
        payload = self._ends[-1] - self._ends[index - self.offset]
        return payload + ENTRY_OVERHEAD_BYTES * (self.last_index - index)

    def bytes_between(self, after: int, last: int) -> int:
        """Payload bytes beyond `after` (or `offset`, if that is later) up to `last`."""
        ends, offset = self._ends, self.offset
        return ends[last - offset] - ends[max(after - offset, 0)] if last > offset else 0

    def append(self, entries: list[Entry]) -> None:
        """Adds entries that follow the last one; configurations among them go to `history` besides."""
        self._entries += entries
        ends = accumulate(map(len, map(_data, entries)), initial=self._ends.pop())
        self._ends += ends
        self.last_index += len(entries)

    def slice(self, first: int, max_bytes: int) -> list[Entry]:
        """Entries from `first`, as many as fit into `max_bytes` of payload, one at least."""
        ends = self._ends
        place = first - self.offset
        stop = bisect_right(ends, ends[place - 1] + max_bytes, lo=place) - 1
        return self._entries[place - 1 : max(stop, place)]

    def range(self, first: int, last: int) -> list[Entry]:
        """Entries `first` to `last`, both included, as far as they exist."""
        offset = self.offset
        return self._entries[max(first - offset - 1, 0) : max(last - offset, 0)]

    def truncate(self, last: int) -> None:
        """Drops everything beyond `last`; entries that follow must be appended before the next Ready.

        Were committed entries among them, commit falls back to `last`; what was handed out to apply
        stays applied, and what comes to stand at those indexes is not handed out: this member's
        state machine is wrong from then on, as it would be in a system without that guard.
        """
        del self._entries[last - self.offset :]
        del self._ends[last - self.offset + 1 :]
        self.last_index = last
        self.commit = min(self.commit, last)
        self.written = min(self.written, last)
        self.synced = min(self.synced, last)
        for mark in self._marks:
            mark.stands = min(mark.stands, last)
        self.history.truncate(last)

    def install(self, meta: SnapshotMeta, *, keep_rest: bool = False) -> None:
        """A snapshot replaces the log, which contradicts it or ends before it (thesis, 5.3).

        `keep_rest` (the rule installKeepsLog) leaves what the log held behind the snapshot's index.
        """
        rest = self.range(meta.index + 1, self.last_index) if keep_rest else []
        self._entries = rest
        self._ends = list(accumulate(map(len, map(_data, rest)), initial=0))
        self._marks.clear()
        self.snapshot = self.previous_snapshot = meta
        self.offset, self._offset_term = meta.index, meta.term
        self.applied = self.commit = meta.index
        self.written = self.synced = meta.index
        self.last_index = meta.index + len(rest)
        self.history = ConfigurationHistory(meta.index, meta.configuration)
        self.history.extend(configurations_in(rest))

    def compact(self, meta: SnapshotMeta, keep_after: int) -> None:
        """The state up to `meta.index` is in a durable snapshot: drops the entries up to `keep_after`."""
        self.previous_snapshot, self.snapshot = self.snapshot, meta
        self.history.compact(meta.index)
        count = keep_after - self.offset
        if count > 0:
            self._offset_term = self.term(keep_after)
            self.offset = keep_after
            del self._entries[:count]
            del self._ends[:count]

    def take_unwritten(self) -> list[Entry]:
        """What the host must write next."""
        if self.written == self.last_index:
            return []
        entries = self._entries[self.written - self.offset :]
        self.written = self.last_index
        self._marks.append(_Mark(self.last_index, entries[-1].term))
        return entries

    def take_committed(self, limit: int) -> list[Entry]:
        """What the host must apply next, at most `limit` entries."""
        if self.applied >= self.commit:
            return []
        first = self.applied - self.offset
        self.applied = min(self.commit, self.applied + limit)
        return self._entries[first : self.applied - self.offset]

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


def _check_places(entries: list[Entry], snapshot: SnapshotMeta) -> list[Entry]:
    if not entries:
        return entries
    first = entries[0].index
    if not 1 <= first <= snapshot.index + 1:
        raise BadState(
            f"the log begins with entry {first} behind a snapshot up to {snapshot.index}; expected no gap"
        )
    for place, entry in enumerate(entries, start=first):
        if entry.index != place:
            raise BadState(
                f"entry {entry.index} stands in place {place} of the log; expected no gap from {first}"
            )
    return entries


def _holds(entries: list[Entry], snapshot: SnapshotMeta) -> bool:
    """Whether the last entry that the snapshot covers is among these."""
    place = snapshot.index - entries[0].index
    return place < len(entries) and entries[place].term == snapshot.term
