"""The pages in a real browser, under the policies that they are served with."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from fake_member import serving as serving_member
from fake_member import store as answers

from faultlab.contract.ports import LOCUST_PORT
from faultlab_operator.http.server import Pages, start
from faultlab_operator.scenario.judge import judge_directory

from ..scenario.sample import sample
from .browser import CHROMIUM, Browser, browser
from .pages_lab import Lab
from .test_locust_proxy import put_load

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

POD_ADDRESS = "127.77.4.1"


@pytest_asyncio.fixture
async def pages(lab: Lab) -> AsyncIterator[Pages]:
    made = await start(lab.services, lab.store, lambda: None)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def chromium(tmp_path: Path) -> AsyncIterator[Browser]:
    async with browser(tmp_path / "browser") as made:
        yield made


@pytest.fixture
def locust(tmp_path: Path) -> Iterator[None]:
    """A real load on the port that a load pod has."""
    with serving_member(answers()) as member:
        config = {
            "name": "demo", "users": 3, "dataDir": str(tmp_path), "keys": {"count": 5},
            "members": [{"name": "m-0", "host": "127.0.0.1", "clientPort": member.port}],
            "arrival": {"mode": "constantRate", "operationsPerSecond": 50},
        }  # fmt: skip
        file = tmp_path / "config.json"
        file.write_text(json.dumps(config))
        process = subprocess.Popen(
            [
                sys.executable, "-c", "from faultlab.load.main import main; main()", "--config", str(file),
                "--listen", POD_ADDRESS, "--port", str(LOCUST_PORT),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"NO_PROXY": "*"},
        )  # fmt: skip
        yield
        process.terminate()
        process.wait(15)


async def test_the_index_follows_what_happens_and_runs_no_strangers_markup(
    lab: Lab, pages: Pages, chromium: Browser
) -> None:
    await chromium.open(f"http://127.0.0.1:{pages.port}/")
    assert "kubectl apply -f" in await chromium.run("document.body.innerText")
    lab.scenario("run", "one", "Fault", title='<img src=x onerror="document.title=1">')
    await chromium.until("document.querySelector('.phase')?.innerText === 'Fault'")
    assert "<img src=x" in await chromium.run("document.body.innerText")
    lab.keep("run", "old", title="</main><script>document.title = 'bad'</script>", minutes=1)
    await chromium.until("document.body.innerText.includes('Finished runs')")
    assert await chromium.run("document.title") == "(1) Faultlab"
    assert chromium.complaints == []


async def test_the_index_says_when_the_lab_is_away(pages: Pages, chromium: Browser) -> None:
    await chromium.open(f"http://127.0.0.1:{pages.port}/")
    assert await chromium.run("document.getElementById('away').hidden")
    await pages.close()
    await chromium.until("!document.getElementById('away').hidden")


async def test_a_report_works_under_its_policy_and_reaches_nothing(
    lab: Lab, pages: Pages, chromium: Browser
) -> None:
    path = lab.keep("run", "one")
    sample().write(path)
    await asyncio.to_thread(judge_directory, path)
    await chromium.open(f"http://127.0.0.1:{pages.port}/v1/runs/one/artifacts/report.html")
    assert chromium.complaints == []
    point = "{clientX: 600, clientY: 400, bubbles: true}"
    await chromium.run(
        f"document.querySelector('svg.chart').dispatchEvent(new PointerEvent('pointermove', {point}))"
    )
    assert "reads/s" in await chromium.run("document.getElementById('tip').innerText")
    assert await chromium.run("window.origin") == "null"
    assert await chromium.run("fetch('/v1/runs').then(() => 'read', () => 'refused')") == "refused"


@pytest.mark.usefixtures("locust")
async def test_locusts_own_page_works_under_its_prefix(lab: Lab, pages: Pages, chromium: Browser) -> None:
    put_load(lab, "demo", POD_ADDRESS)
    base = f"http://127.0.0.1:{pages.locust_port}"
    await _answers(f"{base}/lab/demo-load/faultlab/status")
    await chromium.open(f"{base}/")
    assert await chromium.run("location.pathname") == "/lab/demo-load/"
    await chromium.until("document.body.innerText.includes('RUNNING')")
    counted = "+(document.body.innerText.match(/RPS\\s+([0-9.]+)/)?.[1] ?? 0)"
    await chromium.until(f"{counted} > 10")
    await _press(chromium, "Edit")
    await _press(chromium, "Update")
    await chromium.until("performance.getEntriesByType('resource').some(e => e.name.endsWith('/swarm'))")
    await _press(chromium, "Charts")
    await chromium.until("document.querySelectorAll('canvas, svg').length > 3")
    await _press(chromium, "Stop")
    await chromium.until("/STOPP(ED|ING)/.test(document.body.innerText)")
    assert [each for each in chromium.complaints if "favicon" not in each] == []


async def _press(chromium: Browser, name: str) -> None:
    """The button or tab of this name."""
    found = (
        "[...document.querySelectorAll('button, [role=tab], a')]"
        f".find(e => e.innerText.trim().toLowerCase() === {name.lower()!r} && !e.disabled)"
    )
    await chromium.until(f"!!{found}")
    await chromium.run(f"{found}.click()")


async def _answers(url: str) -> None:
    async with asyncio.timeout(30), aiohttp.ClientSession() as http:
        while True:
            async with http.get(url) as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)
