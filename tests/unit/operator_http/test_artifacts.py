"""Runs and their files over HTTP: what is there is found, and nothing else is served."""

import aiohttp
import pytest
from yarl import URL

from .pages_lab import Lab

RUN = "/v1/namespaces/lab/scenarios/run"


async def test_artifacts_of_a_deleted_scenario_can_still_be_fetched(
    page: aiohttp.ClientSession, lab: Lab
) -> None:
    (lab.keep("run", "uid-1") / "verdict.json").write_text('{"verdict": "Pass"}')
    listed = await (await page.get(f"{RUN}/artifacts")).json()
    assert listed == {"artifacts": ["verdict.json", "history.ndjson"]}
    answer = await page.get(f"{RUN}/artifacts/verdict.json")
    assert answer.content_type == "application/json"
    assert await answer.json() == {"verdict": "Pass"}


async def test_a_name_leads_to_the_scenario_that_exists_else_to_the_newest_run(
    page: aiohttp.ClientSession, lab: Lab
) -> None:
    for minutes, uid in enumerate(("one", "two", "three")):
        (lab.keep("run", uid, minutes=minutes) / "verdict.json").write_text(uid)
    lab.scenario("run", "two", "Done")
    assert await (await page.get(f"{RUN}/artifacts/verdict.json")).text() == "two"
    lab.cache.drop(lab.cache.get("Scenario", "lab", "run") or {})
    assert await (await page.get(f"{RUN}/artifacts/verdict.json")).text() == "three"


async def test_older_runs_of_a_name_are_had_by_their_uid(page: aiohttp.ClientSession, lab: Lab) -> None:
    for minutes, uid in enumerate(("b", "a")):
        (lab.keep("run", uid, minutes=minutes) / "report.html").write_text(uid)
    assert await (await page.get("/v1/runs/b/artifacts")).json() == {
        "artifacts": ["report.html", "history.ndjson"]
    }
    assert await (await page.get("/v1/runs/b/artifacts/report.html")).text() == "b"
    run = await (await page.get("/v1/runs/b")).json()
    assert (run["name"], run["title"], run["verdict"]) == ("run", "Run b", "Pass")
    assert run["files"] == {"report.html": 1, "history.ndjson": 100}


async def test_runs_are_listed_oldest_first_and_by_namespace_and_name(
    page: aiohttp.ClientSession, lab: Lab
) -> None:
    lab.keep("run", "new", minutes=2)
    lab.keep("other", "middle", minutes=1)
    lab.keep("run", "old", minutes=0)

    async def uids(query: str) -> list[str]:
        document = await (await page.get(f"/v1/runs{query}")).json()
        return [run["uid"] for run in document["runs"]]

    assert await uids("") == ["old", "middle", "new"]
    assert await uids("?namespace=lab&name=run") == ["old", "new"]
    assert await uids("?namespace=elsewhere") == []


async def test_a_run_under_way_is_listed_with_the_phase_that_it_is_in(
    page: aiohttp.ClientSession, lab: Lab
) -> None:
    lab.keep("run", "one", ended_at=None, phase="Pending", verdict=None)
    lab.scenario("run", "one", "WarmUp")
    run = (await (await page.get("/v1/runs")).json())["runs"][0]
    assert (run["phase"], run["verdict"], run["endedAt"]) == ("WarmUp", None, None)


async def test_a_report_may_reach_nothing_but_itself(page: aiohttp.ClientSession, lab: Lab) -> None:
    (lab.keep("run", "one") / "report.html").write_text("<p>")
    answer = await page.get("/v1/runs/one/artifacts/report.html")
    policy = answer.headers["Content-Security-Policy"]
    assert answer.content_type == "text/html"
    assert "default-src 'none'" in policy
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        f"{RUN}/artifacts/secret",
        f"{RUN}/artifacts/summary.json",
        f"{RUN}/artifacts/..%2F..%2Fsecret",
        f"{RUN}/artifacts/%2e%2e/secret",
        f"{RUN}/artifacts/verdict.json%00",
        "/v1/namespaces/..%2Felsewhere/scenarios/run/artifacts/verdict.json",
        "/v1/namespaces/lab/scenarios/..%2F..%2Felsewhere%2Frun/artifacts/verdict.json",
        "/v1/namespaces/%2e%2e%2felsewhere/scenarios/run/artifacts/verdict.json",
        "/v1/runs/..%2F..%2F..%2Felsewhere%2Frun%2Fuid/artifacts/verdict.json",
        "/v1/runs/%2a/artifacts/verdict.json",
        "/v1/runs/[a-z]/artifacts/verdict.json",
        "/v1/runs/**/artifacts/verdict.json",
        f"/v1/runs/{'a' * 5000}/artifacts/verdict.json",
        "/v1/runs/%00/artifacts/verdict.json",
        "/v1/runs/one",
        f"{RUN}/live",
        "/secret",
    ],
)
async def test_nothing_else_is_served(page: aiohttp.ClientSession, lab: Lab, path: str) -> None:
    lab.keep("other", "uid").joinpath("verdict.json").write_text("not yours")
    elsewhere = lab.services.settings.data_dir / "elsewhere" / "run" / "uid"
    elsewhere.mkdir(parents=True)
    (elsewhere / "verdict.json").write_text("not yours")
    answer = await page.get(URL(path, encoded=True), allow_redirects=False)
    assert answer.status == 404
    assert "not yours" not in await answer.text()


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 400, "%00", "1e3", "٣"])
async def test_a_bad_event_id_is_refused_with_what_to_write(page: aiohttp.ClientSession, after: str) -> None:
    answer = await page.get(f"{RUN}/live?after={after}")
    assert answer.status == 400
    assert "write a number" in await answer.text()


@pytest.mark.parametrize("query", ["namespace=../x", "name=*", "name=a/b", "namespace=%00"])
async def test_a_list_of_no_kubernetes_name_is_refused(page: aiohttp.ClientSession, query: str) -> None:
    assert (await page.get(f"/v1/runs?{query}")).status == 400


async def test_nothing_can_be_changed(page: aiohttp.ClientSession, lab: Lab) -> None:
    lab.keep("run", "one")
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert (await page.request(method, "/v1/runs/one")).status == 405
