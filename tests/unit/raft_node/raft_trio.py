"""Three real nodes with real logs in one process; time passes, links and disks work as a test says."""

import random
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from faultlab.contract.member import PeerAddress, RaftConfig
from faultlab.raft.assembly import assemble
from faultlab.raft.commands import COMMANDS, prepare
from faultlab.raft.host import Host
from faultlab.raft.identity import choose_identity
from faultlab.raft.messages import InstallSnapshot, decode, encode
from faultlab.raft.node import RAFT_CHANNEL, RaftNode
from faultlab.raft.storage.errors import DamagedLog
from faultlab.raft.watch import Watch
from faultlab.runtime.files import RealFiles
from faultlab.runtime.resp.encoder import Result
from faultlab.runtime.resp.handler import Kind


class Loop:
    """A scheduler whose time passes with the ticks that it is told of."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.due: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()

    def time(self) -> float:
        return self.now_s

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self.due.append((callback, args))


class Clock:
    """Tells the loop's time."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def monotonic_ns(self) -> int:
        return round(self._loop.now_s * 1e9)

    def wall_ms(self) -> int:
        return round(self._loop.now_s * 1000)

    def wall_time(self) -> str:
        return "2026-01-01T00:00:00.000000Z"


class Disk:
    """A queue of jobs that can stand still."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._jobs: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self.stalled = False
        self.done = 0
        """Jobs so far."""

    def run(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        self._jobs.append((job, done))
        self.go_on()

    def go_on(self) -> None:
        while self._jobs and not self.stalled:
            job, done = self._jobs.pop(0)
            job()
            self.done += 1
            self._loop.call_soon(done)


class Wire:
    """A link that delivers to a node of the same process, unless it is cut."""

    def __init__(self, trio: "Trio", sender: str, to: str) -> None:
        self._trio, self._sender, self._to = trio, sender, to
        self.connected = True

    def send_urgent(self, channel: int, payload: bytes) -> None:
        if not {self._sender, self._to} & self._trio.down:
            node = self._trio.nodes[self._to]
            if channel == RAFT_CHANNEL and self._trio.on_part is not None:
                payload = self._changed(payload, self._trio.on_part)
            self._trio.loop.call_soon(node.received, self._sender, channel, payload)

    send_bulk = send_urgent

    def _changed(self, payload: bytes, change: Callable[[InstallSnapshot], InstallSnapshot]) -> bytes:
        messages = decode(payload)
        return encode([change(m) if isinstance(m, InstallSnapshot) else m for m in messages])

    def send_request(self, channel: int, payload: bytes) -> bool:
        self.send_urgent(channel, payload)
        return True


class Wires:
    def __init__(self, links: Mapping[str, Wire]) -> None:
        self.links = links

    def update_peers(self, peers: Mapping[str, tuple[str, int]]) -> None:
        assert peers.keys() == self.links.keys()


class Answer:
    def __init__(self) -> None:
        self.told: list[Result] = []

        self.by: str | None = None

    def resolve(self, result: Result, member: str | None, _term: int | None) -> None:
        assert not self.told
        self.told.append(result)
        self.by = member


NAMES = ("a", "b", "c")


class Trio:
    """Three real nodes with real logs, and time that passes only in `run`."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.loop = Loop()
        self.down: set[str] = set()
        self.broken: list[tuple[str, DamagedLog]] = []
        """Who has ended because of its disk."""
        self.on_part: Callable[[InstallSnapshot], InstallSnapshot] | None = None
        """What the network makes of parts of snapshots."""
        self.disks = {name: Disk(self.loop) for name in NAMES}
        self.nodes: dict[str, RaftNode] = {}
        clock = Clock(self.loop)
        self._storages = []
        members = tuple(PeerAddress(name, "h") for name in NAMES)
        for name in NAMES:
            config = RaftConfig(cluster="t", members=members, data_dir=str(directory / name), **settings)
            identity = choose_identity(RealFiles(), config, name)
            core, store, storage, _ = assemble(config, identity, RealFiles(), random.Random(name), clock)
            self._storages.append(storage)
            wires = Wires({other: Wire(self, name, other) for other in NAMES if other != name})
            self.nodes[name] = RaftNode(
                config,
                name,
                core,
                store,
                Host(self.loop, clock, storage, self.disks[name], wires),
                Watch(name, clock, 0.01, "i"),
                on_broken=partial(self._broke, name),
            )

    def close(self) -> None:
        for disk, storage in zip(self.disks.values(), self._storages, strict=True):
            disk.stalled = False
            disk.go_on()
            storage.close()

    def turn(self) -> None:
        while self.loop.due:
            callback, args = self.loop.due.popleft()
            callback(*args)

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.loop.now_s += 0.01
            for name, node in self.nodes.items():
                if name not in self.down:
                    node.ticks(1)
            self.turn()

    def lead(self) -> RaftNode:
        for _ in range(1000):
            self.run(1)
            leading = [node for node in self.nodes.values() if node.core.role == "leader"]
            if leading and all(node.core.leader for node in self.nodes.values()):
                return leading[0]
        raise AssertionError("nobody leads")

    def write(self, node: RaftNode, key: str, value: bytes = b"v") -> Answer:
        answer = Answer()
        command = prepare(COMMANDS["SET"], [b"SET", key.encode(), value])
        assert isinstance(command, bytes)
        node.submit(Kind.WRITE, command, answer)
        self.turn()
        return answer

    def read(self, node: RaftNode, key: str) -> Answer:
        answer = Answer()
        command = prepare(COMMANDS["GET"], [b"GET", key.encode()])
        assert isinstance(command, bytes)
        node.submit(Kind.READ, command, answer)
        self.turn()
        return answer

    def _broke(self, name: str, error: BaseException) -> None:
        if not isinstance(error, DamagedLog):
            raise error
        self.broken.append((name, error))
        self.down.add(name)
