"""Power cuts with writes in flight: every member comes back by itself, with all that it had acknowledged.

The disk in memory keeps of what was not synced what chance leaves: nothing, all, the first sectors, or any
set of them; and of names that no directory sync made durable, the first so many.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from faultlab.raft.configuration import Configuration
from faultlab.raft.messages import Entry, HardState, SnapshotMeta
from faultlab.raft.storage.store import Recovered, Storage, StorageSettings, open_storage
from faultlab.sim.files import Inode, PowerCut, SimFiles

DATA = Path("/data")
BOOTSTRAP = Configuration(voters=("demo-0", "demo-1", "demo-2"))
MEMBERS = ("demo-0", "demo-1", "demo-2")


class CutFiles(SimFiles):
    """A disk whose power goes after so many syncs."""

    syncs_left = 1_000_000

    def check_sync(self, name: str, inode: Inode) -> None:
        """Before a file is synced."""
        self._count()
        super().check_sync(name, inode)

    def sync_directory(self, path: Path) -> None:
        """Counts as well."""
        self._count()
        super().sync_directory(path)

    def _count(self) -> None:
        self.syncs_left -= 1
        if self.syncs_left < 0:
            self.dying = True


class Now:
    """A disk queue that does not queue."""

    def run(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        """At once; a power cut comes out of it."""
        job()
        done()


class Member:
    """One disk, what was acknowledged from it, and what may be on it besides."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name = name
        self.rng = rng
        self.files = CutFiles(rng)
        self.settings = StorageSettings(4096, rng.choice([0, 1024]))
        self.acked: list[Entry] = []
        self.acked_state = HardState()
        self.acked_snapshot = 0
        self.log: list[Entry] = []
        """With what was being written, as `state`."""
        self.state = HardState()
        self.snapshot = 0
        self.term = 1
        self.storage: Storage | None = None

    def start(self) -> None:
        """Opens what is there and checks it; a PowerCut may come out of it."""
        self.storage, recovered = open_storage(
            self.files,
            DATA,
            "demo",
            self.name,
            BOOTSTRAP,
            settings=self.settings,
            make_uuid=lambda: self.name,
        )
        self._check(recovered)
        self.snapshot = self.acked_snapshot = recovered.snapshot.index
        self.log = self._content(recovered)
        self.state = recovered.hard_state
        self.term = max(self.term, self.state.term)
        self._acknowledge(self.log, self.state)  # what was found is durable now

    def work(self) -> None:
        """One thing that members do; a PowerCut may come out of it."""
        choice = self.rng.random()
        if choice < 0.8 or not self.log:
            self._write()
        elif choice < 0.93:
            self._snapshot()
        else:
            self._install()

    def end(self, power: bool) -> None:
        """The process is gone; with `power` also what only memory held."""
        self.storage = None
        self.files.release_locks()
        self.files.dying = False
        if power:
            self.files.lose_power()
        self.files.syncs_left = 1_000_000

    def _write(self) -> None:
        assert self.storage is not None
        rng = self.rng
        first = len(self.log) + 1
        if rng.random() < 0.3:
            self.term += 1
            first = rng.randint(max(self.snapshot, len(self.log) - 3) + 1, first)
        entries = [
            Entry(i, self.term, rng.choice([b"", rng.randbytes(60), rng.randbytes(900), bytes(1500)]))
            for i in range(first, first + rng.randint(1, 4))
        ]
        state = HardState(self.term, rng.choice(MEMBERS), self.snapshot)
        self.log = log = self.log[: first - 1] + entries
        self.state = state
        self.storage.add_entries(entries)
        self.storage.add_hard_state(state)
        self.storage.start_sync(Now(), lambda: self._acknowledge(log, state))

    def _acknowledge(self, log: list[Entry], state: HardState) -> None:
        self.acked, self.acked_state = log, state

    def _snapshot(self) -> None:
        assert self.storage is not None
        index = self.rng.randint(max(1, self.snapshot), len(self.log))
        meta = SnapshotMeta(index, self.log[index - 1].term, BOOTSTRAP)
        writer = self.storage.open_snapshot_writer()
        for _ in range(self.rng.randint(1, 3)):
            writer.write(self.rng.randbytes(800))
        meta = writer.finish(meta)
        self.acked_snapshot = self.snapshot = index
        self.storage.compact(meta, self.rng.randint(max(0, index - 3), index), Now(), lambda: None)

    def _install(self) -> None:
        """A leader's snapshot, ahead of this log or in conflict with it."""
        assert self.storage is not None
        self.term += 1
        index = len(self.log) + self.rng.randint(1, 5)
        parts = [self.rng.randbytes(500) for _ in range(3)]
        writer = open_storage(
            CutFiles(random.Random(1)), DATA, "demo", "other", settings=StorageSettings(4096)
        )[0].open_snapshot_writer()
        for part in parts:
            writer.write(part)
        meta = writer.finish(SnapshotMeta(index, self.term, BOOTSTRAP))
        for number, part in enumerate(parts):
            self.storage.incoming.write(meta, 500 * number, part)
        filler = [Entry(i, self.term, b"in the snapshot") for i in range(1, index + 1)]
        self.log, self.snapshot = filler, index
        self.state = state = HardState(self.term, None, index)
        self.storage.install(meta, Now(), lambda: None)
        self.storage.add_hard_state(state)
        self.storage.start_sync(Now(), lambda: self._acknowledge(filler, state))
        self.acked_snapshot = index

    def _content(self, recovered: Recovered) -> list[Entry]:
        """The whole log: what the snapshot covers as it was written here, then the entries."""
        index = recovered.snapshot.index
        covered = self.log[:index] if len(self.log) >= index else self.acked[:index]
        return [*covered, *recovered.entries]

    def _check(self, recovered: Recovered) -> None:
        """It is what was acknowledged, or that and all of the group that was being written; nothing else."""
        snapshot = recovered.snapshot
        assert snapshot.index >= self.acked_snapshot, "a snapshot that was durable is gone"
        possible = []
        for log, state in ((self.acked, self.acked_state), (self.log, self.state)):
            term = max(state.term, snapshot.term)
            vote = state.vote if term == state.term else None
            entries = [entry for entry in log if entry.index > snapshot.index]
            possible.append((entries, HardState(term, vote, max(state.commit, snapshot.index))))
        assert (recovered.entries, recovered.hard_state) in possible


@pytest.mark.parametrize("seed", range(60))
def test_a_power_cut_or_a_kill_of_all_members_at_once_always_comes_back_by_itself(seed: int) -> None:
    rng = random.Random(seed)
    members = [Member(name, random.Random(f"{seed}/{name}")) for name in MEMBERS]
    for _ in range(8):
        for member in members:
            member.files.syncs_left = rng.randint(0, 40)
        up = list(members)
        for step in range(60):
            for member in list(up):
                try:
                    if member.storage is None:
                        member.start()
                    else:
                        member.work()
                except PowerCut:
                    up.remove(member)
                    member.storage = None
            if step > 50 or not up:
                break
        power = rng.random() < 0.6
        for member in members:
            member.end(power)
    for member in members:
        member.start()
