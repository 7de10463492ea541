"""A machine: a disk, two clocks, and at most one process of a member on it.

A process has one life. Whatever reaches it (frames, requests, ticks, the end of a disk job) comes in by
`enter`: a process that has ended hears nothing any more, a paused one hears everything when it goes on.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from faultlab.raft.node import RaftNode
from faultlab.raft.watch import Watch

from .clocks import MachineClock
from .disk import SimDiskQueue
from .files import SimFiles
from .loop import Loop
from .transport import SimPeers, Transport


class World(Protocol):
    """What a machine needs of the simulation."""

    loop: Loop
    transport: Transport

    def broke(self, process: "Process", error: BaseException) -> None:
        """An exception that no process may raise, or one that ends it."""
        ...

    def disk_failed(self, process: "Process", error: OSError) -> None:
        """A disk job failed: the member has ended."""
        ...


class Machine:
    """One of the run's machines."""

    def __init__(self, world: World, name: str, clock: MachineClock, rng: Random, latency_ns: int) -> None:
        self.world = world
        self.name = name
        self.clock = clock
        self.files = SimFiles(rng)
        self.latency_ns = latency_ns
        """Of a disk job, in the mean."""
        self.slowed = 1.0
        """By how much the disk is slower at the moment."""
        self.process: Process | None = None
        self.lives = 0
        self.paused = False
        self.backlog: list[tuple[Process, Callable[..., object], tuple[Any, ...]]] = []
        self.held: dict[str, None] = {}
        """Why no process is started here for the time being: the names of what forbids it."""
        self._rng = rng

    def job_ns(self) -> int:
        """How long the next disk job takes."""
        return 1 + int(self.latency_ns * self.slowed * self._rng.uniform(0.4, 1.6))

    def pause(self) -> None:
        """The process stands still."""
        self.paused = True

    def resume(self) -> None:
        """It goes on, with everything that has come for it meanwhile."""
        self.paused = False
        backlog, self.backlog = self.backlog, []
        for process, action, args in backlog:
            process.enter(action, *args)

    def mend(self) -> None:
        """The disk has room, works and is as quick as ever; the process goes on if it stood still."""
        self.slowed = 1.0
        self.files.full = False
        self.files.write_fails = self.files.sync_fails = 0
        if self.paused:
            self.resume()

    def end(self, power: bool) -> None:
        """The process is gone; with the power also what the disk had not made durable."""
        process, self.process = self.process, None
        self.backlog.clear()
        if process is not None:
            process.ended = True
            process.disk.end(power)
        if power:
            self.files.lose_power()
        self.files.release_locks()


class Process:
    """One life of a member: its scheduler, disk queue and links, and the node that runs on them."""

    def __init__(self, machine: Machine, member_id: str, turn_ns: int) -> None:
        machine.lives += 1
        self.machine = machine
        self.id = member_id
        self.life = machine.lives
        self.ended = False
        self.uuid = ""
        self.known: dict[str, str] = {}
        """Other members' data, by id: the uuid under which it was first met."""
        self.met: dict[Process, None] = {}
        """Processes whose handshake was accepted."""
        self.peers = SimPeers(machine.world.transport, self)
        self.disk = SimDiskQueue(
            machine.world.loop,
            machine._rng,
            machine.files,
            machine.job_ns,
            self.enter,
            lambda error: machine.world.disk_failed(self, error),
            lambda error: machine.world.broke(self, error),
        )
        self.node: RaftNode
        self.watch: Watch
        self.learned: Callable[[str, str], None]
        """Told of another's data: its id and uuid, to be remembered."""
        self._turn_ns = turn_ns
        self._soon: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._turn_planned = False

    def time(self) -> float:
        """As Scheduler.time."""
        return self.machine.clock.monotonic_ns() / 1e9

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        """As Scheduler.call_soon: at the end of what is going on, or of the turn if turns take time."""
        self._soon.append((callback, args))
        if self._turn_ns and not self._turn_planned:
            self._turn_planned = True
            self.machine.world.loop.after(self._turn_ns, self.enter, self._take_turn)

    def enter(self, action: Callable[..., object], *args: Any) -> None:
        """Lets something happen in this process, now, later or never."""
        if self.ended:
            return
        machine = self.machine
        if machine.paused:
            machine.backlog.append((self, action, args))
            return
        try:
            action(*args)
            if not self._turn_ns:
                soon = self._soon
                while soon and not self.ended:
                    callback, its_args = soon.popleft()
                    callback(*its_args)
        except Exception as error:
            machine.world.broke(self, error)

    def connection_lost(self, member_id: str) -> None:
        """The process of another member has ended, and its kernel says so."""
        self.node.disconnected(member_id)
        self.node.process_ended(member_id)

    def _take_turn(self) -> None:
        self._turn_planned = False
        for _ in range(len(self._soon)):
            callback, args = self._soon.popleft()
            callback(*args)
            if self.ended:
                return
