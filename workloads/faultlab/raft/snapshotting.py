"""Snapshots on their way: taken when the log has grown, sent to who is behind, received, installed.

Thesis, chapter 5. Nothing here stalls the scheduler or the log: a snapshot is taken of a frozen copy of the
state, slice by slice, each a job between the groups of the log; parts for a follower are read by jobs, the
whole file once before the first of them; and what a leader sent is read back by a job, while entries that are
committed meanwhile are held.

A leader whose snapshot file is damaged ends: its disk has lost what was synced, and the log may be damaged as
well. Another member leads then, and has a snapshot of its own.
"""

from collections.abc import Callable, Iterator
from itertools import islice

import msgspec

from faultlab.contract.member import RaftConfig

from .core import Raft
from .host import Host
from .kv import KeyValueStore
from .messages import Entry, InstallSnapshot, NodeId, SnapshotMeta
from .ready import ReceivedChunk, SnapshotChunkRequest
from .storage.errors import DamagedLog
from .store_snapshot import FrozenStore, read_chunks

_KEPT_FRACTION = 0.25
"""Of `snapshot_log_bytes`: about as much of the log stays in front of a snapshot, for followers that are only
a little behind."""

_PATIENCE = 3
"""While a follower is being sent a snapshot, the next one is taken at so many times `snapshot_log_bytes`:
with the second one after it the file would be gone, and a slow follower would begin anew for ever."""

_BLOCKS_PER_JOB = 4
"""Of a file that is verified: 4 MiB, a few milliseconds."""

_VERIFIED_FOR_S = 10.0
"""A follower that hears nothing is sent first parts again and again: the file is not read for each."""


class _Taking(msgspec.Struct):
    """One snapshot that is being written."""

    meta: SnapshotMeta
    keep_after: int
    slices: Iterator[bytes]
    started_s: float
    cancelled: bool = False
    ended: bool = False


class Snapshotting:
    """The snapshots of one member."""

    def __init__(
        self,
        config: RaftConfig,
        core: Raft,
        store: KeyValueStore,
        host: Host,
        send: Callable[[InstallSnapshot], None],
        on_taken: Callable[[SnapshotMeta, float], None],
        on_broken: Callable[[DamagedLog], None],
    ) -> None:
        """`on_taken(meta, seconds)`: one is on disk, and has taken so long. `on_broken(error)`: one that was
        to be sent is not what was written, so this member must end."""
        self._core = core
        self._store = store
        self._scheduler, self._storage, self._disk = host.scheduler, host.storage, host.disk
        self._send = send
        self._on_taken = on_taken
        self._on_broken = on_broken
        self._limit_bytes = config.snapshot_log_bytes
        self._keep_from_bytes = int(config.snapshot_log_bytes * (1 - _KEPT_FRACTION))
        self._keep_after: int | None = None
        """What was applied when the log had grown to `_keep_from_bytes`."""
        self._taking: _Taking | None = None
        self._verifying: dict[int, dict[NodeId, SnapshotChunkRequest]] = {}
        """By the snapshot's index: the first parts that wait for it, one a follower."""
        self._verified: tuple[int, float] | None = None
        """Which snapshot was found whole last, and when."""
        self._loading: SnapshotMeta | None = None
        self._held: list[Entry] = []
        self.due = False
        """The log behind the last snapshot has grown to its bound."""
        self.taken = 0
        self.installed = 0
        self.parts_sent = 0

    @property
    def loading(self) -> bool:
        """Whether the state machine is behind the log because a snapshot is being loaded."""
        return self._loading is not None

    def applied(self) -> None:
        """The state machine has come on."""
        grown = self._storage.bytes_behind_snapshot
        if grown >= self._keep_from_bytes:
            if self._keep_after is None:
                self._keep_after = self._store.applied_index
            limit_bytes = self._limit_bytes * (_PATIENCE if self._core.sending_snapshot else 1)
            self.due = grown >= limit_bytes and self._taking is None

    # Taking one.

    def take(self) -> None:
        """Begins the snapshot that is due."""
        self.due = False
        if self._loading is not None or self._store.applied_index <= self._core.snapshot.index:
            return
        frozen = self._store.freeze()
        index = frozen.applied_index
        meta = SnapshotMeta(index, frozen.applied_term, self._core.configuration_at(index))
        keep_after = min(self._keep_after or meta.index, meta.index)
        self._keep_after = None
        self._taking = taking = _Taking(meta, keep_after, frozen.chunks(), self._scheduler.time())
        writer = self._storage.open_snapshot_writer()

        def write() -> None:
            part = next(taking.slices, None)
            if taking.cancelled:
                writer.discard()
            elif part is not None:
                writer.write(part)
            else:
                taking.meta = writer.finish(taking.meta)
                taking.ended = True

        def written() -> None:
            if taking.ended:
                self._taken(taking)
            elif taking.cancelled:
                self._taking = None
            else:
                self._disk.run(write, written)

        self._disk.run(write, written)

    def _taken(self, taking: _Taking) -> None:
        self._taking = None
        if taking.cancelled:  # one that was installed since is newer
            return
        self._core.compact(taking.meta, taking.keep_after)
        self._storage.compact(taking.meta, taking.keep_after, self._disk, _nothing)
        self.taken += 1
        self._on_taken(taking.meta, self._scheduler.time() - taking.started_s)

    # Sending one.

    def send(self, requests: list[SnapshotChunkRequest]) -> None:
        """Reads the parts that the core asks for and sends them; one that is gone it asks for anew."""
        for request in requests:
            if request.offset or self._is_verified(request.meta):
                self._read_and_send(request)
            else:
                self._verify_and_send(request)

    def _is_verified(self, meta: SnapshotMeta) -> bool:
        if self._verified is None:
            return False
        index, at_s = self._verified
        return index == meta.index and self._scheduler.time() - at_s < _VERIFIED_FOR_S

    def _verify_and_send(self, request: SnapshotChunkRequest) -> None:
        """Sends the first part once the file was read through: the follower would find out at the end."""
        meta = request.meta
        waiting = self._verifying.get(meta.index)
        if waiting is not None:
            waiting[request.to] = request
            return
        self._verifying[meta.index] = {request.to: request}
        blocks = self._storage.read_snapshot(meta)
        more = True
        wrong: list[DamagedLog | FileNotFoundError] = []

        def read() -> None:
            nonlocal more
            try:
                more = sum(1 for _ in islice(blocks, _BLOCKS_PER_JOB)) == _BLOCKS_PER_JOB
            except (DamagedLog, FileNotFoundError) as error:
                wrong.append(error)

        def have_read() -> None:
            if more and not wrong:
                self._disk.run(read, have_read)
            else:
                self._verified_all(meta, wrong)

        self._disk.run(read, have_read)

    def _verified_all(self, meta: SnapshotMeta, wrong: list[DamagedLog | FileNotFoundError]) -> None:
        waiting = self._verifying.pop(meta.index)
        for error in wrong:
            if isinstance(error, DamagedLog):
                self._on_broken(error)
            return  # gone: newer ones were taken meanwhile
        self._verified = meta.index, self._scheduler.time()
        for request in waiting.values():
            self._read_and_send(request)

    def _read_and_send(self, request: SnapshotChunkRequest) -> None:
        found: list[bytes] = []

        def read() -> None:
            data = self._storage.read_snapshot_chunk(request.meta, request.offset, request.length)
            if data is not None:
                found.append(data)

        def have_read() -> None:
            for data in found:
                self.parts_sent += 1
                self._send(request.message(data))

        self._disk.run(read, have_read)

    # Receiving one.

    def receive(self, chunks: list[ReceivedChunk]) -> None:
        """Writes parts of a leader's snapshot, behind all that the disk was given before."""
        for chunk in chunks:
            self._receive(chunk)

    def _receive(self, chunk: ReceivedChunk) -> None:
        self._disk.run(lambda: self._storage.incoming.write(chunk.meta, chunk.offset, chunk.data), _nothing)

    def install(self, meta: SnapshotMeta, done: Callable[[list[Entry]], None]) -> None:
        """Makes a received snapshot the beginning of the log, and its state the state machine's.

        `done` gets what was committed behind it meanwhile, to be applied now.
        """
        if self._taking is not None:
            self._taking.cancelled = True
        self._keep_after = None
        self._loading = meta
        self._held = []
        self._storage.install(meta, self._disk, _nothing)
        read: list[FrozenStore] = []

        def load() -> None:
            if self._loading is meta:
                read.append(read_chunks(self._storage.read_snapshot(meta)))

        def loaded() -> None:
            if self._loading is not meta:
                return  # a later one follows
            self._store.become(read[0])
            self._loading = None
            self.installed += 1
            held, self._held = self._held, []
            done(held)

        self._disk.run(load, loaded)

    def holds(self, entries: list[Entry]) -> bool:
        """Whether these must wait for the snapshot that is being loaded; then they are kept here.

        How many is bounded by what a leader sends ahead of acknowledgements, which wait for the disk as
        the loading does.
        """
        if self._loading is None:
            return False
        self._held += entries
        return True


def _nothing() -> None:
    """Nothing is to follow."""
