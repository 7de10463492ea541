"""Machines, their network and the members on them: a cluster in virtual time, before anything goes wrong.

The members are the real thing: `RaftNode` on the real core, state machine and storage. What is simulated is
what lies under them: time, the network, the disk. Nothing happens by itself here but what members do;
faults come from faults.py, care for members that ended from caretaker.py.
"""

from collections.abc import Callable
from pathlib import Path

from faultlab.contract.member import PeerAddress, RaftConfig
from faultlab.raft.errors import RaftError
from faultlab.raft.identity import IdentityRefused, choose_identity
from faultlab.raft.rules import Rule
from faultlab.raft.storage.errors import StorageError
from faultlab.runtime.resp.handler import Kind, Slot

from .clocks import MachineClock
from .hosting import host
from .loop import MS, Loop
from .machine import Machine, Process
from .marks import Marks
from .network import Network
from .observer import Observer
from .options import Options
from .safety import Safety
from .streams import Streams
from .trace import Recorder, Trace
from .transport import Transport

CLUSTER = "simulated"
DATA_DIR = Path("/data")


class SimWorld:
    """One cluster and everything around it."""

    def __init__(
        self,
        streams: Streams,
        options: Options,
        break_rule: Rule | None = None,
        trace: Trace | None = None,
        *,
        keep_events: bool = False,
    ) -> None:
        """`keep_events`: members keep the events that `/events` would show, which costs time."""
        self.loop = Loop()
        self.streams = streams
        self.options = options
        self.break_rule = break_rule
        self.keep_events = keep_events
        self.recorder = Recorder(self.loop, trace)
        self.marks = Marks(self.recorder)
        self.safety = Safety(self._violated)
        self.observer = Observer(self.safety, self.marks, self.recorder)
        self.network = Network(self.loop, streams.network, options.network)
        self.transport = Transport(self)
        self.machines = {name: self._machine(name) for name in options.machines}
        self._lives: list[Process] = []
        self.new_cluster = True
        """Whether an empty disk is that of a cluster's first start."""
        self.ids: dict[str, str] = {}
        """The id that a member's settings name, of those that joined later."""
        self.on_lost_data: Callable[[str, str], object] = _nobody_cares
        """Called with machine and id when a member must not come back under its id."""
        self.on_ended: Callable[[str], object] = _nobody_cares
        """Called with the machine when a process has ended by itself."""

    # Members.

    def start(self, name: str) -> bool:
        """A process on that machine, unless there is one; whether one runs then."""
        machine = self.machines[name]
        if machine.process is not None:
            return True
        config = self.config_of(name)
        try:
            identity = choose_identity(machine.files, config, name)
        except IdentityRefused:
            self.marks.reach("wiped member refused")
            self._lost(name, self.ids.get(name, name))
            return False
        process = Process(machine, identity.id, self.options.turn_ns)
        try:
            seen = host(self, process, config, identity)
        except StorageError as error:
            machine.files.release_locks()
            if not isinstance(error.__cause__, OSError):
                self.marks.reach("damaged log refused")
                self._lost(name, identity.id)
            return False
        except OSError as error:
            machine.files.release_locks()
            self.recorder.note("disk", name, text=str(error))
            return False
        machine.process = process
        self._lives.append(process)
        self.recorder.note(
            "started", name, process.id, number=process.life, term=process.node.core.term, index=seen.log.last
        )
        self.observer.started(seen)
        tick_ns = machine.clock.world_ns(self.options.tick_ns)
        self.loop.after(
            int(tick_ns * self.streams.clocks.random()), self._tick, process, self.loop.now + tick_ns
        )
        return True

    def end(self, name: str, *, power: bool, why: str) -> None:
        """The process on that machine is gone, with the power if so."""
        machine = self.machines[name]
        process = machine.process
        machine.end(power)
        machine.paused = False
        if process is None:
            return
        self.recorder.note("crashed", name, number=process.life, text=why)
        self.observer.ended(name)
        if not power:
            # The kernel goes on and closes the connections; the others see it.
            for other in self.machines.values():
                if other.process is not None and other is not machine:
                    delay_ns = self.network.delay_ns(name, other.name)
                    self.loop.after(delay_ns, self._connection_lost, other.process, process)

    def close(self) -> None:
        """Nothing happens here any more. Waiting proposals hold what waits for them, out of the garbage
        collector's sight, and would keep the whole world in memory."""
        for process in self._lives:
            process.node.stop()

    def config_of(self, name: str) -> RaftConfig:
        """The settings that a process on that machine is started with."""
        del name
        options = self.options
        members = options.machines if not self.new_cluster else options.names
        return RaftConfig(
            cluster=CLUSTER,
            members=tuple(PeerAddress(other, other, id=self.ids.get(other)) for other in members),
            data_dir=str(DATA_DIR),
            initial_state="new" if self.new_cluster else "existing",
            election_timeout_ms=max(1, options.election_ns // MS),
            heartbeat_interval_ms=max(1, options.tick_ns * options.heartbeat_ticks // MS),
            reads=options.reads,
            on_follower="forward" if options.forward else "redirect",
            pre_vote=options.pre_vote,
            check_quorum=options.check_quorum,
            max_clock_drift_percent=options.max_clock_drift_percent,
            priorities=options.priorities,
            snapshot_log_bytes=options.snapshot_log_bytes,
            max_uncommitted_bytes=options.max_uncommitted_bytes,
            break_rule=self.break_rule,
        )

    def processes(self) -> list[Process]:
        """All that run, by machine."""
        return [machine.process for machine in self.machines.values() if machine.process is not None]

    def leader(self) -> Process | None:
        """The process that leads the latest term, of those that think that they lead."""
        leaders = [process for process in self.processes() if process.node.core.role == "leader"]
        return max(leaders, key=lambda process: process.node.core.term, default=None)

    def submit(self, name: str, kind: Kind, command: bytes, slot: Slot) -> bool:
        """A client's prepared command reaches a machine; False if nobody listens there."""
        process = self.machines[name].process
        if process is None:
            return False
        process.enter(process.node.submit, kind, command, slot)
        return True

    def client_saw(self, what: str) -> None:
        """As clients.Watcher."""
        self.marks.reach(what)

    def violated(self, member: str, what: str) -> None:
        """As clients.Watcher."""
        self._violated(member, what)

    # What machines call.

    def refused_by_peer(self, process: Process) -> None:
        """Another member knows this one's id under other data."""
        if not process.ended:
            self.marks.reach("wiped member refused")
            self.end(process.machine.name, power=False, why="refused by a peer: its data was lost")
            self._lost(process.machine.name, process.id)

    def _connection_lost(self, process: Process, gone: Process) -> None:
        if not process.ended and self.network.hears(process.machine.name, gone.machine.name):
            process.enter(process.connection_lost, gone.id)

    def _tick(self, process: Process, due_ns: int) -> None:
        """One tick, or after a pause as many as a process would catch up with (runtime/ticker.py)."""
        if process.ended:
            return
        machine = process.machine
        if machine.paused:
            machine.backlog.append((process, self._tick, (process, due_ns)))
            return
        tick_ns = machine.clock.world_ns(self.options.tick_ns)
        count = 1 + max(0, self.loop.now - due_ns) // tick_ns
        self.loop.at(due_ns + count * tick_ns, self._tick, process, due_ns + count * tick_ns)
        process.enter(process.node.ticks, min(count, self.options.heartbeat_ticks))

    def broke(self, process: Process, error: BaseException) -> None:
        """As World.broke."""
        if process.ended:
            return
        name = process.machine.name
        if isinstance(error, OSError):
            self.disk_failed(process, error)
            return
        if isinstance(error, StorageError):
            self.end(name, power=False, why=str(error))
            self._lost(name, process.id)
            return
        what = f"{type(error).__name__}: {error}" if isinstance(error, RaftError) else repr(error)
        self.end(name, power=False, why=what)
        self._violated(process.id, f"member broken: {what}")
        self.observer.error = self.observer.error or error

    def disk_failed(self, process: Process, error: OSError) -> None:
        """As World.disk_failed."""
        if process.ended:
            return
        name = process.machine.name
        self.recorder.note("disk", name, text=str(error))
        self.marks.reach(self.machines[name].files.failure)
        self.end(name, power=False, why=str(error))
        self.on_ended(name)

    def _lost(self, name: str, member_id: str) -> None:
        self.observer.lost[name] = None
        self.recorder.note("stopped", name, member_id, text="what it had promised is lost")
        self.on_lost_data(name, member_id)

    def _violated(self, member: str, what: str) -> None:
        self.observer.violated(member, what)
        self.loop.stopped = True

    def _machine(self, name: str) -> Machine:
        rng, drift = self.streams.clocks, self.options.drift
        clock = MachineClock(
            self.loop, 1 + rng.uniform(-drift, drift), rng.randrange(10**12), rng.randrange(2000 * MS)
        )
        return Machine(self, name, clock, self.streams.disk, self.options.disk.latency_ns)


def _nobody_cares(*_: str) -> None:
    """Until somebody looks after the members."""
