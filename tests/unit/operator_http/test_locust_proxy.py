"""What goes through to a load's pod, and what does not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from faultlab.contract.ports import LOCUST_PORT
from faultlab_operator.http import locust

from .pages_lab import Lab, serving

POD_ADDRESS = "127.77.3.1"
GONE_ADDRESS = "127.77.3.2"


class FakeLocust:
    """A load's page that says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.open_end = asyncio.Event()

    async def start(self) -> web.AppRunner:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, POD_ADDRESS, LOCUST_PORT, reuse_address=True).start()
        return runner

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, request.rel_url.raw_path_qs, headers, await request.read()))
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": "/stats/here?x=1"})
        if request.path == "/deep/moved":
            return web.Response(status=302, headers={"Location": "/"})
        if request.path == "/stream":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"first")
            await self.open_end.wait()
            await response.write(b"last")
            return response
        return web.Response(
            text="the page", headers={"Set-Cookie": "a=b", "X-Of-Locust": "yes", "Keep-Alive": "timeout=9"}
        )


def put_load(lab: Lab, name: str, address: str | None, *, phase: str = "Running", owner: str = "") -> None:
    uid = f"uid-of-{name}"
    metadata = {"namespace": "lab", "resourceVersion": "1"}
    lab.cache.put({"kind": "LoadTest", "metadata": {**metadata, "name": name, "uid": uid}})
    owners = [{"kind": "LoadTest", "name": name, "uid": owner or uid, "controller": True}]
    labels = {"app.kubernetes.io/component": "load", "app.kubernetes.io/managed-by": "faultlab"}
    named = {"name": f"{name}-load", "uid": f"pod-of-{name}", "labels": labels, "ownerReferences": owners}
    status = {"phase": phase, **({"podIP": address} if address else {})}
    lab.cache.put({"kind": "Pod", "metadata": {**metadata, **named}, "status": status})


@pytest_asyncio.fixture
async def pod() -> AsyncIterator[FakeLocust]:
    fake = FakeLocust()
    runner = await fake.start()
    yield fake
    fake.open_end.set()
    await runner.cleanup()


@pytest_asyncio.fixture
async def loads(lab: Lab) -> AsyncIterator[aiohttp.ClientSession]:
    async with serving(lab) as (_, session):
        yield session


def encoded(path: str) -> URL:
    return URL(path, encoded=True)


@pytest.mark.usefixtures("pod")
async def test_the_only_load_that_runs_is_where_the_root_leads(
    lab: Lab, loads: aiohttp.ClientSession
) -> None:
    put_load(lab, "demo", POD_ADDRESS)
    put_load(lab, "over", None, phase="Succeeded")
    answer = await loads.get("/")
    assert str(answer.url.path) == "/lab/demo-load/"
    assert await answer.text() == "the page"
    assert (await loads.get("/lab/demo-load", allow_redirects=False)).headers["Location"] == "demo-load/"


async def test_several_loads_are_listed(lab: Lab, loads: aiohttp.ClientSession) -> None:
    for name in ("one", "two"):
        put_load(lab, name, GONE_ADDRESS)
    text = await (await loads.get("/")).text()
    assert 'href="lab/one-load/"' in text
    assert 'href="lab/two-load/"' in text


async def test_without_a_load_the_root_says_how_to_start_one(loads: aiohttp.ClientSession) -> None:
    assert "kubectl apply" in await (await loads.get("/")).text()


async def test_path_query_and_body_arrive_as_they_were_sent(
    lab: Lab, loads: aiohttp.ClientSession, pod: FakeLocust
) -> None:
    put_load(lab, "demo", POD_ADDRESS)
    await loads.get(encoded("/lab/demo-load/a%2Fb/%20c?x=%26&y"))
    body = b"user_count=7&spawn_rate=7"
    answer = await loads.post("/lab/demo-load/swarm", data=body, headers={"Content-Type": "text/x-form"})
    assert await answer.text() == "the page"
    assert pod.asked[0][:2] == ("GET", "/a%2Fb/%20c?x=%26&y")
    method, path, headers, taken = pod.asked[1]
    assert (method, path, taken, headers["content-type"]) == ("POST", "/swarm", body, "text/x-form")
    head = await loads.head("/lab/demo-load/")
    assert (head.status, pod.asked[2][0]) == (200, "HEAD")


async def test_hop_headers_and_secrets_end_at_the_proxy(
    lab: Lab, loads: aiohttp.ClientSession, pod: FakeLocust
) -> None:
    put_load(lab, "demo", POD_ADDRESS)
    sent = {
        "Connection": "keep-alive, X-Hop", "X-Hop": "1", "TE": "trailers", "Cookie": "session=mine",
        "Authorization": "Bearer mine", "Proxy-Authorization": "x", "X-Kept": "2",
    }  # fmt: skip
    answer = await loads.get("/lab/demo-load/", headers=sent)
    seen = pod.asked[0][2]
    assert seen["x-kept"] == "2"
    assert seen["host"] == f"{POD_ADDRESS}:{LOCUST_PORT}"
    assert not {"x-hop", "te", "cookie", "authorization", "proxy-authorization"} & seen.keys()
    assert answer.headers["X-Of-Locust"] == "yes"
    assert "Set-Cookie" not in answer.headers
    assert "Keep-Alive" not in answer.headers


@pytest.mark.usefixtures("pod")
async def test_redirects_stay_under_the_prefix(lab: Lab, loads: aiohttp.ClientSession) -> None:
    put_load(lab, "demo", POD_ADDRESS)
    for path, where in (("moved", "/lab/demo-load/stats/here"), ("deep/moved", "/lab/demo-load/")):
        assert (await loads.get(f"/lab/demo-load/{path}")).url.path == where


async def test_answers_stream(lab: Lab, loads: aiohttp.ClientSession, pod: FakeLocust) -> None:
    put_load(lab, "demo", POD_ADDRESS)
    async with asyncio.timeout(5), loads.get("/lab/demo-load/stream") as answer:
        assert await answer.content.readexactly(5) == b"first"
        pod.open_end.set()
        assert await answer.content.read() == b"last"


async def test_a_pod_that_breaks_off_is_not_taken_for_a_whole_answer(
    lab: Lab, loads: aiohttp.ClientSession
) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(half, POD_ADDRESS, LOCUST_PORT, reuse_address=True)
    put_load(lab, "demo", POD_ADDRESS)
    async with server:
        answer = await loads.get("/lab/demo-load/x")
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_a_body_that_is_too_long_is_refused(
    lab: Lab, loads: aiohttp.ClientSession, pod: FakeLocust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locust, "MAX_BODY", 1000)
    put_load(lab, "demo", POD_ADDRESS)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    for body in (b"x" * 1001, chunks()):
        assert (await loads.post("/lab/demo-load/swarm", data=body)).status == 413
    assert pod.asked == []


async def test_a_pod_that_is_gone_is_said_in_words(lab: Lab, loads: aiohttp.ClientSession) -> None:
    put_load(lab, "gone", GONE_ADDRESS)
    put_load(lab, "pending", None, phase="Pending")
    for name, said in (("gone", "does not answer"), ("pending", "not running")):
        answer = await loads.get(f"/lab/{name}-load/")
        assert answer.status == 502
        assert said in await answer.text()


@pytest.mark.parametrize(
    "path",
    [
        "/lab/other-pod/", "/lab/stranger-load/", "/other/demo-load/", "/lab/%64emo-load/",
        "/lab/demo-load%2F..", "/lab/demo%2Dload/", "/lab/..%2Fdemo-load/", "/127.77.3.1/demo-load/",
        "/lab//demo-load/", "/lab/demo-load:22/", "/lab/127.77.3.1/", "/a", "/lab/@127.77.3.1/",
    ],
)  # fmt: skip
async def test_only_load_pods_of_a_loadtest_are_reached(
    lab: Lab, loads: aiohttp.ClientSession, pod: FakeLocust, path: str
) -> None:
    put_load(lab, "demo", POD_ADDRESS)
    put_load(lab, "stranger", POD_ADDRESS, owner="another")
    other = {"name": "other-pod", "namespace": "lab", "labels": {"app.kubernetes.io/component": "raft"}}
    lab.cache.put({"kind": "Pod", "metadata": other, "status": {"phase": "Running", "podIP": POD_ADDRESS}})
    assert (await loads.get(encoded(path), allow_redirects=False)).status == 404
    assert pod.asked == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_not_forwarded(
    lab: Lab, loads: aiohttp.ClientSession, pod: FakeLocust, method: str
) -> None:
    put_load(lab, "demo", POD_ADDRESS)
    headers = {"Origin": "https://evil.example"}
    assert (await loads.request(method, "/lab/demo-load/swarm")).status == 405
    assert (await loads.request(method, "/lab/demo-load/swarm", headers=headers)).status == 403
    assert pod.asked == []


async def posted(loads: aiohttp.ClientSession, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return (await loads.post("/lab/demo-load/swarm", data=b"x", headers=named)).status


async def test_another_sites_page_cannot_post(
    lab: Lab, loads: aiohttp.ClientSession, pod: FakeLocust
) -> None:
    put_load(lab, "demo", POD_ADDRESS)
    for origin in ("https://evil.example", "null", "http://localhost:3000", "http://[", "", "x"):
        assert await posted(loads, Host="localhost:8089", Origin=origin) == 403
    assert await posted(loads, Host="localhost:8089", Sec_Fetch_Site="cross-site") == 403
    assert await posted(loads, Host="evil.example", Origin="http://evil.example") == 403
    assert pod.asked == []


@pytest.mark.usefixtures("pod")
async def test_its_own_page_and_programs_can(lab: Lab, loads: aiohttp.ClientSession) -> None:
    put_load(lab, "demo", POD_ADDRESS)
    assert await posted(loads, Host="localhost:8089", Origin="http://localhost:8089") == 200
    assert await posted(loads, Host="localhost", Origin="http://localhost:80") == 200
    assert await posted(loads) == 200
    # As the API server's pods/proxy and the embedded world's pages send it on.
    behind = {"Host": "10.0.0.9:8089", "X_Forwarded_Host": "127.0.0.1:8088"}
    assert await posted(loads, **behind, Origin="http://127.0.0.1:8088") == 200
    assert await posted(loads, **behind, Origin="http://evil.example") == 403


async def test_another_sites_page_can_link_here_but_not_stop_the_load(
    lab: Lab, loads: aiohttp.ClientSession, pod: FakeLocust
) -> None:
    put_load(lab, "demo", POD_ADDRESS)
    for site, path, status in (
        ("cross-site", "", 200), ("same-site", "", 200), ("cross-site", "stop", 403),
        ("same-site", "stop", 403), ("same-origin", "stop", 200), ("none", "stats/report", 200),
    ):  # fmt: skip
        answer = await loads.get(f"/lab/demo-load/{path}", headers={"Sec-Fetch-Site": site})
        assert answer.status == status, (site, path)
    assert all(
        path != "/stop" or headers["sec-fetch-site"] == "same-origin" for _, path, headers, _ in pod.asked
    )


async def test_a_program_under_the_api_servers_name_says_that_it_is_one(page: Any) -> None:
    headers = {"Host": "abc.eks.example.com"}
    assert (await page.get("/v1/runs", headers=headers)).status == 403
    assert (await page.get("/v1/runs", headers={**headers, "Sec-Faultlab": "cli"})).status == 200
