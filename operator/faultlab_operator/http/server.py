"""Routes of the operator's HTTP server. Everything is read-only.

- `/healthz`
- `/v1/namespaces/NS/scenarios/NAME/live?after=N`: a LiveView.
- `/v1/namespaces/NS/scenarios/NAME/artifacts`: the names of the files that are there.
- `/v1/namespaces/NS/scenarios/NAME/artifacts/FILE`: one of them, streamed.
"""

import logging
import re
from pathlib import Path

import msgspec
from aiohttp import web

from faultlab_operator.core import Services
from faultlab_operator.http.live import LiveViews
from faultlab_operator.scenario.record import ARTIFACTS
from faultlab_operator.scenario.store import RunStore

log = logging.getLogger(__name__)

SHUTDOWN_S = 1.0
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_TYPES = {".json": "application/json", ".ndjson": "application/x-ndjson", ".html": "text/html"}


class Pages:
    """The running server."""

    def __init__(self, runner: web.AppRunner, port: int) -> None:
        self._runner = runner
        self.port = port

    async def close(self) -> None:
        await self._runner.cleanup()


async def start(services: Services, port: int) -> Pages:
    """Serves on all addresses; port 0 takes any (`Pages.port` says which). Raises OSError if it is taken."""
    runner = web.AppRunner(build_app(services), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, port=port, reuse_address=True)
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    ports = [int(address[1]) for address in runner.addresses if len(address) == 2]  # IPv4
    return Pages(runner, ports[0] if ports else port)


def build_app(services: Services) -> web.Application:
    handlers = _Handlers(services)
    scenario = "/v1/namespaces/{namespace}/scenarios/{name}"
    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", handlers.health),
            web.get(scenario + "/live", handlers.live),
            web.get(scenario + "/artifacts", handlers.artifacts),
            web.get(scenario + "/artifacts/{file}", handlers.artifact),
        ]
    )
    return app


class _Handlers:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = RunStore(services.settings.data_dir)
        self._live = LiveViews(services, self._store)

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def live(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        try:
            after = int(request.query.get("after", "0"))
        except ValueError as error:
            raise web.HTTPBadRequest(text="after is the id of an event: write a number\n") from error
        view = self._live.view(namespace, name, after)
        if view is None:
            raise web.HTTPNotFound(text=f"there is no scenario {name} in namespace {namespace}\n")
        return web.Response(body=msgspec.json.encode(view), content_type="application/json")

    async def artifacts(self, request: web.Request) -> web.Response:
        directory = self._directory(request)
        names = [name for name in ARTIFACTS if directory is not None and (directory / name).is_file()]
        return web.json_response({"artifacts": names})

    async def artifact(self, request: web.Request) -> web.StreamResponse:
        """Only the four names are served, so no path can lead elsewhere."""
        file, directory = request.match_info["file"], self._directory(request)
        if file not in ARTIFACTS:
            raise web.HTTPNotFound(
                text=f"there is no artifact {file}: ask for one of {', '.join(ARTIFACTS)}\n"
            )
        if directory is None or not (directory / file).is_file():
            raise web.HTTPNotFound(text=f"the run has no {file} (yet)\n")
        suffix = file[file.rindex(".") :]
        return web.FileResponse(directory / file, headers={"Content-Type": _TYPES[suffix]})

    def _directory(self, request: web.Request) -> Path | None:
        """Only names that Kubernetes allows lead anywhere: an escaped `../` is none."""
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        if not (_NAME.fullmatch(namespace) and _NAME.fullmatch(name)):
            return None
        obj = self._services.cache.get("Scenario", namespace, name)
        return self._store.find(namespace, name, None if obj is None else obj["metadata"].get("uid"))
