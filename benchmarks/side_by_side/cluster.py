"""One cluster of one system: members as processes on loopback, or each in a network of its own."""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import msgspec

from .processes import BenchmarkError, Process, await_that, free_ports


class Place(msgspec.Struct, frozen=True):
    """Where a member runs: its address, its ports, and what its command begins with."""

    host: str
    ports: tuple[int, int, int]
    prefix: tuple[str, ...] = ()
    """`nsenter ...` for a member in a network of its own."""


class Timing(msgspec.Struct, frozen=True):
    """How soon a cluster holds an election, in milliseconds."""

    election_ms: int
    heartbeat_ms: int


def loopback(count: int) -> list[Place]:
    """Places for `count` members on 127.0.0.1."""
    ports = free_ports(3 * count)
    return [Place("127.0.0.1", tuple(ports[3 * i : 3 * i + 3])) for i in range(count)]  # type: ignore[arg-type]


class Cluster:
    """Starts its members when entered, ends them and removes their data when left."""

    system: ClassVar[str]

    def __init__(
        self, directory: Path, size: int = 3, places: Sequence[Place] = (), timing: Timing | None = None
    ) -> None:
        """`timing` None: the system's own defaults."""
        self.directory = directory / self.system
        self.places = list(places) or loopback(size)
        self.timing = timing
        self.processes: list[Process | None] = [None] * len(self.places)

    def __enter__(self) -> Self:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        try:
            self.prepare()
            for index in range(len(self.places)):
                self.start(index)
            self.await_leader()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            if process is not None:
                with contextlib.suppress(OSError):
                    process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    # What a system must say about itself.

    def prepare(self) -> None:
        """Writes what members need before they start."""

    def command(self, index: int) -> list[str]:
        """Runs one member in the foreground."""
        raise NotImplementedError

    def leader_and_term(self, index: int) -> tuple[int | None, int] | None:
        """Whom a member takes for the leader (an index), and its term; None if it does not answer."""
        raise NotImplementedError

    def put_request(self, index: int) -> bytes:
        """One small write as bytes on the client port of a member."""
        raise NotImplementedError

    def is_done(self, reply: bytes) -> bool | None:
        """Whether `reply` says that the write was done; None while it is not complete."""
        raise NotImplementedError

    def transfer(self, leader: int, to: int) -> None:
        """Asks the leader to hand over."""
        raise BenchmarkError(f"{self.system} cannot hand over, from {leader} to {to}")

    # What all have in common.

    def start(self, index: int) -> None:
        """Starts a member that does not run."""
        log = self.directory / f"member-{index}.log"
        self.processes[index] = Process([*self.places[index].prefix, *self.command(index)], log)

    def process(self, index: int) -> Process:
        """The running member; BenchmarkError with its last words if it has ended by itself."""
        process = self.processes[index]
        if process is None or not process.alive():
            words = process.last_words() if process is not None else ""
            raise BenchmarkError(f"member {index} of {self.system} ended:\n{words}")
        return process

    def kill(self, index: int) -> float:
        """SIGKILL for one member; gives the monotonic time of it in seconds."""
        at_s = self.process(index).kill()
        self.processes[index] = None
        return at_s

    def stop(self, index: int) -> None:
        """Ends one member in order."""
        self.process(index).stop()
        self.processes[index] = None

    def agreed(self, members: Sequence[int]) -> tuple[int, int] | None:
        """The leader and the term that all of `members` name alike, if they do."""
        views = {self.leader_and_term(index) for index in members}
        if len(views) != 1 or (view := views.pop()) is None or view[0] is None:
            return None
        return view[0], view[1]

    def await_leader(self, members: Sequence[int] | None = None, timeout_s: float = 30.0) -> int:
        """Waits until all (or `members`) follow one leader; gives its index."""
        among = list(range(len(self.places))) if members is None else list(members)

        def probe() -> tuple[int, int] | None:
            for index in among:
                self.process(index)
            return self.agreed(among)

        leader, _ = await_that(probe, f"agreement on a leader of {self.system}", timeout_s)
        return leader

    def term(self) -> int:
        """The highest term that any member knows."""
        views = [self.leader_and_term(index) for index in range(len(self.places))]
        return max((view[1] for view in views if view is not None), default=0)

    def cpu_s(self) -> float:
        """Of all members, in seconds."""
        return sum(process.cpu_s() for process in self.processes if process is not None)

    def resident_mb(self) -> list[float]:
        """Of each member."""
        return [process.resident_mb() for process in self.processes if process is not None]

    def client_address(self, index: int) -> tuple[str, int]:
        """Where a member serves clients."""
        return self.places[index].host, self.places[index].ports[0]


ClusterFactory = Callable[..., Cluster]
