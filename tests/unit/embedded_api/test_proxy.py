"""What goes through the API server to pods and services."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

POD = {
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


@pytest.fixture
def pod(api: Any) -> Any:
    return api.registry.create("pods", POD)


@pytest.fixture
async def backend() -> Any:
    """A program as it might run in a pod: says what it got, streams, and echoes."""

    async def say(request: web.Request) -> web.Response:
        wanted = ("X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-Proto", "Authorization")
        headers = {name: request.headers.get(name) for name in wanted}
        return web.json_response({"path": request.path_qs, "method": request.method, "headers": headers})

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await asyncio.sleep(60)
        return response

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read(), status=418)

    app = web.Application()
    app.add_routes([web.get("/stream", stream), web.post("/echo", echo), web.get("/{any:.*}", say)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_a_pods_port_is_reached_through_the_proxy(api: Any, pod: Any, backend: int) -> None:
    del pod
    api.node.reachable.add("p")
    base = f"/api/v1/namespaces/default/pods/p:{backend}/proxy"
    said = await api.ok("GET", f"{base}/a%20b/c?x=1&y=%2F")
    assert said["path"] == "/a%20b/c?x=1&y=%2F"
    assert said["headers"]["X-Forwarded-Uri"] == f"{base}/a%20b/c"
    assert said["headers"]["X-Forwarded-Host"] == api.url.removeprefix("https://")
    assert said["headers"]["X-Forwarded-Proto"] == "https"
    assert said["headers"]["Authorization"] is None
    status, text = await api.call("POST", f"{base}/echo", b"bytes", headers={"Content-Type": "text/plain"})
    assert (status, text) == (418, "bytes")
    assert (await api.ok("GET", base.replace("pods/p", "pods/http:p") + "/z"))["path"] == "/z"
    async with api.http.get(api.url + base, allow_redirects=False) as moved:
        assert (moved.status, moved.headers["Location"]) == (301, f"{base}/")


async def test_a_stream_comes_through_as_it_is_made(api: Any, pod: Any, backend: int) -> None:
    del pod
    api.node.reachable.add("p")
    url = f"{api.url}/api/v1/namespaces/default/pods/p:{backend}/proxy/stream"
    async with api.http.get(url) as answer:
        assert answer.content_type == "text/event-stream"
        assert await asyncio.wait_for(answer.content.readline(), 10) == b"data: 1\n"


async def test_a_service_is_reached_by_its_endpoints(api: Any, pod: Any, backend: int) -> None:
    del pod
    api.node.reachable.add("p")
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80}]}}
    api.registry.create("services", service)
    path = "/api/v1/namespaces/default/services/s:web/proxy/x"
    status, answer = await api.call("GET", path)
    assert (status, answer["reason"]) == (503, "ServiceUnavailable")
    address = {"ip": "192.0.2.1", "targetRef": {"kind": "Pod", "name": "p", "namespace": "default"}}
    subset = {"addresses": [address], "ports": [{"name": "web", "port": backend}]}
    api.registry.create("endpoints", {"metadata": {"name": "s"}, "subsets": [subset]})
    for name in ("s:web", "s:80", "s", "http:s:web"):
        assert (await api.ok("GET", path.replace("s:web", name)))["path"] == "/x"


async def test_a_pod_that_cannot_be_reached_is_503(api: Any, pod: Any, unused_tcp_port: int) -> None:
    del pod
    path = f"/api/v1/namespaces/default/pods/p:{unused_tcp_port}/proxy/"
    assert (await api.call("GET", path))[0] == 503
    api.node.reachable.add("p")
    status, answer = await api.call("GET", path)
    assert status == 503
    assert "error trying to reach service" in answer["message"]
    assert (await api.call("GET", path.replace("/p:", "/none:")))[0] == 404
