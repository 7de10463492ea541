"""The two servers: the embedded API with its controllers in a thread, and a real one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig
from parity.player import Side
from real_api import CRDS, STARTS_WITHIN_S, TOKEN, RealApi, find_programs

from faultlab_embedded.apiserver.app import SHUTDOWN_TIMEOUT_S, build_app
from faultlab_embedded.apiserver.settings import Settings
from faultlab_embedded.controllers.manager import ControllerManager
from faultlab_embedded.store.errors import BadRequest, ServiceUnavailable
from faultlab_embedded.store.open import open_registry

Object = dict[str, Any]
TIMEOUT_S = 30.0
GONE_WITHIN_S = 180.0


class NoNode:
    """There is no node on either side: pods stay Pending."""

    async def logs(
        self,
        namespace: str,
        name: str,
        container: str,
        *,
        follow: bool,
        tail_lines: int | None,
        previous: bool,
        timestamps: bool,
        since: datetime | None,
    ) -> AsyncIterator[bytes]:
        del namespace, follow, tail_lines, previous, timestamps, since
        raise BadRequest(f"container {container!r} in pod {name!r} has not started")
        yield b""

    def address(self, namespace: str, pod: str) -> str:
        raise ServiceUnavailable(f"pod {namespace}/{pod} has no address")


class EmbeddedServer:
    """The embedded API server and controllers over a registry in memory, in a thread of their own."""

    def __init__(self) -> None:
        self.url = ""
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(STARTS_WITHIN_S), "the embedded API server did not come up"

    def stop(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(STARTS_WITHIN_S)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        registry = open_registry(None)
        for name in ("default", "kube-system"):
            if registry.find("namespaces", None, name) is None:
                registry.create("namespaces", {"metadata": {"name": name}})
        runner = web.AppRunner(
            build_app(registry, NoNode(), Settings(tokens={TOKEN: "tests"})),
            shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        controllers = ControllerManager(registry, b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
        controllers.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await controllers.stop()
        await runner.cleanup()
        registry.close()


@contextmanager
def embedded_side(crds: Sequence[Object]) -> Iterator[Side]:
    """The embedded server with these CRDs."""
    server = EmbeddedServer()
    server.start()
    try:
        with httpx.Client(
            base_url=server.url,
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        ) as http:
            side = Side("embedded", http)
            _install(side, crds, [])
            yield side
    finally:
        server.stop()


@contextmanager
def own_server_side(folder: Path, crds: Sequence[Object]) -> Iterator[Side]:
    """A kube-apiserver of this machine for the session, with controllers; skips where there is none."""
    programs = find_programs()
    if programs is None or programs.controller_manager is None:
        pytest.skip(
            "no kube-apiserver, etcd and kube-controller-manager: put them on the PATH, name them in "
            "KUBE_APISERVER, ETCD and KUBE_CONTROLLER_MANAGER, or run with --world kind"
        )
    server = RealApi(folder, programs, accounts=True)
    try:
        server.await_server()
        with httpx.Client(
            base_url=server.url,
            headers={"Authorization": f"Bearer {TOKEN}"},
            verify=False,
            timeout=TIMEOUT_S,
            trust_env=False,
        ) as http:
            side = Side("real", http)
            # Before the controllers, which look only now and then for kinds that are new.
            _install(side, crds, [])
            server.start_controllers()
            yield side
    finally:
        server.stop()


@contextmanager
def cluster_side(context: str, crds: Sequence[Object], namespaces: Sequence[str]) -> Iterator[Side]:
    """The cluster of a kubeconfig's context, for one session at a time. The CRDs, and the namespaces of the
    list as it is at the end, are deleted and waited for."""
    config = KubeConfig.from_env().get(context)
    assert config is not None, f"the kubeconfig has no context {context}"
    with Client(config, ConnectionParams(timeout=httpx.Timeout(TIMEOUT_S), trust_env=False)) as http:
        side = Side("real", http, shared=True)
        made: list[str] = []
        try:
            _install(side, crds, made)
            yield side
        finally:
            _await_gone(http, [f"/api/v1/namespaces/{name}" for name in namespaces])
            _await_gone(http, made)


def _install(side: Side, crds: Sequence[Object], made: list[str]) -> None:
    """Creates CRDs and waits until their objects can be listed.

    `made` gets the path of each: one that is there already belongs to another session, which keeps it.
    """
    for crd in crds:
        answer = side.http.post(CRDS, json=crd)
        assert answer.status_code == 201, f"{side.name}, does another session use it? {answer.text}"
        made.append(f"{CRDS}/{crd['metadata']['name']}")
    deadline = time.monotonic() + STARTS_WITHIN_S
    for crd in crds:
        spec = crd["spec"]
        path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        while (answer := side.http.get(path)).status_code != 200:
            assert time.monotonic() < deadline, f"{side.name}: {path}: {answer.text}"
            time.sleep(0.05)


def _await_gone(http: httpx.Client, paths: Sequence[str]) -> None:
    """Deletes objects and returns when none is left."""
    for path in paths:
        http.delete(path)
    deadline = time.monotonic() + GONE_WITHIN_S
    for path in paths:
        while (answer := http.get(path)).status_code != 404:
            assert time.monotonic() < deadline, f"{path} is still there: {answer.text}"
            time.sleep(0.2)
