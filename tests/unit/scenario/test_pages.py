"""The operator's HTTP server: only what it means to serve, and bounded on disk."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from faultlab_operator.core import Cache, Services, Settings, SystemClock
from faultlab_operator.http.server import start
from faultlab_operator.scenario import store as store_module
from faultlab_operator.scenario.store import RunStore


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(
        settings=Settings(data_dir=tmp_path),
        clock=SystemClock(),
        cache=Cache(),
        kube=None,  # type: ignore[arg-type]
        members=None,  # type: ignore[arg-type]
        loads=None,  # type: ignore[arg-type]
        http=None,  # type: ignore[arg-type]
        wake=lambda _key, _after: None,
    )


@pytest_asyncio.fixture
async def page(services: Services) -> AsyncIterator[aiohttp.ClientSession]:
    pages = await start(services, 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{pages.port}") as session:
        yield session
    await pages.close()


RUN = "/v1/namespaces/lab/scenarios/run"


async def test_health_is_answered(page: aiohttp.ClientSession) -> None:
    assert (await page.get("/healthz")).status == 200


async def test_artifacts_of_a_deleted_scenario_can_still_be_fetched(
    page: aiohttp.ClientSession, services: Services
) -> None:
    directory = RunStore(services.settings.data_dir).open("lab", "run", "uid")
    (directory / "verdict.json").write_text('{"verdict": "Pass"}')
    listed = await (await page.get(f"{RUN}/artifacts")).json()
    assert listed == {"artifacts": ["verdict.json"]}
    answer = await page.get(f"{RUN}/artifacts/verdict.json")
    assert answer.content_type == "application/json"
    assert await answer.json() == {"verdict": "Pass"}


@pytest.mark.parametrize(
    "path",
    [
        f"{RUN}/artifacts/secret",
        f"{RUN}/artifacts/..%2F..%2Fsecret",
        f"{RUN}/artifacts/%2e%2e/secret",
        "/v1/namespaces/..%2Felsewhere/scenarios/run/artifacts/verdict.json",
        "/v1/namespaces/lab/scenarios/..%2F..%2Felsewhere%2Frun/artifacts/verdict.json",
        "/v1/namespaces/%2e%2e%2felsewhere/scenarios/run/artifacts/verdict.json",
        f"{RUN}/live",
        "/secret",
    ],
)
async def test_nothing_else_is_served(page: aiohttp.ClientSession, services: Services, path: str) -> None:
    (services.settings.data_dir / "runs").mkdir()
    elsewhere = services.settings.data_dir / "elsewhere" / "run" / "uid"
    elsewhere.mkdir(parents=True)
    (elsewhere / "verdict.json").write_text("not yours")
    answer = await page.get(URL(path, encoded=True), allow_redirects=False)
    assert answer.status == 404
    assert "not yours" not in await answer.text()


async def test_a_bad_event_id_is_refused_with_what_to_write(page: aiohttp.ClientSession) -> None:
    answer = await page.get(f"{RUN}/live?after=x")
    assert answer.status == 400
    assert "write a number" in await answer.text()


def test_old_runs_go_when_there_are_too_many_but_never_one_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "KEEP_RUNS", 3)
    runs = RunStore(tmp_path)
    paths = [runs.open("lab", "run", f"uid-{index}") for index in range(6)]
    for index, path in enumerate(paths):
        (path / "history.ndjson").write_bytes(b"x" * 100)
        _age(path, index)
    assert set(runs.prune([paths[0]])) == {paths[1], paths[2]}
    assert paths[0].exists()
    assert runs.find("lab", "run", None) == paths[5]


def test_old_runs_go_when_they_take_too_much_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "KEEP_BYTES", 250)
    runs = RunStore(tmp_path)
    paths = [runs.open("lab", "run", f"uid-{index}") for index in range(4)]
    for index, path in enumerate(paths):
        (path / "history.ndjson").write_bytes(b"x" * 100)
        _age(path, index)
    assert set(runs.prune([])) == {paths[0], paths[1]}


def _age(path: Path, index: int) -> None:
    os.utime(path, (1_000_000 + index, 1_000_000 + index))
