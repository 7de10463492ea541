"""The world's own process: API server, controllers and node in one event loop.

PID 1 of the pods' namespace.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from faultlab_embedded.apiserver.app import SHUTDOWN_TIMEOUT_S, build_app
from faultlab_embedded.apiserver.settings import Settings
from faultlab_embedded.controllers.manager import ControllerManager
from faultlab_embedded.network.bridge import NODE_ADDRESS, Bridge, in_own_thread
from faultlab_embedded.node.claims import Claims
from faultlab_embedded.node.context import NodeContext
from faultlab_embedded.node.hosts import HostsKeeper
from faultlab_embedded.node.images import ImageTable
from faultlab_embedded.node.kubelet import Kubelet
from faultlab_embedded.node.launch import Launcher
from faultlab_embedded.node.places import NODE_NAME
from faultlab_embedded.node.reaper import Reaper
from faultlab_embedded.node.recorder import Recorder
from faultlab_embedded.node.volumes import Access
from faultlab_embedded.store.open import open_registry
from faultlab_embedded.store.registry import Registry
from faultlab_embedded.world import confine, credentials
from faultlab_embedded.world.holders import Holders
from faultlab_embedded.world.home import Home, WorldInfo
from faultlab_embedded.world.pages import build_pages
from faultlab_embedded.world.supervisor import answer

POD_API_PORT = 6443
STOP_GRACE_S = 2.0
_FIRST_KINDS = ("Namespace", "CustomResourceDefinition", "ServiceAccount")
log = logging.getLogger(__name__)

Order = Mapping[str, Any]


def run(order: Order, life: int) -> int:
    """The whole life of the world; returns the exit code. `life` is a pipe that ends with the supervisor."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("faultlab_embedded").setLevel(logging.INFO)
    if confine.parent_is_gone(life):
        return 1
    world_pid = confine.outer_pid()
    home = Home(Path(order["home"]))
    confine.confine(home.path)
    asyncio.run(_World(home, order, world_pid, life).run())
    return 0


class _World:
    def __init__(self, home: Home, order: Order, world_pid: int, life: int) -> None:
        self._home = home
        self._order = order
        self._world_pid = world_pid
        self._life = life
        self._stop = asyncio.Event()
        self._runners: list[web.AppRunner] = []
        self._info: WorldInfo | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._life, os._exit, 1)  # the supervisor is gone; every pod goes with this process
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        reaper = Reaper()
        reaper.install()
        keys = credentials.load(self._home.pki)
        self._home.database.parent.mkdir(parents=True, exist_ok=True)
        registry = open_registry(self._home.database)
        bridge = Bridge()
        await in_own_thread(bridge.start)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=256, force_close=True)) as http:
            kubelet = self._make_node(registry, bridge, reaper, keys, http)
            controllers = ControllerManager(registry, keys.certificates.ca)
            await self._serve(registry, kubelet, keys)
            _apply_all(registry, self._order["objects"])
            controllers.start()
            kubelet.start()
            await self._live(kubelet)
            log.info("stopping")
            self._home.info.unlink(missing_ok=True)  # whoever wants a world now waits for the next
            await kubelet.shut_down(STOP_GRACE_S)
            await controllers.stop()
            for runner in self._runners:
                await runner.cleanup()
        registry.close()

    async def _live(self, kubelet: Kubelet) -> None:
        """Says ready as soon as it is, and returns when the world has to end."""
        holders = Holders(self._home, self._order["persist"], self._stop.set, self._persist)
        await holders.serve()
        stopped = asyncio.create_task(self._stop.wait())
        static = asyncio.create_task(kubelet.wait_for_static_pods())
        await asyncio.wait((stopped, static), return_when=asyncio.FIRST_COMPLETED)
        static.cancel()
        if not self._stop.is_set():
            self._write_info(self._order["persist"])
            if not answer(self._order["ready_fd"], ready=True):
                return  # who wanted this world died or gave up waiting
            os.close(self._order["ready_fd"])
            await stopped

    def _persist(self) -> None:
        self._home.temporary.unlink(missing_ok=True)
        self._write_info(True)

    def _write_info(self, persist: bool) -> None:
        started_at = self._info.started_at if self._info else datetime.now(UTC).isoformat()
        self._info = WorldInfo(
            home=str(self._home.path),
            kubeconfig=str(self._home.kubeconfig),
            api_url=self._url("https", "api_fd"),
            pages_url=self._url("http", "pages_fd"),
            pid=self._order["supervisor_pid"],
            world_pid=self._world_pid,
            started_at=started_at,
            persist=persist,
        )
        self._home.write_info(self._info)

    def _url(self, scheme: str, which: str) -> str:
        fd = os.dup(self._order[which])
        with socket.socket(fileno=fd) as listener:
            host, port = listener.getsockname()
        return f"{scheme}://{host}:{port}"

    def _make_node(
        self,
        registry: Registry,
        bridge: Bridge,
        reaper: Reaper,
        keys: credentials.Credentials,
        http: aiohttp.ClientSession,
    ) -> Kubelet:
        context = NodeContext(
            registry=registry,
            home=self._home.path,
            images=ImageTable.from_json(self._order["images"]),
            bridge=bridge,
            launcher=Launcher(reaper),
            recorder=Recorder(registry, "kubelet", NODE_NAME),
            hosts=HostsKeeper(NODE_ADDRESS),
            claims=Claims(registry, self._home.path),
            http=http,
            access=Access(keys.account_token, keys.certificates.ca),
            api_port=POD_API_PORT,
        )
        return Kubelet(context, self._order["static_pods"])

    async def _serve(self, registry: Registry, kubelet: Kubelet, keys: credentials.Credentials) -> None:
        """API on loopback outside and on the bridge inside; pages on loopback outside."""
        app = build_app(registry, kubelet, Settings(tokens=keys.tokens))
        api = web.AppRunner(app, shutdown_timeout=SHUTDOWN_TIMEOUT_S, handle_signals=False)
        pages = web.AppRunner(build_pages(registry, kubelet), shutdown_timeout=SHUTDOWN_TIMEOUT_S)
        self._runners = [api, pages]
        for runner in self._runners:
            await runner.setup()
        tls = keys.server_context()
        await web.SockSite(api, _socket(self._order["api_fd"]), ssl_context=tls).start()
        await web.TCPSite(api, NODE_ADDRESS, POD_API_PORT, ssl_context=tls).start()
        await web.SockSite(pages, _socket(self._order["pages_fd"])).start()
        keys.write_kubeconfig(self._home.kubeconfig, self._url("https", "api_fd"))


def _socket(fd: int) -> socket.socket:
    return socket.socket(fileno=os.dup(fd))


def _apply_all(registry: Registry, objects: list[dict[str, Any]]) -> None:
    """Namespaces and CRDs first: the others live in them and by them."""
    rank = {kind: number for number, kind in enumerate(_FIRST_KINDS)}
    for obj in sorted(objects, key=lambda o: rank.get(o.get("kind", ""), len(rank))):
        registry.apply(obj)
