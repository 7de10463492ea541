"""Reading a log back: which segments there are, what their groups add up to, and where it goes on."""

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import msgspec

from faultlab.runtime.files import FileSystem

from ..messages import Entry, HardState, NodeId, SnapshotMeta
from ..rules import Rule
from .directories import segments_in, snapshots_in
from .errors import DamagedLog, ForeignLog
from .groups import (
    FORMAT,
    SECTOR_BYTES,
    GroupBody,
    GroupHeader,
    Owner,
    Place,
    body_is_whole,
    decode_body,
    read_header,
    salt_of,
)
from .snapshots import read_meta, verify
from .tail import Tail, group_at, judge_tail

_index = attrgetter("index")


class Segment(msgspec.Struct):
    """A segment as it was found, or as it is being written."""

    number: int
    path: Path
    size: int
    max_index: int = 0
    """The highest entry ever written to it: once all up to that is in a snapshot, it may go."""


class Group(msgspec.Struct, frozen=True):
    """A whole group."""

    segment: Segment
    header: GroupHeader
    body: GroupBody


class SegmentStart(msgspec.Struct, frozen=True):
    """The first group of a segment: whose it is, and how the one before ended."""

    header: GroupHeader
    owner: Owner


def read_start(files: FileSystem, path: Path, number: int) -> SegmentStart:
    """The first group of a segment, synced before the file got its name; DamagedLog if it is bad."""
    file = files.open(path)
    try:
        data = file.read_at(0, SECTOR_BYTES)
        header = read_header(data, 0, 0)
        if header is not None and header.end > SECTOR_BYTES:
            data = file.read_at(0, header.end)
    finally:
        file.close()
    if header is None or (header.offset, header.segment) != (0, number) or not body_is_whole(data, header):
        raise DamagedLog(path, 0, "the first group of the segment, synced before it got its name, is bad")
    try:
        owner = decode_body(data, header).owner
    except ValueError as error:
        raise DamagedLog(path, 0, str(error)) from error
    if owner is None:
        raise DamagedLog(path, 0, "the first group of the segment does not say whose it is")
    return SegmentStart(header, owner)


class LogReader:
    """Goes through the groups of a log, once; afterwards `tail`, `place` and `segments` tell how it ended."""

    def __init__(self, files: FileSystem, member_dir: Path, ignore_damage: bool = False) -> None:
        """Raises DamagedLog for a segment that is missing or begins badly. There must be a segment.

        `ignore_damage`: takes all damage for a torn tail, and what comes behind it for nothing.
        """
        self._files = files
        self._ignore_damage = ignore_damage
        found = segments_in(files, member_dir)
        self._starts = {number: read_start(files, path, number) for number, path in found.items()}
        self.segments = [Segment(number, path, 0) for number, path in found.items()]
        for before, after in zip(self.segments, self.segments[1:], strict=False):
            if after.number != before.number + 1:
                raise DamagedLog(after.path, 0, f"segment {before.number + 1}, the one before it, is gone")
        self.owner = self._starts[self.segments[0].number].owner
        for segment in self.segments[1:]:
            if self._starts[segment.number].owner.uuid != self.owner.uuid:
                raise ForeignLog(f"{segment.path} belongs to another log than {self.segments[0].path}")
        self.salt = salt_of(self.owner.uuid)
        self.place = Place(self.segments[0].number, 0, 0, 0, 0)
        self.last: Group | None = None
        self.tail = Tail("clean", 0, "", 0)
        self.dropped: list[Path] = []
        """Segments behind the damage that is ignored."""

    @property
    def size_of_last(self) -> int:
        """The size that the last segment was given."""
        return self._starts[self.segments[-1].number].owner.segment_bytes

    def groups(self) -> Iterator[Group]:
        """Every whole group, in order. Raises DamagedLog where one is not whole that was synced for certain,
        but for the last segment, of whose end `tail` tells."""
        first = self._starts[self.segments[0].number].header
        self.place = Place(first.segment, 0, first.number, first.previous, 0)
        for segment, following in zip(self.segments, [*self.segments[1:], None], strict=True):
            self.place = self.place._replace(segment=segment.number, offset=0, salt=0)
            data = self._files.read(segment.path)
            segment.size = len(data)
            yield from self._groups_of(segment, data)
            if following is None:
                self.tail = self._judge(data)
            elif not self._is_whole(segment, data, self._starts[following.number].header):
                self.tail = self._judge(data)
                self.dropped = [later.path for later in self.segments if later.number > segment.number]
                del self.segments[-len(self.dropped) :]
                return

    def _groups_of(self, segment: Segment, data: bytes) -> Iterator[Group]:
        while (header := group_at(data, self.place)) is not None:
            try:
                group = Group(segment, header, decode_body(data, header))
            except ValueError as error:
                raise DamagedLog(segment.path, header.offset, str(error)) from error
            if group.body.entries:
                segment.max_index = max(segment.max_index, max(map(_index, group.body.entries)))
            self.last = group
            self.place = self.place.after(header)._replace(salt=self.salt)
            yield group

    def _is_whole(self, segment: Segment, data: bytes, following: GroupHeader) -> bool:
        place = self.place
        if (place.number, place.previous) == (following.number, following.previous):
            return True
        if self._ignore_damage:
            return False
        what = judge_tail(data, place).what or f"group {place.number} is gone"
        raise DamagedLog(
            segment.path,
            place.offset,
            f"{what}; segment {following.segment}, begun only after all of this one had been synced, says"
            f" that groups up to {following.number - 1} were here",
        )

    def _judge(self, data: bytes) -> Tail:
        tail = judge_tail(data, self.place)
        if tail.verdict == "damaged" and self._ignore_damage:
            return msgspec.structs.replace(tail, verdict="torn")
        return tail


class Replay:
    """What the groups of a log add up to."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        """Without a gap, from `base` on."""
        self.base = 1
        self.hard_state = HardState()
        self.peers: dict[NodeId, str] = {}
        self._begun = False

    def take(self, body: GroupBody) -> None:
        """Applies one group; raises ValueError for entries that leave a gap."""
        if body.reset is not None:
            self.entries = []
            self.base = body.reset.index + 1
            self._begun = True
        if body.entries:
            self._take_entries(body.entries)
        if body.hard_state is not None:
            self.hard_state = body.hard_state
        if body.peers:
            self.peers.update(body.peers)

    def entries_behind(self, snapshot: SnapshotMeta) -> list[Entry] | None:
        """The entries that follow the snapshot. None where the log ends before it or contradicts it: a crash
        came between an installed snapshot and the group that says so. ValueError for a gap."""
        index, following = snapshot.index, self.base + len(self.entries)
        if following <= index:
            return None
        if self.base > index + 1:
            raise ValueError(
                f"the log begins with entry {self.base}, and the latest snapshot ends with entry {index}"
            )
        if self.base <= index and self.entries[index - self.base].term != snapshot.term:
            return None
        return self.entries[index + 1 - self.base :]

    def hard_state_with(self, snapshot: SnapshotMeta) -> HardState:
        """The last one written, or what else there is implies.

        An entry or a snapshot of a later term says that the member was in that term; it cannot have told
        anybody of a vote in it, for that goes out after the sync only.
        """
        state = self.hard_state
        term = max(state.term, snapshot.term, self.entries[-1].term if self.entries else 0)
        vote = state.vote if term == state.term else None
        return HardState(term, vote, max(state.commit, snapshot.index), state.promise_ns)

    def _take_entries(self, entries: list[Entry]) -> None:
        first, following = entries[0].index, self.base + len(self.entries)
        if not self._begun:
            # What came before is in segments that are gone, and in a snapshot; `entries_behind` checks it.
            self._begun, self.base, following = True, first, first
        if first == following and list(map(_index, entries)) == list(range(first, first + len(entries))):
            self.entries += entries
            return
        for entry in entries:
            self._take_entry(entry)

    def _take_entry(self, entry: Entry) -> None:
        following = self.base + len(self.entries)
        if not 1 <= entry.index <= following:
            raise ValueError(f"entry {entry.index} where {following} or an earlier one may come")
        if entry.index < self.base:
            self.base = entry.index
        del self.entries[entry.index - self.base :]
        self.entries.append(entry)


def check_owner(path: Path, found: Owner, cluster: str, member: NodeId) -> None:
    """Raises ForeignLog unless it is this member's log, in this format."""
    if (found.format, found.cluster, found.member) != (FORMAT, cluster, member):
        raise ForeignLog(
            f"{path} is of member {found.member!r} of cluster {found.cluster!r} in format {found.format};"
            f" this is {member!r} of {cluster!r} in format {FORMAT}. Give each member a data directory of its"
            " own"
        )


def read_snapshots(
    files: FileSystem, member_dir: Path, cluster: str, break_rule: Rule | None = None
) -> list[SnapshotMeta]:
    """The snapshots there are, the latest last; raises DamagedLog if that one is not what was written.

    An older one that is damaged is left out: nothing depends on it.
    """
    paths = snapshots_in(files, member_dir)
    metas = []
    for position, path in paths.items():
        latest = position == next(reversed(paths))
        try:
            meta = read_meta(files, path, cluster)
            if latest:
                verify(files, path, meta)
        except DamagedLog:
            if latest and break_rule != "ignoreDamage":
                raise
        else:
            metas.append(meta)
    return metas
