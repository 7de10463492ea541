"""A scenario's World on Kubernetes: what the operator's cache and hubs show, what its client can do."""

import logging

from faultlab_operator.api import Scenario
from faultlab_operator.core import Services
from faultlab_operator.errors import StorageError
from faultlab_operator.faults.standing import HEAL_NOW
from faultlab_operator.render.common import SYSTEM_NAME
from faultlab_operator.scenario import observing
from faultlab_operator.scenario.cleaning import clean_up
from faultlab_operator.scenario.keeping import longest_history
from faultlab_operator.scenario.machine import Progress
from faultlab_operator.scenario.manifests import fault_manifest, load_manifest, load_name, system_manifest
from faultlab_operator.scenario.ownership import whose
from faultlab_operator.scenario.record import HISTORY_FILE
from faultlab_operator.scenario.run import Run
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
    Observation,
)

log = logging.getLogger(__name__)

HISTORY_TIMEOUT_S = 30.0


class KubernetesWorld:
    """One look at one scenario."""

    def __init__(
        self, services: Services, scenario: Scenario, run: Run, progress: Progress, seed: int
    ) -> None:
        self._services = services
        self._scenario = scenario
        self._namespace = scenario.metadata.namespace
        self._run = run
        self.progress = progress
        """What the run's record says; set to the step's before its actions."""
        self._seed = seed
        self.seen = Observation()

    async def observe(self) -> Observation:
        scenario, cache, run = self._scenario, self._services.cache, self._run
        name = load_name(scenario)
        load = observing.see_load(scenario, cache, self._services.loads.status(self._namespace, name))
        run.note_load(name, load.status)
        document = run.verdict()
        faults = observing.see_faults(scenario, cache)
        self.seen = Observation(
            systems=observing.see_systems(scenario, cache),
            load=load,
            faults={**faults, **observing.deleted_faults(scenario, faults)},
            history_collected=run.history_collected,
            history_refused=run.history_refused,
            verdict=None if document is None else document.verdict,
            judge_error=run.unjudged or (run.judge.error if run.judge is not None else ""),
            lost=self._lost(),
        )
        return self.seen

    async def perform(self, action: Action) -> None:
        """Raises what the API server or a pod answers; the state machine asks again."""
        match action:
            case ApplySystem(name):
                await self._apply_system(name)
            case ApplyLoad():
                await self._apply_ours("LoadTest", load_manifest(self._scenario, self._seed))
            case CreateFault(index, name):
                manifest = fault_manifest(self._scenario, index, name, self._seed)
                await self._apply_ours(manifest["kind"], manifest)
            case HealFault(name):
                patch = {"metadata": {"annotations": {HEAL_NOW: "now"}}}
                await self._services.kube.patch("NetworkPartition", self._namespace, name, patch)
            case FinishLoad():
                await self._services.loads.finish(self._namespace, load_name(self._scenario))
            case CollectHistory():
                await self._collect()
            case Judge():
                self._judge()
            case Cleanup():
                await clean_up(self._services, self._scenario)

    def _lost(self) -> str:
        if self._run.recorder.trouble:
            return self._run.recorder.trouble
        lost = {
            system.metadata.name: self._services.members.lost_events(self._namespace, system.metadata.name)
            for system in self._scenario.spec.systems
        }
        said = [f"{count} events of {name}'s members were lost" for name, count in lost.items() if count]
        if self._run.recorder.dropped:
            said.append(f"{self._run.recorder.dropped} events were too many to keep")
        # The number grows while the run goes on, and each reason is given once.
        return "events of members were lost, so invariants cannot be vouched for" if said else ""

    async def _apply_system(self, name: str) -> None:
        """Creates the system once nothing of an earlier one of its name is left."""
        system = next(each for each in self._scenario.spec.systems if each.metadata.name == name)
        if await self._leftover_goes(system.kind, name) or self._pods_left(name):
            return
        await self._services.kube.apply(system_manifest(self._scenario, system))

    async def _apply_ours(self, kind: str, manifest: dict[str, object]) -> None:
        metadata = manifest["metadata"]
        assert isinstance(metadata, dict)
        if not await self._leftover_goes(kind, metadata["name"]):
            await self._services.kube.apply(manifest)

    async def _leftover_goes(self, kind: str, name: str) -> bool:
        """Whether something of an earlier run stands in the way; it is told to go."""
        obj = self._services.cache.get(kind, self._namespace, name)
        if obj is None or whose(obj, self._scenario, self._services.cache) != "leftover":
            return False
        await self._services.kube.delete(kind, self._namespace, name, uid=obj["metadata"].get("uid"))
        return True

    def _pods_left(self, system: str) -> bool:
        cache = self._services.cache
        return bool(
            cache.list("Pod", self._namespace, {SYSTEM_NAME: system})
            or cache.get("StatefulSet", self._namespace, system)
        )

    async def _collect(self) -> None:
        run, name = self._run, load_name(self._scenario)
        status = self._services.loads.status(self._namespace, name)
        try:
            size = await self._services.loads.fetch_history(
                self._namespace,
                name,
                run.directory / HISTORY_FILE,
                timeout_s=HISTORY_TIMEOUT_S,
                longest=longest_history(self._services.settings),
            )
        except StorageError as error:
            run.history_refused = str(error)
            return
        run.history_complete = status is not None and status.phase == "finished"
        self._write_record()
        log.info("history of %s collected: %d bytes", self._scenario.metadata.name, size)

    def _judge(self) -> None:
        if self._run.judge is not None:
            return
        try:
            self._run.recorder.place()
            self._write_record()
        except OSError as error:
            self._run.unjudged = str(StorageError.after(error, "the run's record could not be written"))
            return
        self._run.start_judge()

    def _write_record(self) -> None:
        faults = tuple(fault.record for fault in self.seen.faults.values())
        self._run.write(self._scenario, self.progress, faults, self._seed)
