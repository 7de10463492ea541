"""Which runs stay in the artifact store: bounded in number, in size and in age.

The bounds are for runs that are over. What is under way is never removed and comes on top (one run's
history is at most `longest_history` bytes), so the volume needs room for both. The newest run that is over
stays even if it alone were larger than the bound: somebody is about to read it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from faultlab.contract.run import Headline, RunSummary, VerdictDocument
from faultlab_operator.api import Scenario
from faultlab_operator.core import Key, Services, Settings
from faultlab_operator.scenario.machine import expected_ms
from faultlab_operator.scenario.store import RunStore, StoredRun, started, verdict_of
from faultlab_operator.scenario.times import format_time, parse_time

log = logging.getLogger(__name__)

TIDY_S: Final = 60.0
"""Between two looks while no run ends: age passes by itself."""

MAX_REASONS: Final = 8


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the runs that are over."""

    runs: int
    size: int
    """Bytes, of all together."""
    age_s: float
    """Since the run's end."""


def longest_history(settings: Settings) -> int:
    """Bytes of one run's history: two such runs fit."""
    return settings.keep_bytes // 2


def beyond(over: Sequence[StoredRun], bounds: Bounds, now: datetime) -> list[StoredRun]:
    """Those that have to go, oldest first: what is too old, and what the newest leave no room for."""
    gone: list[StoredRun] = []
    count, size, full = 0, 0, False
    for run in sorted(over, key=_ended, reverse=True):
        count, size = count + 1, size + run.size
        full = full or count > bounds.runs or (size > bounds.size and count > 1)
        if full or (now - _ended(run)[0]).total_seconds() > bounds.age_s:
            gone.append(run)
    return gone[::-1]


def begun(scenario: Scenario, now: datetime) -> RunSummary:
    """What is known of a run before it has done anything."""
    metadata = scenario.metadata
    return RunSummary(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        started_at=format_time(now),
        title=scenario.spec.title,
        expected_ms=expected_ms(scenario.spec),
    )


def under_way(run: StoredRun, scenario: Mapping[str, Any] | None) -> bool:
    """Whether the Scenario of this run is still there and not done."""
    if scenario is None or scenario["metadata"].get("uid") != run.summary.uid:
        return False
    return bool((scenario.get("status") or {}).get("phase") != "Done")


def as_of_now(run: StoredRun, scenario: Mapping[str, Any] | None) -> RunSummary:
    """What is shown of a run: of one under way, with the phase that its Scenario is in."""
    if run.summary.ended_at is not None or not under_way(run, scenario) or scenario is None:
        return run.summary
    phase = (scenario.get("status") or {}).get("phase") or "Pending"
    return msgspec.structs.replace(run.summary, phase=phase)


def ending(run: StoredRun, scenario: Mapping[str, Any] | None, now: datetime) -> RunSummary:
    """How a run that is not under way ended: as its Scenario says, else as its verdict does."""
    document = verdict_of(run)
    if scenario is not None and scenario["metadata"].get("uid") == run.summary.uid:
        status = scenario.get("status") or {}
        return msgspec.structs.replace(
            run.summary,
            phase="Done",
            verdict=status.get("verdict"),
            reasons=tuple(status.get("reasons") or ())[:MAX_REASONS],
            ended_at=status.get("endedAt") or format_time(now),
            headline=None if document is None else _headline(document),
        )
    if document is not None:
        return msgspec.structs.replace(
            run.summary,
            phase="Done",
            verdict=document.verdict,
            reasons=document.reasons[:MAX_REASONS],
            ended_at=document.ended_at,
            headline=_headline(document),
        )
    return msgspec.structs.replace(run.summary, phase="Abandoned", ended_at=format_time(now))


class RunKeeper:
    """Writes down how runs ended and removes what is beyond the bounds. One for the operator's life.

    Starts once the cache is filled: what is not in it counts as deleted.
    """

    def __init__(self, services: Services, store: RunStore) -> None:
        settings = services.settings
        self._services = services
        self._store = store
        self._bounds = Bounds(settings.keep_runs, settings.keep_bytes, settings.keep_age_s)
        self._changed = asyncio.Event()
        services.cache.listen(self._notice)

    async def run(self) -> None:
        """At the start, after each run that ends or is deleted, and every TIDY_S; until cancelled."""
        while True:
            self._changed.clear()
            try:
                await self.tidy()
            except OSError as error:
                log.warning("tidying the artifacts: %s; again in %d s", error, TIDY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TIDY_S):
                    await self._changed.wait()

    async def tidy(self) -> list[StoredRun]:
        """One look; returns the runs that were removed."""
        found = await asyncio.to_thread(self._store.runs)
        # Looked at before the cache, so a run that begins now is not among them.
        over = [await self._settled(run) for run in found if not under_way(run, self._scenario(run))]
        removed = beyond(over, self._bounds, self._services.clock.now())
        for run in removed:
            summary = run.summary
            log.info("removing the artifacts of %s/%s (%s)", summary.namespace, summary.name, summary.uid)
            await asyncio.to_thread(self._store.remove, run)
        return removed

    async def _settled(self, run: StoredRun) -> StoredRun:
        if run.summary.ended_at is not None:
            return run
        summary = await asyncio.to_thread(ending, run, self._scenario(run), self._services.clock.now())
        try:
            await asyncio.to_thread(self._store.settle, run, summary)
        except OSError as error:
            log.warning("%s: its end cannot be written down: %s", run.path, error)
        return StoredRun(run.path, summary, run.size)

    def _scenario(self, run: StoredRun) -> Mapping[str, Any] | None:
        return self._services.cache.get("Scenario", run.summary.namespace, run.summary.name)

    def _notice(self, key: Key, _before: object, now: Mapping[str, Any] | None) -> None:
        if key.kind == "Scenario" and (now is None or (now.get("status") or {}).get("phase") == "Done"):
            self._changed.set()


def _headline(document: VerdictDocument) -> Headline:
    return Headline(
        failover_ms=document.failover_ms,
        unavailability_ms=document.unavailability_ms,
        operations=document.operations,
        leader_before=document.leader_before,
        leader_after=document.leader_after,
    )


def _ended(run: StoredRun) -> tuple[datetime, tuple[str, str]]:
    return parse_time(run.summary.ended_at or run.summary.started_at), started(run)
