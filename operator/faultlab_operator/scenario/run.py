"""What one operator process holds of a run that goes on: its directory, its recorder, its judge."""

import contextlib
import importlib.metadata
import platform
from collections.abc import Callable
from pathlib import Path

import msgspec

from faultlab.contract.load import LoadStatus
from faultlab.contract.run import FaultRecord, VerdictDocument
from faultlab_operator.api import Scenario
from faultlab_operator.core import Services
from faultlab_operator.faults.selection import client_sides
from faultlab_operator.render import member_names
from faultlab_operator.scenario.errors import RecordError
from faultlab_operator.scenario.judging import JudgeProcess
from faultlab_operator.scenario.machine import Progress, fault_name
from faultlab_operator.scenario.record import (
    HISTORY_FILE,
    RUN_FILE,
    VERDICT_FILE,
    RunRecord,
    read_record,
    write_record,
)
from faultlab_operator.scenario.recorder import Recorder
from faultlab_operator.scenario.times import from_wall_ns, load_start_wall_ns, wall_ns

CHECK_DEADLINE_S = 60.0


class Run:
    """Made when the scenario is first looked at by this process; closed when it is done or deleted."""

    def __init__(self, services: Services, scenario: Scenario, directory: Path) -> None:
        self.directory = directory
        self.recorder = Recorder(directory)
        self.judge: JudgeProcess | None = None
        self.load_started_at: str | None = None
        self.history_complete = False
        self.missed = 0
        self.history_refused = ""
        """Why the history can never be had; empty while it may."""
        self.unjudged = ""
        """Why the judge cannot be started; empty while it may."""
        self._services = services
        self._namespace = scenario.metadata.namespace
        self._hurry = contextlib.ExitStack()
        self._load_hurried = False
        self._restore()
        self._unsubscribe = [self._subscribe(system.metadata.name) for system in scenario.spec.systems]
        for system in scenario.spec.systems:
            self._hurry.enter_context(services.members.hurried(self._namespace, system.metadata.name))

    def note_load(self, name: str, status: LoadStatus | None) -> None:
        """Keeps what the load alone knows, as long as it can be asked."""
        if status is None:
            return
        if not self._load_hurried:
            self._hurry.enter_context(self._services.loads.hurried(self._namespace, name))
            self._load_hurried = True
        self.missed = max(self.missed, status.missed)
        if self.load_started_at is None and status.phase in ("running", "finishing", "finished"):
            self._load_started(from_wall_ns(load_start_wall_ns(status)))

    @property
    def history_collected(self) -> bool:
        return (self.directory / HISTORY_FILE).exists()

    def verdict(self) -> VerdictDocument | None:
        """The judge's, once it is there."""
        try:
            return msgspec.json.decode((self.directory / VERDICT_FILE).read_bytes(), type=VerdictDocument)
        except FileNotFoundError:
            return None

    def start_judge(self) -> None:
        if self.judge is None:
            self.judge = JudgeProcess(self.directory, CHECK_DEADLINE_S)

    def write(
        self, scenario: Scenario, progress: Progress, faults: tuple[FaultRecord, ...], seed: int
    ) -> None:
        """`run.json` as it is now; before the judge reads it, events are placed on the history's clock."""
        namespace = scenario.metadata.namespace
        members = {
            system.metadata.name: member_names(system.metadata.name, system.spec.replicas)
            for system in scenario.spec.systems
        }
        record = RunRecord(
            scenario=scenario.metadata.name,
            namespace=namespace,
            world=self._services.settings.world,
            seed=seed,
            started_at=progress.phases[0].started_at,
            spec=scenario.spec.wire(),
            phases=progress.phases,
            faults=faults,
            members=members,
            client_sides=client_sides_of(scenario, faults, members[scenario.spec.load.system.name]),
            reasons=progress.reasons,
            load_started_at=self.load_started_at,
            history_complete=self.history_complete,
            missed=self.missed,
            check_deadline_s=CHECK_DEADLINE_S,
            versions=self._versions(members),
        )
        write_record(self.directory, record)

    async def close(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._hurry.close()
        self.recorder.close()
        if self.judge is not None:
            await self.judge.close()

    def _subscribe(self, system: str) -> Callable[[], None]:
        return self._services.members.subscribe(
            self._namespace, system, lambda event: _ignore(self.recorder.add_member_event(event))
        )

    def _load_started(self, moment: str) -> None:
        self.load_started_at = moment
        self.recorder.load_start_ns = wall_ns(moment)

    def _restore(self) -> None:
        """What an operator before this one wrote down."""
        if not (self.directory / RUN_FILE).exists():
            return
        with contextlib.suppress(RecordError):
            record = read_record(self.directory)
            if record.load_started_at is not None:
                self._load_started(record.load_started_at)
            self.history_complete = record.history_complete
            self.missed = record.missed

    def _versions(self, members: dict[str, tuple[str, ...]]) -> dict[str, str]:
        versions = {
            "faultlab": importlib.metadata.version("faultlab"),
            "python": platform.python_version(),
            "kernel": platform.release(),
        }
        for system in members:
            for view in self._services.members.statuses(self._namespace, system).values():
                if view.status is not None:
                    versions[system] = f"{view.status.system} {view.status.version}"
        return versions


def client_sides_of(
    scenario: Scenario, faults: tuple[FaultRecord, ...], members: tuple[str, ...]
) -> dict[str, tuple[tuple[str, ...], ...]]:
    """By fault, the sets of members that clients were to reach; `members` are those of the loaded system."""
    by_name = {fault.name: fault for fault in faults}
    sides = {}
    for index, entry in enumerate(scenario.spec.timeline):
        fault = by_name.get(fault_name(scenario.metadata.name, index))
        if fault is not None:
            sides[fault.name] = client_sides(entry.fault.spec.clients, members, fault.cut_off)
    return sides


def _ignore(_: object) -> None:
    """A subscriber returns nothing."""
