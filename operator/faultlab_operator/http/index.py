"""The lab's own page: what runs now, and what ran, with the files that it left. For people.

`overview` collects, `render` writes it down; every value that is not markup goes through `escape`.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final

from aiohttp import web
from pydantic import ValidationError

from faultlab.contract.run import LiveView, RunSummary
from faultlab_operator.api import Scenario
from faultlab_operator.core import Services
from faultlab_operator.core.clock import parse_rfc3339
from faultlab_operator.handlers.loadtest import page_url
from faultlab_operator.http.live import LiveViews
from faultlab_operator.http.shell import html_page
from faultlab_operator.render.loadtest import load_pod_name
from faultlab_operator.report.words import number
from faultlab_operator.scenario.keeping import under_way
from faultlab_operator.scenario.manifests import load_name
from faultlab_operator.scenario.record import REPORT_FILE
from faultlab_operator.scenario.store import RunStore, StoredRun

MAX_SHOWN: Final = 200
"""Finished runs on the page, the newest; `/v1/runs` has them all."""

MAX_REASON: Final = 240
"""Characters of a reason on the page."""

NO_EVENTS: Final = 2**53
"""Behind every event: the page shows none."""

NUMERIC: Final = ("Failover", "Operations")
"""Columns that stand on the right."""

EXAMPLE: Final = "chaos/scenarios/raft-leader-partition.yaml"


@dataclass(frozen=True, slots=True)
class Running:
    """A scenario that is not done."""

    view: LiveView
    title: str
    leader: str
    locust_url: str
    """Of its load's page; empty while there is none, or where no browser reaches it."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that the page shows."""

    running: tuple[Running, ...]
    finished: tuple[RunSummary, ...]
    """Newest first."""
    more: int
    """Finished runs beyond MAX_SHOWN."""
    locust_url: str
    now: datetime


class Index:
    """The page's handler."""

    def __init__(self, services: Services, store: RunStore, live: LiveViews) -> None:
        self._services = services
        self._store = store
        self._live = live

    async def page(self, _request: web.Request) -> web.Response:
        stored = await asyncio.to_thread(self._store.runs)
        shown = self._overview(stored)
        return html_page(title(shown), render(shown))

    def _overview(self, stored: list[StoredRun]) -> Overview:
        cache, settings = self._services.cache, self._services.settings
        over = [
            run.summary
            for run in stored
            if not under_way(run, cache.get("Scenario", run.summary.namespace, run.summary.name))
        ]
        over.reverse()
        return Overview(
            running=tuple(self._running()),
            finished=tuple(over[:MAX_SHOWN]),
            more=max(0, len(over) - MAX_SHOWN),
            locust_url=settings.locust_url,
            now=self._services.clock.now(),
        )

    def _running(self) -> Iterable[Running]:
        for obj in self._services.cache.list("Scenario"):
            metadata = obj["metadata"]
            if (obj.get("status") or {}).get("phase") == "Done" or metadata.get("deletionTimestamp"):
                continue
            try:
                scenario = Scenario.parse(obj)
            except ValidationError:
                continue  # the reconciler says so in the log; there is nothing to show
            view = self._live.view(metadata["namespace"], metadata["name"], NO_EVENTS)
            if view is not None:
                heading = scenario.spec.title or scenario.metadata.name
                yield Running(view, heading, _leader(view), self._locust(scenario))

    def _locust(self, scenario: Scenario) -> str:
        namespace, name = scenario.metadata.namespace, load_name(scenario)
        if self._services.loads.status(namespace, name) is None:
            return ""
        return page_url(self._services.settings.locust_url, namespace, load_pod_name(name)) or ""


def title(shown: Overview) -> str:
    """Of the browser's tab."""
    return f"({len(shown.running)}) Faultlab" if shown.running else "Faultlab"


def render(shown: Overview) -> str:
    """The page's body."""
    loads = f'<a href="{escape(shown.locust_url)}/">loads</a>' if shown.locust_url else ""
    parts = [f'<div class="top"><h1>Faultlab</h1><nav>{loads} <a href="v1/runs">runs as JSON</a></nav></div>']
    if not shown.running and not shown.finished:
        return parts[0] + _empty()
    if shown.running:
        rows = "".join(_running_row(each) for each in shown.running)
        head = _head("Scenario", "Phase", "Leader", "Load", "")
        parts.append(f"<section data-live><h2>Running now</h2>{_table(head, rows)}</section>")
    if shown.finished:
        rows = "".join(_finished_row(run, shown.now) for run in shown.finished)
        head = _head("Verdict", "Scenario", "Failover", "Operations", "When", "Files")
        note = f'<p class="soft">and {shown.more} older ones</p>' if shown.more else ""
        parts.append(f"<section><h2>Finished runs</h2>{_table(head, rows)}{note}</section>")
    return "".join(parts)


def _empty() -> str:
    return (
        "<section><h2>Nothing has run yet</h2><p>Apply a scenario, and it appears here while it runs; its "
        "report stays here afterwards:</p>"
        f"<pre>kubectl apply -f {EXAMPLE}\nkubectl get scenarios -w</pre>"
        "<p>or watch it in the terminal and have the files at once:</p>"
        f"<pre>faultlab run {EXAMPLE}</pre></section>"
    )


def _running_row(run: Running) -> str:
    view = run.view
    done, total = view.elapsed_ms / 1000, max(view.expected_ms, 1) / 1000
    progress = f'<progress max="{total:.1f}" value="{min(done, total):.1f}"></progress>'
    phase = f'<span class="phase">{escape(view.phase)}</span> {done:.0f} s of about {total:.0f} s{progress}'
    cut = f'<small class="cut">{len(view.cut_edges)} edges cut</small>' if view.cut_edges else ""
    load = "not yet"
    if view.load is not None:
        window = view.load.window
        load = f"{number(window.ok)} ok/s<small>{number(window.fail + window.info)} not ok/s</small>"
    link = f'<a href="{escape(run.locust_url)}">Locust</a>' if run.locust_url else ""
    return _row(
        ("what", "", _what(run.title, view.namespace, view.name)),
        ("", "Phase", phase),
        ("", "Leader", f"{escape(run.leader) or 'none'}{cut}"),
        ("", "Load", load),
        ("", "", link),
    )


def _finished_row(run: RunSummary, now: datetime) -> str:
    verdict = run.verdict or ("Deleted" if run.phase == "Abandoned" else "None")
    pill = f'<span class="pill {verdict}">{verdict}</span>'
    headline = run.headline
    failover = operations = "–"
    if headline is not None:
        if headline.failover_ms is not None:
            failover = f"{number(headline.failover_ms)} ms"
        if headline.operations is not None:
            counts = headline.operations
            operations = number(counts.ok + counts.fail + counts.info)
    report = _file(run, REPORT_FILE) if REPORT_FILE in run.files else ""
    what = _what(run.title or run.name, run.namespace, run.name, href=report) + _why(run)
    return _row(
        ("", "", pill),
        ("what", "", what),
        ("num", "Failover", failover),
        ("num", "Operations", operations),
        ("when", "When", _when(run, now)),
        ("files", "", _files(run)),
    )


def _what(title: str, namespace: str, name: str, href: str = "") -> str:
    heading = f'<a href="{escape(href)}">{escape(title)}</a>' if href else f"<strong>{escape(title)}</strong>"
    return f"{heading}<small>{escape(namespace)}/{escape(name)}</small>"


def _why(run: RunSummary) -> str:
    """The first reason; the report has all of them."""
    reason = next(iter(run.reasons), "")
    if run.phase == "Abandoned":
        reason = "its Scenario was deleted before there was a verdict"
    if run.verdict == "Pass" or not reason:
        return ""
    shown = reason if len(reason) <= MAX_REASON else reason[:MAX_REASON] + "…"
    return f'<small class="why">{escape(shown)}</small>'


def _files(run: RunSummary) -> str:
    return (
        " ".join(
            f'<span><a href="{escape(_file(run, name))}">{escape(name)}</a> {_size(size)}</span>'
            for name, size in sorted(run.files.items(), key=lambda each: each[0] != REPORT_FILE)
        )
        or "none"
    )


def _file(run: RunSummary, name: str) -> str:
    return f"v1/runs/{run.uid}/artifacts/{name}"


def _when(run: RunSummary, now: datetime) -> str:
    moment = run.started_at[:19].replace("T", " ")
    lasted = ""
    if run.ended_at is not None:
        seconds = (parse_rfc3339(run.ended_at) - parse_rfc3339(run.started_at)).total_seconds()
        lasted = f", took {max(seconds, 0):.0f} s"
    ago = _ago((now - parse_rfc3339(run.started_at)).total_seconds())
    return (
        f'<time datetime="{escape(run.started_at)}">{escape(moment)} UTC</time><small>{ago}{lasted}</small>'
    )


def _ago(seconds: float) -> str:
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _size(size: int) -> str:
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size} B"


def _leader(view: LiveView) -> str:
    """Of those who take themselves for it the one with the latest term."""
    leaders = [
        (each.status.term, each.name)
        for each in view.members
        if each.status is not None and each.reachable and each.status.role == "leader"
    ]
    return max(leaders)[1] if leaders else ""


def _table(head: str, rows: str) -> str:
    return f'<div class="scroll"><table class="runs">{head}<tbody>{rows}</tbody></table></div>'


def _head(*names: str) -> str:
    cells = "".join(f'<th class="{"num" * (name in NUMERIC)}">{name}</th>' for name in names)
    return f"<thead><tr>{cells}</tr></thead>"


def _row(*cells: tuple[str, str, str]) -> str:
    """Cells of class, name (shown on narrow screens) and markup."""
    parts = []
    for css, name, markup in cells:
        said = f' data-name="{name}"' if name else ""
        parts.append(f'<td class="{css}"{said}>{markup}</td>')
    return f"<tr>{''.join(parts)}</tr>"
