"""The log as it is written: what was gathered becomes a group, groups fill a segment, segments follow.

The loop decides where everything goes, and a job does it; jobs run one after another in the order given, so
what the loop knows of the log is always ahead of the disk, and never wrong unless a job failed, which ends
the member.

A segment is made of zeros at its full size before it gets its name. On ext4 and xfs the first write to a
preallocated block still changes metadata, which fdatasync then has to wait for; so the writer now and then
writes zeros a bit ahead, together with a group, and the groups after it only overwrite.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from faultlab.runtime.disk import DiskQueue
from faultlab.runtime.files import File, FileSystem

from ..messages import Entry, HardState, NodeId
from ..rules import Rule
from .directories import UNFINISHED_SUFFIX, WAL, segment_name
from .groups import HEADER_BYTES, GroupBody, Owner, Place, Reset, encode_body, encode_group, padded, salt_of
from .recovery import Segment


class StorageSettings(msgspec.Struct, frozen=True):
    """What a deployment may want otherwise."""

    segment_bytes: int = 64 * 1024 * 1024
    """Of one file of the log. A group that does not fit into one gets a larger one."""
    fill_bytes: int = 256 * 1024
    """How much is overwritten with zeros ahead of the groups at a time; 0: nothing."""


class LogWriter:
    """Gathers, and writes group after group."""

    def __init__(
        self,
        files: FileSystem,
        member_dir: Path,
        owner: Owner,
        settings: StorageSettings,
        break_rule: Rule | None = None,
    ) -> None:
        """Call `go_on` next."""
        self._files = files
        self._folder = member_dir / WAL
        self._owner = owner
        self._salt = salt_of(owner.uuid)
        self._settings = settings
        self._break_rule = break_rule
        self._segments: list[Segment] = []
        self._place = Place(0, 0, 1, 0, 0)
        self._file: File | None = None
        self._filled = 0
        self._hard_state: HardState | None = None
        self.peers: dict[NodeId, str] = {}
        self.appended_bytes = 0
        """What has been handed to the disk since the start."""
        self._gathered = False
        self._new_reset: Reset | None = None
        self._new_entries: list[Entry] = []
        self._new_max_index = 0
        self._counted = self._counted_bytes = 0
        self._new_hard_state: HardState | None = None
        self._new_peers: dict[NodeId, str] = {}

    def go_on(
        self,
        segments: list[Segment],
        place: Place,
        file: File,
        hard_state: HardState | None,
        peers: dict[NodeId, str],
    ) -> None:
        """Takes over a log that was read back, whose last segment is `file`; `place` is where it goes on."""
        self._segments = segments
        self._place = place
        self._file = file
        self._filled = place.offset
        self._hard_state = hard_state
        self.peers = peers

    @property
    def log_bytes(self) -> int:
        """What the segments hold, without the rest of the last one."""
        return sum(segment.size for segment in self._segments[:-1]) + self._place.offset

    @property
    def pending_bytes(self) -> int:
        """Of data in entries that were gathered and not handed to the disk."""
        entries = self._new_entries
        for at in range(self._counted, len(entries)):
            self._counted_bytes += len(entries[at].data)
        self._counted = len(entries)
        return self._counted_bytes

    def add_entries(self, entries: list[Entry]) -> None:
        """One at least. Each replaces what the log has from its index on."""
        self._new_entries += entries
        self._new_max_index = max(self._new_max_index, entries[-1].index)
        self._gathered = True

    def add_hard_state(self, state: HardState) -> None:
        """Replaces the last one."""
        self._new_hard_state = state
        self._gathered = True

    def add_peer(self, peer: NodeId, uuid: str) -> None:
        """Adds to what is known of others."""
        self.peers[peer] = uuid
        self._new_peers[peer] = uuid
        self._gathered = True

    def reset(self, reset: Reset) -> None:
        """The log goes on behind a snapshot that is installed by a job given before this group's."""
        self._new_reset = reset
        self._forget_entries()
        self._gathered = True

    def take(self) -> Callable[[], None] | None:
        """The job that makes durable what was gathered; None if nothing was."""
        if not self._gathered:
            return None
        entries, state = self._new_entries, self._new_hard_state
        body = encode_body(GroupBody(self._new_reset, entries, state, self._new_peers))
        cut = None
        if self._place.offset + padded(HEADER_BYTES + len(body)) > self._segments[-1].size:
            cut = self._cut(padded(HEADER_BYTES + len(body)))
        offset = self._place.offset
        data, header = encode_group(self._place, body)
        self._place = self._place.after(header)
        self.appended_bytes += len(data)
        if self._place.offset > self._filled:
            data += self._zeros_ahead()
        if entries:
            segment = self._segments[-1]
            segment.max_index = max(segment.max_index, self._new_max_index)
            self._forget_entries()
        if state is not None:
            self._hard_state, self._new_hard_state = state, None
        if self._new_peers:
            self._new_peers = {}
        self._new_reset = None
        self._gathered = False
        return partial(self._write, cut, offset, data)

    def drop_until(self, index: int, disk: DiskQueue, done: Callable[[], None]) -> None:
        """Removes the segments at the log's beginning that hold only entries up to `index`."""
        dropped = []
        while len(self._segments) > 1 and self._segments[0].max_index <= index:
            dropped.append(self._segments.pop(0).path)
        disk.run(partial(self._remove, dropped), done)

    def close(self) -> None:
        """Writes what was gathered and closes the file. No job may be under way."""
        job = self.take()
        if job is not None:
            job()
        if self._file is not None:
            self._file.close()

    def _forget_entries(self) -> None:
        self._new_entries, self._new_max_index = [], 0
        self._counted = self._counted_bytes = 0

    def _cut(self, group_bytes: int) -> tuple[Segment, bytes]:
        """Plans the next segment: it, and its first group."""
        place = Place(self._place.segment + 1, 0, self._place.number, self._place.previous, 0)
        peers = {peer: uuid for peer, uuid in self.peers.items() if peer not in self._new_peers}
        segment, data, self._place = plan_segment(
            self._folder, place, self._owner, self._settings, self._hard_state, peers, group_bytes
        )
        self._segments.append(segment)
        self._filled = 0
        return segment, data

    def _zeros_ahead(self) -> bytes:
        end = min(self._place.offset + self._settings.fill_bytes, self._segments[-1].size)
        self._filled = end
        return bytes(end - self._place.offset)

    def _write(self, cut: tuple[Segment, bytes] | None, offset: int, data: bytes) -> None:
        if cut is not None:
            segment, first_group = cut
            if self._file is not None:
                self._file.close()
            self._file = create_segment(self._files, segment, first_group, self._break_rule)
        assert self._file is not None
        if self._break_rule == "retryFailedSync":
            self._file.write_at(offset, data)
            sync(self._file, self._break_rule)
        else:
            self._file.write_synced(offset, data)

    def _remove(self, paths: list[Path]) -> None:
        for path in paths:
            self._files.remove(path)
        if paths:
            self._files.sync_directory(self._folder)


def plan_segment(
    folder: Path,
    place: Place,
    owner: Owner,
    settings: StorageSettings,
    hard_state: HardState | None = None,
    peers: dict[NodeId, str] | None = None,
    group_bytes: int = 0,
) -> tuple[Segment, bytes, Place]:
    """A segment that begins at `place` with room for `group_bytes`; its first group, which repeats what older
    segments take with them when they are dropped; and the place behind that."""
    size = padded(settings.segment_bytes)
    while True:
        body = GroupBody(
            hard_state=hard_state,
            peers=peers or {},
            owner=msgspec.structs.replace(owner, segment_bytes=size),
        )
        data, header = encode_group(place, encode_body(body))
        if len(data) + group_bytes <= size:
            break
        size = padded(len(data) + group_bytes + HEADER_BYTES)
    segment = Segment(place.segment, folder / segment_name(place.segment), size)
    return segment, data, place.after(header)._replace(salt=salt_of(owner.uuid))


def create_segment(
    files: FileSystem, segment: Segment, first_group: bytes, break_rule: Rule | None = None
) -> File:
    """Makes the file whole under another name, then gives it its own; open."""
    unfinished = segment.path.with_suffix(UNFINISHED_SUFFIX)
    file = files.open(unfinished, create=True)
    file.preallocate(segment.size)
    file.write_at(0, first_group)
    sync(file, break_rule)
    file.close()
    files.rename(unfinished, segment.path)
    files.sync_directory(segment.path.parent)
    return files.open(segment.path)


def sync(file: File, break_rule: Rule | None) -> None:
    """Once. A second try after a failure may find the pages clean and the data gone."""
    try:
        file.sync()
    except OSError:
        if break_rule != "retryFailedSync":
            raise
        file.sync()
