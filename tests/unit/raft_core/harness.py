"""A cluster of cores in virtual time: a network that delays, drops, reorders and cuts, disks that sync late.

Everything is drawn from one seed. Each message goes through its wire form. A crash loses what was not
synced; a restart hands the core what was. While it runs, the harness holds the cluster against Raft's
promises (paper, figure 3) and notes every breach in `violations`.
"""

import heapq
import itertools
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from operator import attrgetter

import msgspec

from faultlab.raft.checksum import crc32c
from faultlab.raft.config import CoreConfig
from faultlab.raft.configuration import Configuration
from faultlab.raft.core import Raft
from faultlab.raft.errors import Busy, NotLeader
from faultlab.raft.messages import Entry, HardState, Message, SnapshotMeta, decode, encode
from faultlab.raft.ready import CoreEvent, Ready

TICK_MS = 10

_index = attrgetter("index")


class Host:
    """One member: its core, its disk, and what it has applied in this life.

    Its snapshot file is the list of all entries applied, so that nothing that was chosen is ever forgotten.
    """

    def __init__(self, cluster: "Cluster", name: str, bootstrap: Configuration) -> None:
        self.cluster = cluster
        self.name = name
        self.settings: dict[str, object] = {}
        """Where they are not the cluster's; as of the next start."""
        self.disk_hard = HardState()
        self.disk_entries: list[Entry] = []
        self.disk_snapshot = SnapshotMeta(configuration=bootstrap)
        self.files: dict[int, bytes] = {0: _write([])}
        """Of the two latest snapshots."""
        self.up = False
        self.life = 0
        self.rate = 1.0
        self.rate_since = self.clock_then = cluster.now
        self.start()

    def start(self) -> None:
        self.up = True
        self.life += 1
        self.applied = _read(self.files[self.disk_snapshot.index])
        self.incoming = b""
        self.unsynced: deque[Ready] = deque()
        self.raft = Raft(
            self.cluster.config(self.name, self.settings),
            self.disk_hard,
            self.disk_snapshot,
            list(self.disk_entries),
            self.cluster.rng,
            self.clock_ns,
        )

    def clock_ns(self) -> int:
        """Its own clock, which may go at another rate than the world's."""
        now, then = self.cluster.now, self.rate_since
        return int((self.clock_then + (now - then) * self.rate) * 1e6)

    def crash(self) -> None:
        self.up = False
        self.life += 1

    def work(self) -> None:
        """Takes every Ready: sends, applies, and puts the rest behind a sync."""
        cluster = self.cluster
        while self.up and self.raft.has_ready():
            ready = self.raft.ready()
            for chunk in ready.received:
                self.incoming = self.incoming[: chunk.offset] + chunk.data
            if ready.snapshot is not None:
                assert crc32c(self.incoming) == ready.snapshot.checksum
                self.files[ready.snapshot.index] = self.incoming
                self.applied = _read(self.incoming)
            cluster.note(self, ready)
            self.applied += ready.committed
            for message in ready.messages:
                cluster.send(message)
            for request in ready.chunks:
                data = self.files.get(request.meta.index)
                if data is not None:
                    cluster.send(request.message(data[request.offset : request.offset + request.length]))
            self.unsynced.append(ready)
            life = self.life
            cluster.after(cluster.rng.uniform(*cluster.sync_ms), lambda life=life: self.synced(life))

    def synced(self, life: int) -> None:
        """The oldest Ready is on disk; those that crashed before never will be."""
        if life != self.life or not self.unsynced:
            return
        ready = self.unsynced.popleft()
        if ready.snapshot is not None:
            self._keep(ready.snapshot)
            self.disk_entries = []
        if ready.entries:
            first = ready.entries[0].index
            del self.disk_entries[bisect_left(self.disk_entries, first, key=_index) :]
            self.disk_entries += ready.entries
        if ready.hard_state is not None:
            self.disk_hard = ready.hard_state
        for message in ready.after_persist:
            if message.to == message.sender:
                self.raft.step(message)
            else:
                self.cluster.send(message)
        if ready.entries:
            self.raft.persisted(ready.entries[-1].index, ready.entries[-1].term)
        self.work()

    def take_snapshot(self, tail: int = 0) -> None:
        """Has a durable snapshot of all it has applied, and forgets the log but for a tail."""
        if not self.applied or self.applied[-1].index <= self.disk_snapshot.index:
            return
        last = self.applied[-1]
        data = self.files[last.index] = _write(self.applied)
        configuration = self.raft.configuration_at(last.index)
        meta = SnapshotMeta(last.index, last.term, configuration, len(data), crc32c(data))
        self._keep(meta)
        self.raft.compact(meta, last.index - tail)
        first_kept = bisect_left(self.disk_entries, self.raft.first_index, key=_index)
        del self.disk_entries[:first_kept]
        self.work()

    def _keep(self, meta: SnapshotMeta) -> None:
        if meta.index > self.disk_snapshot.index:
            self.disk_snapshot = meta
            for index in sorted(self.files)[:-2]:
                del self.files[index]


class Cluster:
    """Members, network and clock; `violations` must stay empty unless a break rule is set."""

    def __init__(
        self,
        size: int = 5,
        seed: int = 0,
        *,
        delay_ms: tuple[float, float] = (0.5, 2),
        sync_ms: tuple[float, float] = (0.5, 2),
        drop: float = 0.0,
        duplicate: float = 0.0,
        **settings: object,
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.delay_ms, self.sync_ms, self.drop, self.duplicate = delay_ms, sync_ms, drop, duplicate
        self.names = tuple(f"m{i}" for i in range(size))
        self._settings = {"election_ticks": 50, "heartbeat_ticks": 5, **settings}
        self.now = 0.0
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.cut: set[tuple[str, str]] = set()
        self.sent: list[Message] = []
        self.events: list[tuple[float, str, CoreEvent]] = []
        self.violations: list[str] = []
        self.leaders: dict[int, set[str]] = {}
        self.chosen: dict[int, Entry] = {}
        self.highest_applied = 0
        self.reads: dict[int, tuple[str, int]] = {}
        self.answers: dict[int, int] = {}
        self.lost: set[int] = set()
        self._context = itertools.count(1)
        self.hosts: dict[str, Host] = {}
        for name in self.names:
            self.add_host(name, Configuration(self.names))

    def add_host(self, name: str, bootstrap: Configuration | None = None) -> Host:
        """A member that starts: one of the first, or (without `bootstrap`) one that waits to be added."""
        host = self.hosts[name] = Host(self, name, bootstrap or Configuration())
        self.after(self.rng.uniform(0, TICK_MS), lambda: self._tick(name))
        return host

    def config(self, name: str, settings: dict[str, object]) -> CoreConfig:
        return CoreConfig(id=name, **{**self._settings, **settings})  # type: ignore[arg-type]

    # Time.

    def slow(self, host: Host, rate: float) -> None:
        """That member's clock and ticks go at this rate from now on."""
        host.clock_then = host.clock_ns() / 1e6
        host.rate_since = self.now
        host.rate = rate

    def after(self, delay_ms: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + delay_ms, next(self._order), action))

    def run(self, ms: float) -> None:
        """Lets that much time pass."""
        end = self.now + ms
        while self._agenda and self._agenda[0][0] <= end:
            self.now, _, action = heapq.heappop(self._agenda)
            action()
        self.now = end

    def run_until(self, condition: Callable[[], bool], within_ms: float = 20_000) -> None:
        """Lets time pass until the condition holds; fails the test when it does not in that time."""
        end = self.now + within_ms
        while not condition():
            assert self.now < end, f"seed {self.seed}: not within {within_ms} ms: {self.describe()}"
            self.run(1)

    def _tick(self, name: str) -> None:
        host = self.hosts[name]
        if host.up:
            host.raft.tick()
            host.work()
        self.after(TICK_MS / host.rate, lambda: self._tick(name))

    # Network.

    def send(self, message: Message) -> None:
        if (message.sender, message.to) in self.cut or self.rng.random() < self.drop:
            return
        self.sent.append(message)
        wire = encode([message])
        self.after(self.rng.uniform(*self.delay_ms), lambda: self._deliver(wire))
        if self.duplicate and self.rng.random() < self.duplicate:
            self.after(self.rng.uniform(*self.delay_ms), lambda: self._deliver(wire))

    def _deliver(self, wire: bytes) -> None:
        for message in decode(wire):
            host = self.hosts[message.to]
            if host.up and (message.sender, message.to) not in self.cut:
                host.raft.step(message)
                host.work()

    def partition(self, *groups: Iterable[str]) -> None:
        """Only members of one group hear each other."""
        sets = [set(group) for group in groups]
        self.cut = {
            (a, b) for a in self.hosts for b in self.hosts if not any(a in one and b in one for one in sets)
        }

    def majorities_ring(self) -> None:
        """Each member hears its neighbours on a ring: a majority, and no two members the same one."""
        size = len(self.names)
        reach = (size // 2 + 1) // 2
        self.cut = {
            (a, b)
            for (i, a), (j, b) in itertools.product(enumerate(self.names), repeat=2)
            if min((i - j) % size, (j - i) % size) > reach
        }

    def heal(self) -> None:
        self.cut = set()

    # Clients.

    def leader(self) -> Host | None:
        """The leader of the latest term that has one which is up."""
        leading = [host for host in self.hosts.values() if host.up and host.raft.role == "leader"]
        return max(leading, key=lambda host: host.raft.term, default=None)

    def elect(self) -> Host:
        """Waits for a leader that everybody reachable follows, with an entry of its term committed."""

        def settled() -> bool:
            host = self.leader()
            return host is not None and any(e.term == host.raft.term for e in host.applied)

        self.run_until(settled)
        host = self.leader()
        assert host is not None
        return host

    def propose(self, host: Host, *payloads: bytes) -> tuple[int, int] | None:
        try:
            place = host.raft.propose(list(payloads))
        except (NotLeader, Busy):
            return None
        host.work()
        return place

    def change(self, host: Host, voters: Iterable[str], learners: Iterable[str] = ()) -> bool:
        """Asks for other members; whether the change began."""
        try:
            host.raft.propose_configuration(Configuration(tuple(voters), (), tuple(learners)))
        except (NotLeader, Busy):
            return False
        host.work()
        return True

    def read(self, host: Host) -> int | None:
        """Asks for a read index; `answers` gets it, and one below what was applied by now is a violation."""
        context = next(self._context)
        self.reads[context] = (host.name, self.highest_applied)
        try:
            host.raft.read_index(context)
        except (NotLeader, Busy):
            return None
        host.work()
        return context

    # Promises.

    def note(self, host: Host, ready: Ready) -> None:
        for event in ready.events:
            self.events.append((self.now, host.name, event))
            if event.type == "LeaderElected":
                self._check_leader(host, event.term)
        for entry in ready.committed:
            known = self.chosen.setdefault(entry.index, entry)
            if known != entry:
                self._violate(f"state machine safety: {host.name} applies {entry}, {known} was applied")
            self.highest_applied = max(self.highest_applied, entry.index)
        for context, index in ready.read_states:
            self.answers[context] = index
            if index < self.reads[context][1]:
                self._violate(
                    f"stale read: {host.name} answers {index}, {self.reads[context][1]} was applied"
                )
        self.lost.update(ready.lost_reads)

    def _check_leader(self, host: Host, term: int) -> None:
        leaders = self.leaders.setdefault(term, set())
        leaders.add(host.name)
        if len(leaders) > 1:
            self._violate(f"election safety: term {term} has leaders {sorted(leaders)}")
        log = {entry.index: entry for entry in log_of(host)}
        for index, entry in self.chosen.items():
            if index >= host.raft.first_index and log.get(index) != entry:
                self._violate(f"leader completeness: {host.name} leads term {term} without {entry}")
                break

    def check_logs(self) -> None:
        """Log matching: where two logs have the same term at an index, they are the same up to it."""
        logs = {name: {entry.index: entry for entry in log_of(host)} for name, host in self.hosts.items()}
        for (a, one), (b, other) in itertools.combinations(logs.items(), 2):
            common = sorted(one.keys() & other.keys())
            agree = max((i for i in common if one[i].term == other[i].term), default=0)
            if any(one[i] != other[i] for i in common if i <= agree):
                self._violate(f"log matching: {a} and {b} differ below {agree}")

    def _violate(self, text: str) -> None:
        self.violations.append(f"{self.now:.0f} ms: {text}")

    def reported(self, promise: str) -> list[CoreEvent]:
        """What the members themselves reported of that promise."""
        return [
            event
            for _, _, event in self.events
            if event.type == "InvariantViolated" and (event.detail or "").startswith(promise)
        ]

    def describe(self) -> str:
        return "; ".join(
            f"{h.name} {'up' if h.up else 'down'} {h.raft.role} term {h.raft.term} commit {h.raft.commit}"
            f" last {h.raft.last_index}"
            for h in self.hosts.values()
        )


def log_of(host: Host) -> list[Entry]:
    """The log in memory, synced or not, as far as it is not compacted."""
    return host.raft._log.range(1, host.raft.last_index)


def _write(entries: list[Entry]) -> bytes:
    return msgspec.msgpack.encode(entries)


def _read(data: bytes) -> list[Entry]:
    return msgspec.msgpack.decode(data, type=list[Entry])
