"""Runs and what they left, for programs; everything is JSON or a file.

- `/v1/runs[?namespace=NS][&name=NAME]`: a RunList, oldest first.
- `/v1/runs/UID`: a RunSummary. `/v1/runs/UID/artifacts[/FILE]`: the names of its files, or one of them.
- `/v1/namespaces/NS/scenarios/NAME/live?after=N`: a LiveView.
- `/v1/namespaces/NS/scenarios/NAME/artifacts[/FILE]`: of this scenario's run; once the scenario is
  deleted, of the newest run of its name.
"""

import asyncio
import re
from typing import Final

import msgspec
from aiohttp import web

from faultlab.contract.run import RunList, RunSummary
from faultlab_operator.core import Services
from faultlab_operator.http.guard import CLOSED
from faultlab_operator.http.live import LiveViews
from faultlab_operator.scenario.keeping import as_of_now
from faultlab_operator.scenario.record import ARTIFACTS
from faultlab_operator.scenario.store import RunStore, StoredRun

MAX_NAME: Final = 253
MAX_EVENT_ID: Final = 2**53
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_TYPES: Final = {".json": "application/json", ".ndjson": "application/x-ndjson", ".html": "text/html"}
REPORT_POLICY: Final = (
    f"{CLOSED}; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; sandbox allow-scripts"
)
"""A report has its script and style in itself and an origin of its own: it reaches nothing, here or
elsewhere. Its own <meta> names the one script that may run."""


class Artifacts:
    """The handlers."""

    def __init__(self, services: Services, store: RunStore, live: LiveViews) -> None:
        self._services = services
        self._store = store
        self._live = live

    def routes(self) -> list[web.RouteDef]:
        scenario = "/v1/namespaces/{namespace}/scenarios/{name}"
        return [
            web.get("/v1/runs", self.runs),
            web.get("/v1/runs/{uid}", self.run),
            web.get("/v1/runs/{uid}/artifacts", self.names),
            web.get("/v1/runs/{uid}/artifacts/{file}", self.file),
            web.get(scenario + "/live", self.live),
            web.get(scenario + "/artifacts", self.names),
            web.get(scenario + "/artifacts/{file}", self.file),
        ]

    async def runs(self, request: web.Request) -> web.Response:
        namespace, name = request.query.get("namespace"), request.query.get("name")
        if not all(is_name(each) for each in (namespace, name) if each):
            raise web.HTTPBadRequest(text="namespace and name are Kubernetes names: a-z, 0-9, '-' and '.'\n")
        found = await asyncio.to_thread(self._store.runs, namespace or None, name or None)
        return _json(RunList(tuple(self._now(run) for run in found)))

    async def run(self, request: web.Request) -> web.Response:
        found = self._find(request)
        if found is None:
            raise _no_run(request)
        return _json(self._now(found))

    async def live(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        after = request.query.get("after", "0")
        if not re.fullmatch(r"[0-9]{1,16}", after) or int(after) > MAX_EVENT_ID:
            raise web.HTTPBadRequest(text="after is the id of an event: write a number from 0\n")
        view = self._live.view(namespace, name, int(after))
        if view is None:
            raise web.HTTPNotFound(text=f"there is no scenario {name} in namespace {namespace}\n")
        return _json(view)

    async def names(self, request: web.Request) -> web.Response:
        found = self._find(request)
        if found is None and "uid" in request.match_info:
            raise _no_run(request)
        return web.json_response({"artifacts": [] if found is None else list(found.summary.files)})

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Only the known names are served, so no path can lead elsewhere."""
        file = request.match_info["file"]
        if file not in ARTIFACTS:
            raise web.HTTPNotFound(
                text=f"there is no artifact {file[:100]!r}: ask for one of {', '.join(ARTIFACTS)}\n"
            )
        found = self._find(request)
        if found is None:
            raise _no_run(request)
        if file not in found.summary.files:
            raise web.HTTPNotFound(text=f"the run has no {file} (yet)\n")
        suffix = file[file.rindex(".") :]
        headers = {"Content-Type": f"{_TYPES[suffix]}; charset=utf-8", "Cache-Control": "no-cache"}
        if suffix == ".html":
            headers["Content-Security-Policy"] = REPORT_POLICY
        return web.FileResponse(found.path / file, headers=headers)

    def _find(self, request: web.Request) -> StoredRun | None:
        """Only names that Kubernetes allows lead anywhere: an escaped `../` is none."""
        names = request.match_info
        if not all(is_name(value) for key, value in names.items() if key != "file"):
            return None
        if "uid" in names:
            return self._store.by_uid(names["uid"])
        namespace, name = names["namespace"], names["name"]
        obj = self._services.cache.get("Scenario", namespace, name)
        return self._store.find(namespace, name, None if obj is None else obj["metadata"].get("uid"))

    def _now(self, run: StoredRun) -> RunSummary:
        summary = run.summary
        return as_of_now(run, self._services.cache.get("Scenario", summary.namespace, summary.name))


def is_name(text: str) -> bool:
    """Whether Kubernetes could have an object of this name, or this uid."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def _no_run(request: web.Request) -> web.HTTPNotFound:
    names = request.match_info
    what = f"no run {names['uid'][:100]!r}" if "uid" in names else f"no run of {names['name'][:100]!r}"
    return web.HTTPNotFound(text=f"there is {what} here (any more): /v1/runs lists those that are kept\n")


def _json(document: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")
