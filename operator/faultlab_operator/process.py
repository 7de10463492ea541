"""The operator's parts put together.

kopf's watches fill the cache, the cache's changes wake the work queue, the queue runs the kinds'
reconcilers. Everything else hangs on `Services`.
"""

import asyncio
import logging
import signal
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import kopf

from faultlab_operator.core import Cache, Key, Reconciler, Services, Settings, SystemClock, WorkQueue
from faultlab_operator.core.cache import Object
from faultlab_operator.errors import OperatorError
from faultlab_operator.faults.reconciler import PartitionReconciler
from faultlab_operator.handlers import watch
from faultlab_operator.handlers.elections import ElectionAnnouncer
from faultlab_operator.handlers.loadtest import LoadTestReconciler
from faultlab_operator.handlers.raftcluster import RaftClusterReconciler
from faultlab_operator.http import server
from faultlab_operator.kube.client import KubeClient
from faultlab_operator.kube.connection import Connection, find_connection
from faultlab_operator.members import LoadsHub, MembersHub
from faultlab_operator.scenario.reconciler import ScenarioReconciler

log = logging.getLogger(__name__)

LISTS_PATIENCE_S: Final = 60.0
"""How long the API server may be away at the start before the process gives up and is restarted."""

REFILL_S: Final = 60.0
"""Between lists of everything."""

STOPS_WITHIN_S: Final = 1.0
"""How long a part of the process is waited for when it is to end; then the process ends without it."""


class Operator:
    """One operator process; `run` returns when it was told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._cache = Cache()
        self._queue = WorkQueue(self._clock)
        self._registry = kopf.OperatorRegistry()
        self._kopf_settings = _kopf_settings()
        self._stop = asyncio.Event()
        self._watches: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT. Raises OperatorError if it cannot start."""
        connection = find_connection(self._kopf_settings)
        async with (
            KubeClient(connection, self._cache) as kube,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        ):
            members, loads = MembersHub(http), LoadsHub(http)
            services = Services(
                settings=self._settings,
                clock=self._clock,
                cache=self._cache,
                kube=kube,
                members=members,
                loads=loads,
                http=http,
                wake=self._queue.wake,
            )
            self._connect(members, loads)
            pages = await server.start(services, self._settings.http_port)
            try:
                await self._fill(kube)
                await self._serve(connection, services)
            finally:
                await pages.close()
                await members.close()
                await loads.close()
                if self._watches is not None:
                    await _end([self._watches])

    async def _serve(self, connection: Connection, services: Services) -> None:
        """kopf and the background tasks side by side; the end of one is the end of all."""
        announcer = ElectionAnnouncer(services.kube, services.cache, services.members, services.clock)
        partitions, scenarios = PartitionReconciler(services), ScenarioReconciler(services)
        reconcilers: dict[str, Reconciler] = {
            "RaftCluster": RaftClusterReconciler(services, announcer),
            "LoadTest": LoadTestReconciler(services),
            "NetworkPartition": partitions,
            "Scenario": scenarios,
        }
        watch.login(connection.info, self._registry)
        watch.register(self._registry, self._cache)
        watches = asyncio.create_task(self._watch(), name="kopf")
        ours = [
            asyncio.create_task(self._queue.run(reconcilers), name="work queue"),
            asyncio.create_task(announcer.run(), name="announcer"),
            asyncio.create_task(self._refill(services.kube), name="refill"),
            asyncio.create_task(self._stop.wait(), name="stop"),
        ]
        log.info(
            "serving %s in %s", ", ".join(reconcilers), self._settings.watch_namespaces or "all namespaces"
        )
        try:
            done, _ = await asyncio.wait([watches, *ours], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            log.info("stopping")
            await _end(ours)
            await scenarios.close()
            await partitions.close()
            # Last: kopf waits for every task that was made on this loop after its own.
            self._watches = watches

    async def _watch(self) -> None:
        """kopf, for as long as the operator runs."""
        namespaces = self._settings.watch_namespaces
        scope: dict[str, Any] = {"clusterwide": True}
        if namespaces:
            scope = {"namespaces": sorted({*namespaces, self._settings.namespace})}
        ready = asyncio.Event()
        taking_over = asyncio.create_task(self._take_signals(ready), name="signals")
        try:
            await kopf.operator(
                registry=self._registry,
                settings=self._kopf_settings,
                standalone=True,
                ready_flag=ready,
                **scope,
            )
        finally:
            taking_over.cancel()

    async def _take_signals(self, ready: asyncio.Event) -> None:
        """kopf's own way to end waits up to 5 s for tasks that are not its; ours comes first."""
        await ready.wait()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_number, self._stop.set)

    async def _fill(self, kube: KubeClient) -> None:
        """The first lists, waiting for an API server that is not there yet."""
        deadline = self._clock.monotonic() + LISTS_PATIENCE_S
        while True:
            try:
                await watch.fill(self._cache, kube, self._settings.watch_namespaces)
                break
            except OperatorError as error:
                if self._clock.monotonic() > deadline:
                    raise
                log.warning("%s; trying again", error)
                await asyncio.sleep(0.5)

    async def _refill(self, kube: KubeClient) -> None:
        """Lists again now and then: watches may have missed a deletion."""
        while True:
            await asyncio.sleep(REFILL_S)
            try:
                await watch.fill(self._cache, kube, self._settings.watch_namespaces)
            except OperatorError as error:
                log.warning("%s; listing again in %d s", error, REFILL_S)

    def _connect(self, members: MembersHub, loads: LoadsHub) -> None:
        def changed(key: Key, before: Object | None, now: Object | None) -> None:
            obj = now if now is not None else before
            if obj is not None:
                for woken in watch.keys_to_wake(key, obj, self._cache):
                    self._queue.wake(woken)

        self._cache.listen(changed)
        members.listen(lambda namespace, name: self._queue.wake(Key("RaftCluster", namespace, name)))
        loads.listen(lambda namespace, name: self._queue.wake(Key("LoadTest", namespace, name)))


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancels the tasks and waits for them, not longer than STOPS_WITHIN_S."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=STOPS_WITHIN_S)


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.queueing.exit_timeout = 0.2
    settings.queueing.idle_timeout = 2.0
    settings.watching.reconnect_backoff = 0.2
    return settings
