"""The pages socket: a narrow proxy to pods for browsers, without a token.

It listens on the machine's loopback only. Because any web page may make a browser call such an address, it
takes only requests whose Host (and Origin, if any) is a loopback name: DNS rebinding and forged posts end
here. It reaches only `/api/v1/namespaces/NS/{pods,services}/NAME:PORT/proxy/...`, with ports 8080 (the
operator's pages) and 8089 (Locust's), and only by GET, HEAD and POST. `/` lists the load pods that run.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from faultlab_embedded.apiserver.backend import NodeBackend
from faultlab_embedded.apiserver.formats import errors_as_status
from faultlab_embedded.apiserver.proxy import Proxy, parse_address
from faultlab_embedded.apiserver.target import parse_target
from faultlab_embedded.store.errors import Forbidden
from faultlab_embedded.store.registry import Registry

PORTS = ("8080", "8089")
LOAD_PORT = "8089"
METHODS = ("GET", "HEAD", "POST")
MAX_BODY_BYTES = 1024 * 1024
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
_LOAD_LABELS = "app.kubernetes.io/component=load"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_pages(registry: Registry, backend: NodeBackend) -> web.Application:
    """The application; see the module's docstring for what it lets through."""
    pages = _Pages(registry, backend)
    app = web.Application(middlewares=[errors_as_status, only_local], client_max_size=MAX_BODY_BYTES)
    app.router.add_get("/", pages.index)
    path = "/api/v1/{tail:namespaces/[^/]+/(?:pods|services)/[^/]+/proxy(?:/.*)?}"
    for method in METHODS:
        app.router.add_route(method, path, pages.forward)
    app.cleanup_ctx.append(pages.proxy.session)
    return app


def is_loopback(authority: str) -> bool:
    """Whether a Host header names this machine's loopback."""
    try:
        return urlsplit(f"//{authority}").hostname in _LOOPBACK_NAMES
    except ValueError:
        return False


@web.middleware
async def only_local(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses (403) what another site made a browser send."""
    origin = request.headers.get("Origin")
    if not is_loopback(request.headers.get("Host", "")):
        raise Forbidden("the Host header must be localhost or 127.0.0.1")
    if origin is not None and not is_loopback(origin.partition("://")[2]):
        raise Forbidden("requests from other sites are refused")
    return await handler(request)


class _Pages:
    def __init__(self, registry: Registry, backend: NodeBackend) -> None:
        self._registry = registry
        self.proxy = Proxy(registry, backend)

    async def index(self, _: web.Request) -> web.Response:
        """The load pods that run, as links."""
        items = []
        for pod in self._registry.list("pods", labels=_LOAD_LABELS):
            meta = pod["metadata"]
            if (pod.get("status") or {}).get("phase") == "Running":
                link = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}:{LOAD_PORT}/proxy/"
                text = html.escape(f"{meta['namespace']}/{meta['name']}")
                items.append(f'<li><a href="{html.escape(link)}">{text}</a>: the load generator')
        body = "<ul>" + "\n".join(items) + "</ul>" if items else "<p>No load runs.</p>"
        text = f"<!doctype html><title>Faultlab</title><h1>Pages of the embedded world</h1>{body}\n"
        return web.Response(text=text, content_type="text/html")

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """`pods/NAME:PORT/proxy/...` and `services/NAME:PORT/proxy/...`"""
        target = parse_target(self._registry.catalog, "", "v1", request.match_info["tail"])
        address = parse_address(target.name or "")
        if address.port not in PORTS:
            wanted = " or ".join(f"{address.name}:{port}" for port in PORTS)
            raise Forbidden(f"only these ports are reached from here: {wanted}")
        return await self.proxy.handle(request, target)
