"""The operator's parts put together.

kopf's watches fill the cache, the cache's changes wake the work queue, the queue runs the kinds'
reconcilers. Everything else hangs on `Services`. Nothing acts before the leader lock is held, nor after
it was lost: then the process ends.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

import aiohttp
import kopf

from faultlab_operator.core import Cache, Key, Reconciler, Services, Settings, SystemClock, WorkQueue
from faultlab_operator.core.cache import Object
from faultlab_operator.errors import KubeError
from faultlab_operator.faults.agents import Agents
from faultlab_operator.faults.reconciler import PartitionReconciler
from faultlab_operator.handlers import watch
from faultlab_operator.handlers.elections import ElectionAnnouncer
from faultlab_operator.handlers.loadtest import LoadTestReconciler
from faultlab_operator.handlers.raftcluster import RaftClusterReconciler
from faultlab_operator.http import server
from faultlab_operator.kube.agent_key import AgentKey
from faultlab_operator.kube.client import KubeClient
from faultlab_operator.kube.connection import Connection, find_connection
from faultlab_operator.kube.lease import LeaderLock
from faultlab_operator.members import LoadsHub, MembersHub
from faultlab_operator.scenario.keeping import RunKeeper
from faultlab_operator.scenario.reconciler import ScenarioReconciler
from faultlab_operator.scenario.store import RunStore

log = logging.getLogger(__name__)

API_PATIENCE_S: Final = 60.0
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
        self._store = RunStore(settings.data_dir)
        self._filled = False

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT. Raises OperatorError if it cannot start, or must not go on."""
        self._take_signals()
        connection = find_connection(self._kopf_settings)
        # The lock's renewals wait behind no other requests, and are the writes that need no lock.
        own = KubeClient(connection, Cache())
        lock = LeaderLock(own, self._clock, self._settings.namespace, self._settings.identity)
        key = AgentKey(own, self._clock, self._settings.namespace)
        async with (
            own,
            KubeClient(connection, self._cache, may_write=lambda: lock.held) as kube,
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
            agents = Agents(self._cache, http, self._settings.namespace, key, may_act=lambda: lock.held)
            self._connect(members, loads)
            pages = await server.start(services, self._store, lambda: self._unready(lock))
            try:
                await self._until_stopped(self._lead(connection, services, agents, lock, key))
            finally:
                await pages.close()
                await members.close()
                await loads.close()
                if self._watches is not None:
                    await _end([self._watches])

    def _unready(self, lock: LeaderLock) -> str | None:
        """Why this process does not serve resources; None when it does."""
        if not lock.held:
            return "the leader lock is not held"
        return None if self._filled else "the caches are not filled yet"

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Works until told to stop; then the work is cancelled, and tidies up."""
        working, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait((working, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        working.cancel()  # of no effect on work that has ended
        with suppress(asyncio.CancelledError):
            await working

    async def _lead(
        self, connection: Connection, services: Services, agents: Agents, lock: LeaderLock, key: AgentKey
    ) -> None:
        """Waits for the lock, serves for as long as it is held, and gives it to whoever is next."""
        await self._patiently(key.establish)  # first: agents that are new wait for it, whoever leads
        await lock.acquire()
        keeping = asyncio.create_task(lock.keep(), name="leader lock")
        try:
            await self._patiently(lambda: self._fill(services.kube))
            self._filled = True
            await self._serve(connection, services, agents, keeping)
        finally:
            await _end([keeping])
            await lock.release()

    async def _serve(
        self, connection: Connection, services: Services, agents: Agents, keeping: asyncio.Task[None]
    ) -> None:
        """kopf and the background tasks side by side; the end of one is the end of all."""
        announcer = ElectionAnnouncer(services.kube, services.cache, services.members, services.clock)
        partitions, scenarios = (
            PartitionReconciler(services, agents),
            ScenarioReconciler(services, self._store),
        )
        reconcilers: dict[str, Reconciler] = {
            "RaftCluster": RaftClusterReconciler(services, announcer),
            "LoadTest": LoadTestReconciler(services),
            "NetworkPartition": partitions,
            "Scenario": scenarios,
        }
        watch.login(connection.info, self._registry)
        watch.register(self._registry, self._cache, self._settings.watch_namespaces)
        watches = asyncio.create_task(self._watch(), name="kopf")
        ours = [
            asyncio.create_task(self._queue.run(reconcilers), name="work queue"),
            asyncio.create_task(announcer.run(), name="announcer"),
            asyncio.create_task(self._refill(services.kube), name="refill"),
            asyncio.create_task(RunKeeper(services, self._store).run(), name="artifacts"),
        ]
        log.info(
            "serving %s in %s", ", ".join(reconcilers), self._settings.watch_namespaces or "all namespaces"
        )
        try:
            done, _ = await asyncio.wait([watches, keeping, *ours], return_when=asyncio.FIRST_COMPLETED)
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
        namespaces = self._settings.seen_namespaces
        scope: dict[str, Any] = {"namespaces": namespaces} if namespaces else {"clusterwide": True}
        ready = asyncio.Event()
        taking_over = asyncio.create_task(self._take_signals_back(ready), name="signals")
        try:
            await kopf.operator(
                registry=self._registry,
                settings=self._kopf_settings,
                standalone=True,
                # Its own guess asks for the user's name, and a container's user has none.
                identity=self._settings.identity,
                ready_flag=ready,
                **scope,
            )
        finally:
            taking_over.cancel()

    async def _take_signals_back(self, ready: asyncio.Event) -> None:
        """kopf's own way to end waits up to 5 s for tasks that are not its; ours comes first."""
        await ready.wait()
        self._take_signals()

    def _take_signals(self) -> None:
        """From the start: as PID 1 of a container a process without handlers does not end at all."""
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_number, self._stop.set)

    async def _patiently(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Asks the API server, waiting for one that is not there yet."""
        deadline = self._clock.monotonic() + API_PATIENCE_S
        while True:
            try:
                await ask()
                return
            except KubeError as error:
                if self._clock.monotonic() > deadline:
                    raise
                log.warning("%s; trying again", error)
                await asyncio.sleep(0.5)

    async def _fill(self, kube: KubeClient) -> None:
        await watch.fill(self._cache, kube, self._settings.watch_namespaces, self._settings.namespace)

    async def _refill(self, kube: KubeClient) -> None:
        """Lists again now and then: watches may have missed a deletion."""
        while True:
            await asyncio.sleep(REFILL_S)
            try:
                await self._fill(kube)
            except KubeError as error:
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
