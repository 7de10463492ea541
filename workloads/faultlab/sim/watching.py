"""What is seen of one process from outside: every message it takes in, every Ready it hands out.

`WatchedRaft` is the real core with a window in it. What shows there goes to the promises (safety.py), the
coverage marks (marks.py) and the trace. Nothing here changes what the core does.
"""

from typing import Any

from faultlab.raft.core import Raft
from faultlab.raft.kv import KeyValueStore
from faultlab.raft.messages import (
    Entry,
    HardState,
    InstallSnapshot,
    Message,
    SnapshotMeta,
    SnapshotResponse,
    VoteRequest,
)
from faultlab.raft.ready import CoreEvent, Ready
from faultlab.raft.watch import Watch

from .observer import Observer, Seen

STATE_STRIDE = 16
"""Entries between two comparisons of the members' whole states."""


class WatchedRaft(Raft):
    """The core, watched. Give it `observer` and `seen` before its first Ready."""

    observer: Observer
    seen: Seen

    def step(self, message: Message) -> None:
        kind = type(message)
        if kind is VoteRequest or kind is InstallSnapshot or kind is SnapshotResponse:
            self.observer.heard(self.seen, self, message)
        super().step(message)

    def ready(self) -> Ready:
        ready = super().ready()
        self.observer.ready(self.seen, self, ready)
        return ready


class SimWatch(Watch):
    """The member's own events, which nobody reads here, in exchange for a look at its state now and then."""

    observer: Observer
    seen: Seen
    keeps_events: bool

    def core(self, event: CoreEvent) -> None:
        """Seen in the Ready already."""
        if self.keeps_events:
            super().core(event)

    def snapshot_taken(self, meta: SnapshotMeta, detail: str) -> None:
        """Everything up to an index is in a file."""
        self.observer.snapshot_taken(self.seen, meta.index)
        if self.keeps_events:
            super().snapshot_taken(meta, detail)

    def checkpoint(self, store: KeyValueStore) -> None:
        """After every STATE_STRIDE-th entry."""
        self.observer.state(self.seen, store)
        if self.keeps_events:
            super().checkpoint(store)


class WatchedStorage:
    """The member's storage, with an eye on what becomes durable when."""

    def __init__(self, storage: Any, observer: Observer, seen: Seen) -> None:
        self._storage = storage
        self._observer = observer
        self._seen = seen
        self._entries: list[Entry] = []
        self._state: HardState | None = None
        self._installed: SnapshotMeta | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def add_entries(self, entries: list[Entry]) -> None:
        """As Storage.add_entries."""
        self._entries += entries
        self._storage.add_entries(entries)

    def add_hard_state(self, state: HardState) -> None:
        """As Storage.add_hard_state."""
        self._state = state
        self._storage.add_hard_state(state)

    def install(self, meta: SnapshotMeta, disk: Any, done: Any) -> None:
        """As Storage.install: what was gathered before is forgotten."""
        self._entries = []
        self._installed = meta
        self._storage.install(meta, disk, done)

    def start_sync(self, disk: Any, done: Any) -> None:
        """As Storage.start_sync; what it writes counts as durable once the disk says so."""
        entries, self._entries = self._entries, []
        state, self._state = self._state, None
        installed, self._installed = self._installed, None

        def synced() -> None:
            self._observer.synced(self._seen, entries, state, installed)
            done()

        self._storage.start_sync(disk, synced)
