"""A scenario's World in virtual time: one Raft cluster, its load and its partitions."""

from pathlib import Path

import msgspec

from faultlab import __version__
from faultlab.contract.load import LoadStatus
from faultlab.contract.member import RaftConfig
from faultlab.contract.run import FaultRecord, Verdict
from faultlab.raft.rules import Rule, rule_named
from faultlab.sim.caretaker import Caretaker
from faultlab.sim.clocks import MachineClock
from faultlab.sim.options import DiskOptions, NetworkOptions, Options
from faultlab.sim.streams import Streams
from faultlab.sim.world import SimWorld
from faultlab_cli.errors import CliError
from faultlab_cli.simulated.faults import SimulatedFaults
from faultlab_cli.simulated.users import Users
from faultlab_operator.api import LoadTest, RaftCluster, Scenario
from faultlab_operator.errors import OperatorError
from faultlab_operator.render.loadtest import load_config, load_pod_name
from faultlab_operator.render.raftcluster import founding, member_names, peer_addresses, raft_config
from faultlab_operator.scenario.errors import ScenarioError
from faultlab_operator.scenario.judge import judge_directory
from faultlab_operator.scenario.machine import Progress
from faultlab_operator.scenario.manifests import load_manifest, load_name, system_manifest
from faultlab_operator.scenario.record import HISTORY_FILE, RunRecord, write_record
from faultlab_operator.scenario.recorder import Recorder
from faultlab_operator.scenario.run import CHECK_DEADLINE_S, client_sides_of
from faultlab_operator.scenario.times import wall_ns
from faultlab_operator.scenario.world import (
    Action,
    ApplyLoad,
    ApplySystem,
    Cleanup,
    CollectHistory,
    CreateFault,
    FinishLoad,
    HealFault,
    Judge,
    LoadSeen,
    Observation,
    SystemSeen,
)

WORLD = "simulation"
_TICKS_PER_HEARTBEAT = 5
"""As in the process (raft/settings.py)."""


class SimulatedWorld:
    """One scenario's; `faultlab_operator.scenario.world.World`."""

    def __init__(self, scenario: Scenario, recorder: Recorder, directory: Path, seed: int) -> None:
        """`directory` is where the run's files go, and `recorder` writes the events there. Raises CliError
        for what cannot be simulated."""
        self.scenario = scenario
        self.directory = directory
        self.seed = seed
        self.progress = Progress()
        """What the run's record says."""
        self.recorder = recorder
        self.sim = SimWorld(Streams(seed), _options(scenario), _broken_rule(scenario), keep_events=True)
        self._clock = MachineClock(self.sim.loop, 1.0, 0, 0)
        for machine in self.sim.machines.values():
            machine.clock = MachineClock(self.sim.loop, 1.0, 0, 0)
        self._caretaker = Caretaker(self.sim)
        self._pod = load_pod_name(load_name(scenario))
        self._faults = SimulatedFaults(self.sim, self._pod, self.now)
        self._users: Users | None = None
        self._load_started_at: str | None = None
        self._deployed = False
        self._heard: dict[str, int] = {}
        self._history_complete = False
        self._verdict: Verdict | None = None
        self._judge_error = ""

    def now(self) -> str:
        """The wall time of the simulation."""
        return self._clock.wall_time()

    def advance(self, duration_s: float) -> None:
        """Lets so much virtual time pass, and records what members said in it."""
        loop = self.sim.loop
        until = loop.now + int(duration_s * 1e9)
        while loop.now < until:
            loop.stopped = False
            loop.run(until)
            self._note_violation()
        self._record_events()

    async def observe(self) -> Observation:
        """As World.observe."""
        return Observation(
            systems={self._system: self._see_system()},
            load=LoadSeen() if self._users is None else LoadSeen(exists=True, status=self._users.status()),
            faults=dict(self._faults.seen),
            history_collected=(self.directory / HISTORY_FILE).exists(),
            verdict=self._verdict,
            judge_error=self._judge_error,
            lost=self.recorder.trouble,
        )

    async def perform(self, action: Action) -> None:
        """As World.perform."""
        match action:
            case ApplySystem() if not self._deployed:
                self._deployed = True
                self._caretaker.start()
            case ApplyLoad() if self._users is None:
                self._start_load()
            case CreateFault(index, name):
                fault = self.scenario.spec.timeline[index].fault
                self._faults.create(name, fault.kind, fault.spec, self.seed + index)
            case HealFault(name):
                self._faults.heal(name)
            case FinishLoad() if self._users is not None:
                self._users.finish()
            case CollectHistory():
                self._collect()
            case Judge():
                self._judge()
            case ApplySystem() | ApplyLoad() | FinishLoad() | Cleanup():
                pass  # was done; nothing outlives the process

    @property
    def _system(self) -> str:
        return self.scenario.spec.systems[0].metadata.name

    def _see_system(self) -> SystemSeen:
        if not self._deployed:
            return SystemSeen()
        waiting = [name for name in self.sim.machines if not self._knows_leader(name)]
        said = f"{', '.join(waiting)} know no leader yet" if waiting else ""
        return SystemSeen(exists=True, ready=not waiting, message=said)

    def _knows_leader(self, name: str) -> bool:
        process = self.sim.machines[name].process
        return process is not None and process.node.core.leader is not None

    def _start_load(self) -> None:
        manifest = load_manifest(self.scenario, self.seed)
        # The prefix of keys comes from the LoadTest's uid, which only an API server gives.
        manifest["metadata"]["uid"] = f"{self.seed:08x}"
        cluster = _cluster(self.scenario)
        config = load_config(LoadTest.parse(manifest), peer_addresses(cluster), self.seed)
        config = msgspec.structs.replace(config, workers=1, data_dir=str(self.directory))
        self._users = Users(self.sim, config, self._pod, self.now)
        self._load_started_at = self.now()
        self.recorder.load_start_ns = wall_ns(self._load_started_at)

    def _collect(self) -> None:
        if self._users is None:
            return
        self._history_complete = self._users.status().phase == "finished"
        self._users.history.replace(self.directory / HISTORY_FILE)
        self._write_record()

    def _judge(self) -> None:
        self.recorder.place()
        self._write_record()
        try:
            self._verdict = judge_directory(self.directory).verdict
        except (ScenarioError, OperatorError) as error:
            self._judge_error = str(error)

    def _write_record(self) -> None:
        scenario, progress = self.scenario, self.progress
        members = {self._system: member_names(self._system, scenario.spec.systems[0].spec.replicas)}
        faults: tuple[FaultRecord, ...] = tuple(fault.record for fault in self._faults.seen.values())
        status: LoadStatus | None = None if self._users is None else self._users.status()
        record = RunRecord(
            scenario=scenario.metadata.name,
            namespace=scenario.metadata.namespace,
            world=WORLD,
            seed=self.seed,
            started_at=progress.phases[0].started_at,
            spec=scenario.spec.wire(),
            phases=progress.phases,
            faults=faults,
            members=members,
            client_sides=client_sides_of(scenario, faults, members[self._system]),
            reasons=progress.reasons,
            load_started_at=self._load_started_at,
            history_complete=self._history_complete,
            missed=0 if status is None else status.missed,
            check_deadline_s=CHECK_DEADLINE_S,
            versions={"faultlab": __version__},
        )
        write_record(self.directory, record)

    def _record_events(self) -> None:
        for process in self.sim.processes():
            key = f"{process.machine.name}/{process.life}"
            for number, event in process.watch.events.after(self._heard.get(key, 0), 10_000):
                self._heard[key] = number
                self.recorder.add_member_event(event)

    def _note_violation(self) -> None:
        """The simulator's own look at the promises, as an event that the judge knows."""
        violation, self.sim.observer.violation = self.sim.observer.violation, None
        if violation is not None:
            self.recorder.add(
                "member", "InvariantViolated", violation, self.now(), subject=self._system, detail=violation
            )


def _cluster(scenario: Scenario) -> RaftCluster:
    """The one system; raises CliError where there are more."""
    systems = scenario.spec.systems
    if len(systems) != 1:
        raise CliError(
            f"the simulation knows scenarios of one RaftCluster; this one has {len(systems)} systems:"
            " run it with --world embedded"
        )
    return RaftCluster.parse(system_manifest(scenario, systems[0]))


def _config(scenario: Scenario) -> RaftConfig:
    """What each member would read on a cluster."""
    cluster = _cluster(scenario)
    return raft_config(cluster, founding(cluster, cluster.spec.replicas))


def _options(scenario: Scenario) -> Options:
    config = _config(scenario)
    tick_ns = config.heartbeat_interval_ms * 1_000_000 // _TICKS_PER_HEARTBEAT
    election_ns = config.election_timeout_ms * 1_000_000
    return Options(
        members=len(config.members),
        prefix=f"{config.cluster}-",
        spares=0,
        election_ns=election_ns,
        election_ticks=max(_TICKS_PER_HEARTBEAT + 1, round(election_ns / tick_ns)),
        heartbeat_ticks=_TICKS_PER_HEARTBEAT,
        pre_vote=config.pre_vote,
        check_quorum=config.check_quorum,
        reads=config.reads,
        forward=config.on_follower == "forward",
        priorities=config.priorities,
        max_clock_drift_percent=config.max_clock_drift_percent,
        drift=0.0,
        snapshot_log_bytes=config.snapshot_log_bytes,
        snapshot_chunk_bytes=256 * 1024,
        max_inflight_messages=64,
        max_entries_bytes_per_message=512 * 1024,
        max_uncommitted_bytes=config.max_uncommitted_bytes,
        max_committed_per_ready=4096,
        network=NetworkOptions(delay_ns=200_000),
        disk=DiskOptions(latency_ns=500_000, segment_bytes=4 * 1024 * 1024),
    )


def _broken_rule(scenario: Scenario) -> Rule | None:
    return rule_named(_config(scenario).break_rule)
