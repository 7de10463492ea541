"""What an agent that is told to end makes of the API server's answers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from faultlab_chaos.agent.successor import ApiServer, Successor, find_successor

DAEMON_SET = "/apis/apps/v1/namespaces/lab/daemonsets/faultlab-agent"
NAMESPACE = "/api/v1/namespaces/lab"
STANDS = {"metadata": {"name": "x", "uid": "1"}}
ENDS = {"metadata": {"name": "x", "uid": "1", "deletionTimestamp": "2024-01-01T00:00:00Z"}}


class FakeApi:
    """Answers each path as told; keeps the tokens that it was shown."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {DAEMON_SET: (200, STANDS), NAMESPACE: (200, STANDS)}
        self.silent: set[str] = set()
        self.tokens: set[str] = set()
        self.over = asyncio.Event()

    async def serve(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers["Authorization"])
        if request.path in self.silent:
            await self.over.wait()
        status, body = self.answers[request.path]
        return web.json_response(body, status=status)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[FakeApi, ApiServer]]:
    fake = FakeApi()
    app = web.Application()
    app.router.add_get("/{path:.*}", fake.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / "token").write_text("a-token\n")
    port = runner.addresses[0][1]
    yield fake, ApiServer(f"http://127.0.0.1:{port}", "lab", "faultlab-agent", tmp_path)
    fake.over.set()
    await runner.cleanup()


REFUSED = {"kind": "Status", "status": "Failure"}


@pytest.mark.parametrize(
    ("daemon_set", "namespace", "successor"),
    [
        ((200, STANDS), (200, STANDS), Successor.COMES),
        ((200, ENDS), (200, STANDS), Successor.NONE),
        ((404, REFUSED), (200, STANDS), Successor.NONE),
        ((401, REFUSED), (401, REFUSED), Successor.UNKNOWN),
        ((403, REFUSED), (403, REFUSED), Successor.NONE),
        ((200, STANDS), (200, ENDS), Successor.NONE),
        ((200, STANDS), (404, REFUSED), Successor.NONE),
        ((200, STANDS), (403, REFUSED), Successor.COMES),
        ((200, STANDS), (500, REFUSED), Successor.COMES),
        ((500, REFUSED), (200, STANDS), Successor.UNKNOWN),
        ((503, []), (200, STANDS), Successor.UNKNOWN),
        ((503, []), (200, ENDS), Successor.NONE),
    ],
)
async def test_a_successor_comes_while_the_daemon_set_and_its_namespace_stand(
    served: tuple[FakeApi, ApiServer],
    daemon_set: tuple[int, Any],
    namespace: tuple[int, Any],
    successor: Successor,
) -> None:
    fake, api = served
    fake.answers = {DAEMON_SET: daemon_set, NAMESPACE: namespace}
    assert await find_successor(api) is successor
    assert fake.tokens == {"Bearer a-token"}


@pytest.mark.parametrize("silent", [DAEMON_SET, NAMESPACE])
async def test_an_api_server_that_is_slow_is_not_waited_for(
    served: tuple[FakeApi, ApiServer], silent: str
) -> None:
    fake, api = served
    fake.silent = {silent}
    began = asyncio.get_running_loop().time()
    assert await find_successor(api, within_s=0.2) is Successor.UNKNOWN
    assert asyncio.get_running_loop().time() - began < 1.0


async def test_nobody_listening_and_a_missing_certificate_are_no_answer(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:9", "https://127.0.0.1:9"):
        assert await find_successor(ApiServer(url, "lab", "faultlab-agent", tmp_path)) is Successor.UNKNOWN


async def test_outside_a_pod_nobody_can_be_asked(tmp_path: Path) -> None:
    assert await find_successor(ApiServer.of_this_pod("faultlab-agent", {}, tmp_path)) is Successor.UNKNOWN


def test_the_server_is_found_as_kubelet_tells_it(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("from-the-account\n")
    given = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    api = ApiServer.of_this_pod("agents", given, tmp_path)
    assert (api.url, api.namespace, api.daemon_set) == (
        "https://10.96.0.1:6443",
        "from-the-account",
        "agents",
    )
    given |= {"KUBERNETES_SERVICE_HOST": "fd00::1", "POD_NAMESPACE": "lab"}
    api = ApiServer.of_this_pod("agents", given, tmp_path)
    assert (api.url, api.namespace) == ("https://[fd00::1]:6443", "lab")
