"""One API server on loopback with TLS for each test, over a registry in memory and a node that only
pretends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from faultlab_embedded.apiserver import credentials
from faultlab_embedded.apiserver.app import SHUTDOWN_TIMEOUT_S, build_app
from faultlab_embedded.apiserver.credentials import Certificates
from faultlab_embedded.apiserver.settings import Settings
from faultlab_embedded.store.errors import BadRequest, ServiceUnavailable
from faultlab_embedded.store.open import open_registry
from faultlab_embedded.store.registry import Registry

TOKEN = "a-token-for-tests"
DEADLINE_S = 20.0


class FakeNode:
    """Logs from a table; a pod's address is loopback when it is in `reachable`."""

    def __init__(self) -> None:
        self.lines: dict[str, list[bytes]] = {}
        self.reachable: set[str] = set()
        self.more = asyncio.Event()
        self.since: datetime | None = None

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
        del namespace
        self.since = since
        if previous:
            raise BadRequest(f"previous terminated container {container!r} in pod {name!r} not found")
        lines = self.lines.get(name, [])
        for line in lines[-tail_lines:] if tail_lines else lines:
            yield (b"2026-01-01T00:00:00Z " if timestamps else b"") + line
        if follow:
            await self.more.wait()
            yield b"and more\n"

    def address(self, namespace: str, pod: str) -> str:
        if pod not in self.reachable:
            raise ServiceUnavailable(f"pod {namespace}/{pod} has no address yet")
        return "127.0.0.1"


@dataclass
class Api:
    """A running server and a client for it."""

    registry: Registry
    node: FakeNode
    url: str
    kubeconfig: Path
    ca: Path
    http: aiohttp.ClientSession
    stop: Callable[[], Awaitable[None]]
    opened: list[aiohttp.ClientResponse] = field(default_factory=list)

    async def call(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and decoded body of one request; dicts are sent as JSON, text as it is."""
        data = {"json": body} if body is not None and not isinstance(body, str | bytes) else {"data": body}
        async with self.http.request(
            method, URL(self.url + path, encoded=True), headers=headers, **data
        ) as answer:
            text = await answer.text()
            return answer.status, await answer.json() if "json" in answer.content_type else text

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The body of a request that must succeed."""
        status, answer = await self.call(method, path, body, **more)
        assert status < 300, answer
        return answer

    async def patch(self, path: str, body: Any, kind: str = "merge-patch+json") -> tuple[int, Any]:
        return await self.call("PATCH", path, body, headers={"Content-Type": f"application/{kind}"})

    async def watch(self, path: str) -> Watch:
        answer = await self.http.get(f"{self.url}{path}{'&' if '?' in path else '?'}watch=1")
        self.opened.append(answer)
        return Watch(answer)


class Watch:
    """Events of one watch, one at a time and never for longer than the deadline."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> dict[str, Any]:
        import json

        line = await asyncio.wait_for(self.answer.content.readline(), DEADLINE_S)
        assert line, "the watch ended"
        event: dict[str, Any] = json.loads(line)
        return event

    async def names(self, count: int) -> list[tuple[str, str]]:
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"]["name"]) for event in events]

    async def ended(self) -> bool:
        return await asyncio.wait_for(self.answer.content.readline(), DEADLINE_S) == b""


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    return credentials.make_certificates([])


Serve = Callable[..., Awaitable[Api]]


@pytest.fixture
async def serve(tmp_path: Path, certificates: Certificates) -> AsyncIterator[Serve]:
    """Starts servers; everything is stopped when the test ends."""
    undo: list[Callable[[], Awaitable[None]]] = []

    async def start(registry: Registry | None = None, **settings: Any) -> Api:
        certificates.write(tmp_path)
        registry = registry or open_registry(None)
        node = FakeNode()
        app = build_app(registry, node, Settings(tokens={TOKEN: "admin"}, **settings))
        runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
        await runner.setup()
        undo.append(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificates.server_context(tmp_path))
        await site.start()
        port = runner.addresses[0][1]
        url = f"https://127.0.0.1:{port}"
        kubeconfig = tmp_path / f"kubeconfig-{port}"
        credentials.write_private(kubeconfig, credentials.kubeconfig(url, certificates.ca, TOKEN).encode())
        trust = ssl.create_default_context(cadata=certificates.ca.decode())
        http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust), headers={"Authorization": f"Bearer {TOKEN}"}
        )
        undo.append(http.close)
        return Api(registry, node, url, kubeconfig, tmp_path / "ca.crt", http, runner.cleanup)

    yield start
    for stop in reversed(undo):
        await stop()


@pytest.fixture
async def api(serve: Serve) -> Api:
    return await serve()
