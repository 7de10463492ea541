"""The operator's HTTP servers: the lab's pages on one port, the loads' own pages on another.

Pages (`http_port`), all read-only:

- `/`: what runs and what ran, for people (`index`).
- `/healthz`: the process runs. `/readyz`: it leads and has filled its caches; else 503 with the reason.
- `/v1/...`: live views, runs and their artifacts (`artifacts`).

Loads (`locust_port`): `locust`. What browsers may do on either: `guard`.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from faultlab_operator.core import Services
from faultlab_operator.http.artifacts import Artifacts
from faultlab_operator.http.guard import add_headers, guarded
from faultlab_operator.http.index import Index
from faultlab_operator.http.live import LiveViews
from faultlab_operator.http.locust import LocustProxy
from faultlab_operator.scenario.store import RunStore

SHUTDOWN_S = 1.0
Ready = Callable[[], str | None]
"""Why the operator does not serve resources; None when it does."""


class Pages:
    """The running servers."""

    def __init__(self, runners: list[web.AppRunner], ports: list[int]) -> None:
        self._runners = runners
        self.port, self.locust_port = ports

    async def close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()


async def start(services: Services, store: RunStore, ready: Ready) -> Pages:
    """Serves on all addresses; port 0 takes any. Raises OSError if a port is taken."""
    settings = services.settings
    apps = [build_pages(services, store, ready), build_locust(services)]
    runners: list[web.AppRunner] = []
    ports: list[int] = []
    try:
        for app, port in zip(apps, (settings.http_port, settings.locust_port), strict=True):
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
            runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, port=port, reuse_address=True).start()
            bound = [int(address[1]) for address in runner.addresses if len(address) == 2]  # IPv4
            ports.append(bound[0] if bound else port)
    except OSError:
        for runner in runners:
            await runner.cleanup()
        raise
    return Pages(runners, ports)


def build_pages(services: Services, store: RunStore, ready: Ready) -> web.Application:
    app = _application(services)
    live = LiveViews(services, store)
    artifacts = Artifacts(services, store, live)
    app.add_routes(
        [
            web.get("/", Index(services, store, live).page),
            web.get("/healthz", _health),
            web.get("/readyz", _readiness(ready)),
            *artifacts.routes(),
        ]
    )
    return app


def build_locust(services: Services) -> web.Application:
    app = _application(services)
    proxy = LocustProxy(services)
    app.add_routes(proxy.routes())
    app.cleanup_ctx.append(proxy.session)
    return app


def _application(services: Services) -> web.Application:
    settings = services.settings
    app = web.Application(middlewares=[guarded((settings.pages_url, settings.locust_url))])
    app.on_response_prepare.append(add_headers)
    return app


async def _health(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _readiness(ready: Ready) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def readiness(_request: web.Request) -> web.Response:
        missing = ready()
        if missing is not None:
            return web.Response(status=503, text=f"{missing}\n")
        return web.Response(text="ok\n")

    return readiness
