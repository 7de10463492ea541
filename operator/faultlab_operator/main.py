"""The operator's process: `faultlab-operator`.

Puts the parts together: kopf's watches fill the cache, the cache's changes wake the work queue, the
queue runs the kinds' reconcilers. Everything else hangs on `Services`.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import aiohttp
import kopf

from faultlab_operator.api import KINDS
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

log = logging.getLogger("faultlab_operator")

LISTS_PATIENCE_S: Final = 60.0
"""How long the API server may be away at the start before the process gives up and is restarted."""


class Operator:
    """One operator process; `run` returns when it was told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._cache = Cache()
        self._queue = WorkQueue(self._clock)
        self._registry = kopf.OperatorRegistry()
        self._kopf_settings = _kopf_settings()

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

    async def _serve(self, connection: Connection, services: Services) -> None:
        """kopf and the background tasks side by side; the end of one is the end of all."""
        announcer = ElectionAnnouncer(services.kube, services.cache, services.members, services.clock)
        reconcilers: dict[str, Reconciler] = {
            "RaftCluster": RaftClusterReconciler(services, announcer),
            "LoadTest": LoadTestReconciler(services),
            "NetworkPartition": PartitionReconciler(services),
            "Scenario": ScenarioReconciler(services),
        }
        watch.login(connection.info, self._registry)
        watch.register(self._registry, self._cache)
        tasks = [
            asyncio.create_task(self._kopf(), name="kopf"),
            asyncio.create_task(self._queue.run(reconcilers), name="work queue"),
            asyncio.create_task(announcer.run(), name="announcer"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _kopf(self) -> None:
        namespaces = self._settings.watch_namespaces
        scope: dict[str, Any] = {"clusterwide": True}
        if namespaces:
            scope = {"namespaces": sorted({*namespaces, self._settings.namespace})}
        await kopf.operator(registry=self._registry, settings=self._kopf_settings, standalone=True, **scope)

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

    def _connect(self, members: MembersHub, loads: LoadsHub) -> None:
        def changed(key: Key, before: Object | None, now: Object | None) -> None:
            obj = now if now is not None else before
            if obj is not None:
                for woken in watch.keys_to_wake(key, obj, self._cache):
                    self._queue.wake(woken)

        self._cache.listen(changed)
        members.listen(lambda namespace, name: self._queue.wake(Key("RaftCluster", namespace, name)))
        loads.listen(lambda namespace, name: self._queue.wake(Key("LoadTest", namespace, name)))


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.queueing.exit_timeout = 0.2
    settings.queueing.idle_timeout = 2.0
    settings.watching.reconnect_backoff = 0.2
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="faultlab-operator",
        description="Runs Faultlab's systems, loads, faults and scenarios as custom resources "
        f"({', '.join(KINDS)}). Settings come from the environment; options win.",
    )
    parser.add_argument(
        "--namespace",
        action="append",
        metavar="NS",
        help="serve resources of this namespace only (repeatable; FAULTLAB_NAMESPACES, comma-separated; "
        "default: all)",
    )
    parser.add_argument("--image", metavar="IMAGE", help="of member and load pods (FAULTLAB_IMAGE)")
    parser.add_argument("--http-port", type=int, metavar="PORT", help="(FAULTLAB_HTTP_PORT; default 8080)")
    parser.add_argument("--debug", action="store_true", help="log more")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    settings = Settings.from_environment()
    if options.namespace:
        settings = replace(settings, watch_namespaces=tuple(options.namespace))
    if options.image:
        settings = replace(settings, image=options.image)
    if options.http_port is not None:
        settings = replace(settings, http_port=options.http_port)
    return replace(settings, debug=options.debug)


def _log_to_stderr(debug: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    # kopf tells of each watch that it begins, and of every event at debug level.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    options = _parser().parse_args(argv)
    settings = _settings(options)
    _log_to_stderr(settings.debug)
    try:
        asyncio.run(Operator(settings).run())
    except OperatorError as error:
        log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
