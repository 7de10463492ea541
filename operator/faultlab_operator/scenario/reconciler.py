"""Scenario: looks, lets the state machine decide, does what it says, and writes the status.

One look after another, each short: checks run in a child process and history is streamed to disk, so the
operator's loop, on which faults' leases are renewed, never waits.
"""

import asyncio
import logging
import random

from pydantic import ValidationError

from faultlab.contract.run import VerdictDocument
from faultlab_operator.api import Scenario, ScenarioStatus
from faultlab_operator.core import Key, Services, rfc3339
from faultlab_operator.errors import BadSpec, OperatorError, StorageError
from faultlab_operator.handlers.problems import model_problem
from faultlab_operator.kube.conditions import set_condition
from faultlab_operator.scenario.cleaning import clean_up
from faultlab_operator.scenario.keeping import begun
from faultlab_operator.scenario.kubernetes import KubernetesWorld
from faultlab_operator.scenario.machine import Progress, Step, cleans_up, plan
from faultlab_operator.scenario.progress import progress_of, report_url, set_progress, set_verdict
from faultlab_operator.scenario.run import Run
from faultlab_operator.scenario.store import RunStore
from faultlab_operator.scenario.telling import tell
from faultlab_operator.scenario.world import Observation

log = logging.getLogger(__name__)

KIND = "Scenario"
TIDY_AGAIN_S = 1.0
NO_ROOM_AGAIN_S = 5.0
ACTION_TIMEOUT_S = 45.0
"""Longer than any request that an action makes."""


class ScenarioReconciler:
    """Brings Scenarios to their verdicts. One for the operator's life."""

    def __init__(self, services: Services, store: RunStore) -> None:
        self._services = services
        self._store = store
        self._runs: dict[str, Run] = {}
        """By the scenario's uid."""
        self._uids: dict[Key, str] = {}

    async def close(self) -> None:
        """Ends what runs beside the operator's loop. The runs themselves go on with the next operator."""
        for uid in list(self._runs):
            await self._close_run(uid)

    async def reconcile(self, key: Key) -> float | None:
        obj = self._services.cache.get(KIND, key.namespace, key.name)
        uid = None if obj is None else obj["metadata"].get("uid")
        before = self._uids.pop(key, None)
        if before is not None and before != uid:
            await self._close_run(before)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return None
        try:
            scenario = Scenario.parse(obj)
        except ValidationError as error:
            raise BadSpec(f"{key}: {model_problem(error)}") from error
        self._uids[key] = scenario.metadata.uid
        if scenario.status.phase == "Done":
            await self._close_run(scenario.metadata.uid)
            return await self._tidy(scenario)
        return await self._look(scenario)

    async def _look(self, scenario: Scenario) -> float | None:
        status = scenario.status
        if status.seed is None:
            status.seed = scenario.spec.seed
        if status.seed is None:
            status.seed = random.SystemRandom().randrange(2**32)
        try:
            run = self._run(scenario)
        except StorageError as error:
            return await self._wait_for_room(scenario, error)
        before = progress_of(status)
        world = KubernetesWorld(self._services, scenario, run, before, status.seed)
        seen = await world.observe()
        step = plan(scenario.metadata.name, scenario.spec, before, seen, self._services.clock.now())
        world.progress = step.progress
        problem = await self._perform(world, step)
        tell(run.recorder, scenario, before, step.progress, seen, rfc3339(self._services.clock.now()))
        await self._write(scenario, run, step, seen, problem)
        if step.progress.phase == "Done":
            await self._close_run(scenario.metadata.uid)
        return step.look_after_s

    async def _wait_for_room(self, scenario: Scenario, error: StorageError) -> float:
        """Nothing begins, or goes on in an operator that started anew, without a place for its files."""
        self._set_conditions(scenario, progress_of(scenario.status), str(error))
        metadata = scenario.metadata
        await self._services.kube.patch_status(
            KIND, metadata.namespace, metadata.name, scenario.status.wire()
        )
        return NO_ROOM_AGAIN_S

    async def _tidy(self, scenario: Scenario) -> float | None:
        """A cleanup that failed when the run was done is made up for."""
        if not cleans_up(scenario.spec, scenario.status.verdict):
            return None
        return TIDY_AGAIN_S if await clean_up(self._services, scenario) else None

    async def _perform(self, world: KubernetesWorld, step: Step) -> str:
        """Does what is to be done; says what did not work, which is asked for again."""
        problems = []
        for action in step.actions:
            try:
                async with asyncio.timeout(ACTION_TIMEOUT_S):
                    await world.perform(action)
            except (OperatorError, TimeoutError, OSError) as error:
                problems.append(f"{type(action).__name__}: {error or type(error).__name__}")
                log.warning("%s", problems[-1])
        return "; ".join(problems)

    async def _write(self, scenario: Scenario, run: Run, step: Step, seen: Observation, problem: str) -> None:
        status = scenario.status
        status.observed_generation = scenario.metadata.generation
        set_progress(status, step.progress, seen)
        document = run.verdict() if step.progress.phase == "Done" else None
        if step.progress.phase == "Done":
            set_verdict(status, step.progress, document)
            status.report_url = report_url(self._services.settings.pages_url, scenario.metadata.uid, document)
        self._set_conditions(scenario, step.progress, problem)
        metadata = scenario.metadata
        changed = await self._services.kube.patch_status(
            KIND, metadata.namespace, metadata.name, status.wire()
        )
        if changed and step.progress.phase == "Done":
            await self._announce(scenario, status, document)

    def _set_conditions(self, scenario: Scenario, progress: Progress, problem: str) -> None:
        status = scenario.status
        now = self._services.clock.now()
        done = progress.phase == "Done"
        accepted = not progress.refused
        said: list[tuple[str, bool, str, str]] = [
            (
                "Accepted",
                accepted,
                "Accepted" if accepted else "SystemInUse",
                progress.refused or "the scenario can run",
            ),
            (
                "Progressing",
                not done,
                progress.phase,
                problem or ("the run is over" if done else f"phase {progress.phase}"),
            ),
            ("Complete", done, status.verdict or "Running", "; ".join(status.reasons) if done else ""),
        ]
        for kind, value, reason, message in said:
            status.conditions = set_condition(
                status.conditions,
                kind,
                value,
                reason,
                message,
                generation=scenario.metadata.generation,
                now=now,
            )

    async def _announce(
        self, scenario: Scenario, status: ScenarioStatus, document: VerdictDocument | None
    ) -> None:
        obj = self._services.cache.get(KIND, scenario.metadata.namespace, scenario.metadata.name)
        if obj is None:
            return
        said = "; ".join(status.reasons) or "everything expected is proven"
        kind = "Normal" if status.verdict == "Pass" else "Warning"
        failover = f", failover {status.failover}" if document is not None and status.failover else ""
        await self._services.kube.create_event(obj, kind, f"Verdict{status.verdict}", f"{said}{failover}")

    def _run(self, scenario: Scenario) -> Run:
        uid = scenario.metadata.uid
        if uid not in self._runs:
            directory = self._store.open(begun(scenario, self._services.clock.now()))
            self._runs[uid] = Run(self._services, scenario, directory)
        return self._runs[uid]

    async def _close_run(self, uid: str) -> None:
        run = self._runs.pop(uid, None)
        if run is not None:
            await run.close()
