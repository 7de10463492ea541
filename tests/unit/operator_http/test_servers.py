"""Health and readiness, and whom the servers answer."""

import aiohttp
import pytest

from faultlab_operator.http.guard import is_known_host

from .pages_lab import Lab, make_lab, serving


async def test_health_is_answered_while_another_one_leads(page: aiohttp.ClientSession, lab: Lab) -> None:
    lab.unready = "the leader lock is not held"
    assert (await page.get("/healthz")).status == 200
    answer = await page.get("/readyz")
    assert answer.status == 503
    assert await answer.text() == "the leader lock is not held\n"
    lab.unready = None
    assert (await page.get("/readyz")).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8080", "10.1.2.3", "[::1]:8080", "[fd00::1]", "localhost:8080", "localhost", "LOCALHOST",
        "faultlab-pages.faultlab-system.svc:8080", "faultlab-pages.faultlab-system.svc.cluster.local.",
        "lab.example.org", "lab.example.org:8443",
    ],
)  # fmt: skip
def test_hosts_that_only_this_server_can_have_are_known(host: str) -> None:
    assert is_known_host(host, frozenset({"lab.example.org"}))


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example",
        "x.svc.evil.example", "svc", "evil.example#.svc", "a@127.0.0.1", "127.0.0.1@evil.example",
        "evil.example/127.0.0.1", "[::1", "lab.example.org.evil.example", "localhost:8080:1",
        "xlab.example.org", "127.0.0.1 evil.example",
    ],
)  # fmt: skip
def test_names_that_anybody_may_point_here_are_not(host: str) -> None:
    assert not is_known_host(host, frozenset({"lab.example.org"}))


async def test_a_rebound_name_gets_nothing_on_either_port(lab: Lab) -> None:
    lab.keep("run", "secret-run")
    async with serving(lab) as sessions:
        for session in sessions:
            for path in ("/", "/v1/runs", "/healthz", "/lab/run-load/"):
                answer = await session.get(path, headers={"Host": "evil.example:8080"})
                assert answer.status == 403
                assert "secret-run" not in await answer.text()


async def test_the_hosts_of_the_configured_addresses_are_taken(tmp_path: object) -> None:
    lab = make_lab(tmp_path, pages_url="https://lab.example.org/x", locust_url="http://loads.example")  # type: ignore[arg-type]
    async with serving(lab) as (page, loads):
        for host in ("lab.example.org", "loads.example:99"):
            assert (await page.get("/healthz", headers={"Host": host})).status == 200
            assert (await loads.get("/", headers={"Host": host})).status == 200


async def test_every_answer_keeps_browsers_from_framing_and_guessing(lab: Lab) -> None:
    async with serving(lab) as sessions:
        for session in sessions:
            for path in ("/", "/nothing", "/healthz"):
                headers = (await session.get(path)).headers
                assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
                assert "Access-Control-Allow-Origin" not in headers
