"""The lab's page as markup: what it says of each run, and that nothing in it is anybody else's."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import aiohttp

from faultlab.contract.run import Headline, OperationCounts

from .pages_lab import Lab, make_lab, serving

EVIL = "\"'><script>alert(1)</script><img src=//evil.example/x>"


class Page(HTMLParser):
    """What a browser would fetch, run and show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.scripts = 0
        self.handlers: list[str] = []
        self.shown = ""
        self._silent = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        self.scripts += tag == "script"
        self._silent = tag in ("script", "style")

    def handle_endtag(self, _tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.shown += data


async def shown(session: aiohttp.ClientSession) -> Page:
    answer = await session.get("/")
    assert answer.content_type == "text/html"
    return Page(await answer.text())


async def test_without_runs_it_says_what_to_type(page: aiohttp.ClientSession) -> None:
    text = (await shown(page)).shown
    assert "kubectl apply -f chaos/scenarios/raft-leader-partition.yaml" in text
    assert "faultlab run" in text


async def test_what_runs_is_shown_with_phase_time_leader_and_its_loads_page(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, locust_url="http://localhost:8089")
    began = (lab.services.clock.now() - timedelta(seconds=7)).isoformat()
    lab.scenario("run", "one", "WarmUp", title="Cut", startedAt=began)
    lab.hub.lead("demo-1", term=3)
    lab.hub.load(ok=600)
    async with serving(lab) as (session, _):
        found = await shown(session)
    assert re.search(r"WarmUp\s+7 s of about \d+ s", found.shown)
    assert "http://localhost:8089/lab/demo-load/" in found.links
    for said in ("lab/run", "demo-1", "600 ok/s"):
        assert said in found.shown


async def test_finished_runs_stand_newest_first_with_links_to_their_files(
    page: aiohttp.ClientSession, lab: Lab
) -> None:
    counts = OperationCounts(12_000, 300, 45)
    (lab.keep("run", "old", headline=Headline(812.4, 900.0, counts)) / "report.html").write_text("x" * 2_500)
    lab.keep("run", "new", minutes=5, verdict="Fail", reasons=("a write was lost",), title="Run new")
    found = await shown(page)
    assert found.shown.index("Run new") < found.shown.index("Run old")
    assert "812 ms" in found.shown
    assert "12\u202f345" in found.shown
    assert "a write was lost" in found.shown
    assert "2.5 kB" in found.shown
    assert "v1/runs/old/artifacts/report.html" in found.links
    # A prefix may stand before the page's address.
    assert not [link for link in found.links if link.startswith("/")]


async def test_every_link_to_a_file_leads_to_it(page: aiohttp.ClientSession, lab: Lab) -> None:
    lab.keep("run", "one").joinpath("report.html").write_text("x")
    links = [link for link in (await shown(page)).links if link.startswith("v1/runs/")]
    assert links
    for link in links:
        assert (await page.get(f"/{link}")).status == 200


async def test_a_run_is_running_or_finished_never_both(page: aiohttp.ClientSession, lab: Lab) -> None:
    lab.keep("run", "one", ended_at=None, verdict=None, phase="Pending")
    lab.scenario("run", "one", "Fault", title="Run one")
    text = (await shown(page)).shown
    assert "Running now" in text
    assert "Finished runs" not in text
    lab.cache.drop(lab.cache.get("Scenario", "lab", "run") or {})
    text = (await shown(page)).shown
    assert "Running now" not in text
    assert "Finished runs" in text


async def test_strangers_markup_is_text(lab: Lab) -> None:
    lab = make_lab(lab.services.settings.data_dir, locust_url="http://localhost:8089")
    lab.scenario("run", "one", "Fault", title=EVIL)
    lab.keep("run", "two", title=EVIL, reasons=(EVIL,), verdict="Fail", minutes=1)
    async with serving(lab) as (session, _):
        found = await shown(session)
    assert found.scripts == 1
    assert found.handlers == []
    assert found.shown.count(EVIL) == 3
    assert not [link for link in found.links if link.startswith("//")]


async def test_its_policy_names_its_own_script_and_style_only(page: aiohttp.ClientSession) -> None:
    policy = (await page.get("/")).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.search(r"script-src 'sha256-[^']+';", policy)
    assert "connect-src 'self'" in policy


async def test_the_page_stays_small_with_very_many_runs(page: aiohttp.ClientSession, lab: Lab) -> None:
    for index in range(205):
        lab.keep("run", f"uid-{index}", minutes=index, size=1)
    text = (await shown(page)).shown
    assert text.count("Run uid-") == 200
    assert "Run uid-204" in text
    assert "and 5 older ones" in text
