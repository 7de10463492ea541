"""`faultlab run FILE --world simulation`: the phases of a scenario under virtual time, told as they pass."""

import asyncio
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError
from rich.console import Console

from faultlab.contract.run import RunEvent
from faultlab_cli.artifacts import EXIT_CODES, default_folder, verdict_in
from faultlab_cli.errors import CliError
from faultlab_cli.kube import Document
from faultlab_cli.live import EventLog
from faultlab_cli.simulated.world import SimulatedWorld
from faultlab_cli.summary import print_verdict
from faultlab_operator.api import Scenario
from faultlab_operator.handlers.problems import model_problem
from faultlab_operator.scenario.machine import Progress, plan
from faultlab_operator.scenario.record import ARTIFACTS
from faultlab_operator.scenario.recorder import Recorder
from faultlab_operator.scenario.telling import tell
from faultlab_operator.scenario.times import parse_time

DEFAULT_SEED = 1
DEFAULT_NAMESPACE = "faultlab"
_STEP_S = 0.05
"""Virtual time between two looks at most: what members say in between is told together."""


class TellingRecorder(Recorder):
    """Writes events and prints those that people want to see."""

    def __init__(self, directory: Path, console: Console) -> None:
        super().__init__(directory)
        self._log = EventLog(console)

    def add(self, *arguments: Any, **fields: Any) -> RunEvent | None:
        """As Recorder.add."""
        event = super().add(*arguments, **fields)
        if event is not None:
            self._log.print(event)
        return event


def simulate_scenario(
    document: Document, *, namespace: str | None, out: Path | None, seed: int | None, console: Console
) -> int:
    """The whole command; returns the exit code. Its files are the same as in the other worlds."""
    scenario = _parse(document, namespace)
    chosen = seed if seed is not None else scenario.spec.seed
    chosen = DEFAULT_SEED if chosen is None else chosen
    target = out or default_folder(scenario.metadata.name, datetime.now())
    console.print(f"Simulating {scenario.metadata.name} with seed {chosen}: time is virtual.")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faultlab-simulation-") as scratch:
        directory = Path(scratch)
        recorder = TellingRecorder(directory, console)
        try:
            world = SimulatedWorld(scenario, recorder, directory, chosen)
            virtual_s = asyncio.run(_drive(world))
        finally:
            recorder.close()
        _keep(directory, target)
    console.print(f"{virtual_s:.0f} s of virtual time in {time.monotonic() - began:.1f} s.")
    verdict = verdict_in(target)
    if verdict is None:
        raise CliError(f"no verdict: {'; '.join(world.progress.reasons) or 'no reason was given'}")
    print_verdict(console, verdict, target)
    return EXIT_CODES[verdict.verdict]


async def _drive(world: SimulatedWorld) -> float:
    """Walks the phases to their end; the virtual time that took, in seconds. The machine bounds each."""
    scenario, progress = world.scenario, Progress()
    while True:
        seen, now = await world.observe(), world.now()
        step = plan(scenario.metadata.name, scenario.spec, progress, seen, parse_time(now))
        world.progress = step.progress
        for action in step.actions:
            await world.perform(action)
        tell(world.recorder, scenario, progress, step.progress, seen, now)
        progress = step.progress
        if step.look_after_s is None:
            return world.sim.loop.now / 1e9
        world.advance(min(step.look_after_s, _STEP_S))


def _parse(document: Document, namespace: str | None) -> Scenario:
    """Raises CliError that says which field is wrong."""
    metadata = {**document["metadata"], "uid": "simulated"}
    metadata["namespace"] = namespace or metadata.get("namespace") or DEFAULT_NAMESPACE
    try:
        return Scenario.parse({**document, "metadata": metadata})
    except ValidationError as error:
        raise CliError(f"the scenario is not valid: {model_problem(error)}") from error
    except msgspec.ValidationError as error:
        raise CliError(f"the scenario is not valid: {error}") from error


def _keep(directory: Path, target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in ARTIFACTS:
            if (directory / name).exists():
                (target / name).write_bytes((directory / name).read_bytes())
    except OSError as error:
        raise CliError(f"{target}: {error.strerror or error}; choose another folder with --out") from error
