"""The pages socket: a narrow proxy to pods for browsers, without a token.

It listens on the machine's loopback only. Because any web page may make a browser call such an address, it
takes only requests whose Host (and Origin, if any) is a loopback name, and from other sites' pages only
links that are followed: DNS rebinding and forged requests end here. It reaches only
`/api/v1/namespaces/NS/{pods,services}/NAME:PORT/proxy/...`, with ports 8080 and 8089, on which pods have
pages, and only by GET, HEAD and POST. `/` lists the running pods that declare them.
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
METHODS = ("GET", "HEAD", "POST")
MAX_BODY_BYTES = 1024 * 1024
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")

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
    fetch = request.headers.get
    if (
        fetch("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        and fetch("Sec-Fetch-Dest") != "document"
    ):
        raise Forbidden("requests from other sites are refused")
    return await handler(request)


class _Pages:
    def __init__(self, registry: Registry, backend: NodeBackend) -> None:
        self._registry = registry
        self.proxy = Proxy(registry, backend)

    async def index(self, _: web.Request) -> web.Response:
        """The running pods with a port that is reached from here, as links: by port, then by name."""
        links = sorted(
            (
                str(port["containerPort"]),
                pod["metadata"]["namespace"],
                pod["metadata"]["name"],
                port.get("name", ""),
            )
            for pod in self._registry.list("pods")
            if (pod.get("status") or {}).get("phase") == "Running"
            for container in pod["spec"]["containers"]
            for port in container.get("ports") or ()
            if str(port["containerPort"]) in PORTS
        )
        items = "\n".join(_item(*link) for link in links)
        body = f"<ul>{items}</ul>" if items else f"<p>No pod with port {' or '.join(PORTS)} runs.</p>"
        style = "<style>:root{color-scheme:light dark} body{font:16px/1.6 system-ui;margin:2em}</style>"
        text = f"<!doctype html><title>Pages</title>{style}<h1>Pages of the embedded world</h1>{body}\n"
        return web.Response(text=text, content_type="text/html")

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """`pods/NAME:PORT/proxy/...` and `services/NAME:PORT/proxy/...`"""
        target = parse_target(self._registry.catalog, "", "v1", request.match_info["tail"])
        address = parse_address(target.name or "")
        if address.port not in PORTS:
            wanted = " or ".join(f"{address.name}:{port}" for port in PORTS)
            raise Forbidden(f"only these ports are reached from here: {wanted}")
        return await self.proxy.handle(request, target)


def _item(port: str, namespace: str, name: str, port_name: str) -> str:
    link = html.escape(f"/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/")
    said = f"port {port}, {port_name}" if port_name else f"port {port}"
    return f'<li><a href="{link}">{html.escape(f"{namespace}/{name}")}</a> ({html.escape(said)})'
