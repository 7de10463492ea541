"""The pages socket: a narrow proxy to pods for browsers, without a token.

It listens on the machine's loopback only. Because any web page may make a browser call such an address, it takes
only requests whose Host (and Origin, if any) is a loopback name: DNS rebinding and forged posts end here. It
reaches only `/api/v1/namespaces/NS/{pods,services}/NAME:PORT/proxy/...`, with ports 8080 (the operator's pages)
and 8089 (Locust's), and only by GET, HEAD and POST. `/` lists the load pods that run.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from faultlab_embedded.apiserver.backend import NodeBackend
from faultlab_embedded.store.errors import ApiError
from faultlab_embedded.store.registry import Registry

PORTS = (8080, 8089)
LOAD_PORT = 8089
METHODS = ("GET", "HEAD", "POST")
MAX_BODY_BYTES = 1024 * 1024
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
_HOP_HEADERS = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
        "authorization",
        "cookie",
    ]
)
_LOAD_LABELS = "app.kubernetes.io/component=load"

Object = Mapping[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_pages(registry: Registry, backend: NodeBackend, http: aiohttp.ClientSession) -> web.Application:
    """The application; see the module's docstring for what it lets through."""
    pages = _Pages(registry, backend, http)
    app = web.Application(middlewares=[_only_local], client_max_size=MAX_BODY_BYTES)
    app.router.add_get("/", pages.index)
    for kind in ("pods", "services"):
        prefix = f"/api/v1/namespaces/{{namespace}}/{kind}/{{target}}/proxy"
        for method in METHODS:
            app.router.add_route(method, f"{prefix}{{path:(?:/.*)?}}", getattr(pages, f"to_{kind}"))
    return app


def is_loopback(authority: str) -> bool:
    """Whether a Host header names this machine's loopback."""
    return urlsplit(f"//{authority}").hostname in _LOOPBACK_NAMES


@web.middleware
async def _only_local(request: web.Request, handler: Handler) -> web.StreamResponse:
    origin = request.headers.get("Origin")
    if not is_loopback(request.headers.get("Host", "")):
        raise web.HTTPForbidden(text="the Host header must be localhost or 127.0.0.1\n")
    if origin is not None and urlsplit(origin).hostname not in _LOOPBACK_NAMES:
        raise web.HTTPForbidden(text="requests from other sites are refused\n")
    return await handler(request)


class _Pages:
    def __init__(self, registry: Registry, backend: NodeBackend, http: aiohttp.ClientSession) -> None:
        self._registry = registry
        self._backend = backend
        self._http = http

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

    async def to_pods(self, request: web.Request) -> web.StreamResponse:
        """`pods/NAME:PORT/proxy/...`"""
        return await self._forward(request, self._pod_address)

    async def to_services(self, request: web.Request) -> web.StreamResponse:
        """`services/NAME:PORT/proxy/...`: the first ready pod of the Service."""
        return await self._forward(request, self._service_address)

    def _pod_address(self, namespace: str, name: str) -> str:
        return self._backend.address(namespace, name)

    def _service_address(self, namespace: str, name: str) -> str:
        endpoints = self._registry.get("endpoints", namespace, name)
        for subset in endpoints.get("subsets") or ():
            for address in subset.get("addresses") or ():
                return str(address["ip"])
        raise web.HTTPServiceUnavailable(text=f"service {name!r} has no ready pod\n")

    async def _forward(self, request: web.Request, find: Callable[[str, str], str]) -> web.StreamResponse:
        name, _, port = request.match_info["target"].partition(":")
        if not port.isdigit() or int(port) not in PORTS:
            wanted = " or ".join(f"{name}:{number}" for number in PORTS)
            raise web.HTTPForbidden(text=f"only these ports are reached from here: {wanted}\n")
        try:
            address = find(request.match_info["namespace"], name)
        except ApiError as error:
            return web.Response(status=error.code, text=f"{error}\n")
        path = request.match_info["path"] or "/"
        url = f"http://{address}:{port}{path}"
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_HEADERS}
        headers["X-Forwarded-Uri"] = request.path
        headers["X-Forwarded-Host"] = request.host
        headers["X-Forwarded-Proto"] = "http"
        body = await request.read() if request.method == "POST" else None
        try:
            async with self._http.request(
                request.method,
                url,
                params=request.query,
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=5),
                auto_decompress=False,
            ) as answer:
                return await _copy_back(request, answer)
        except (aiohttp.ClientError, OSError) as error:
            return web.Response(status=502, text=f"{name}:{port} does not answer: {error}\n")


async def _copy_back(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for key, value in answer.headers.items():
        if key.lower() not in _HOP_HEADERS:
            response.headers.add(key, value)
    location = answer.headers.get("Location", "")
    if location.startswith("/"):
        prefix = request.path[: request.path.index("/proxy") + len("/proxy")]
        response.headers["Location"] = prefix + location
    if answer.content_length is not None:
        response.content_length = answer.content_length
    await response.prepare(request)
    async for piece in answer.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response
