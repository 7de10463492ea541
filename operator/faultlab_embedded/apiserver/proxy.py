"""pods/proxy and services/proxy: HTTP to a pod, dialled from where the pods' network is.

Bodies stream in both directions; what the pod answers goes on unchanged (kube-apiserver rewrites links in
HTML, this one does not: pages behind it use relative links).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from faultlab_embedded.apiserver.backend import NodeBackend
from faultlab_embedded.apiserver.streams import pump
from faultlab_embedded.apiserver.target import Target
from faultlab_embedded.store.errors import BadRequest, MethodNotAllowed, ServiceUnavailable
from faultlab_embedded.store.registry import Registry

CONNECT_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 256
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_NOT_FORWARDED = _HOP_BY_HOP | {"host", "authorization", "content-length"}


@dataclass(frozen=True, slots=True)
class Address:
    """What `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT` in a proxy's path means."""

    scheme: str
    name: str
    port: str


def parse_address(text: str) -> Address:
    """Raises BadRequest for more than three parts or an unknown scheme."""
    parts = text.split(":")
    if len(parts) == 1:
        return Address("http", parts[0], "")
    if len(parts) == 2:
        return Address("http", parts[0], parts[1])
    if len(parts) == 3 and parts[0] in ("http", ""):
        return Address("http", parts[1], parts[2])
    raise BadRequest(f"invalid proxy target {text!r}: expected NAME, NAME:PORT or http:NAME:PORT")


class Proxy:
    """Handlers of pods/proxy and services/proxy."""

    def __init__(self, registry: Registry, backend: NodeBackend) -> None:
        self._registry = registry
        self._backend = backend
        self._client: aiohttp.ClientSession | None = None

    async def session(self, _: web.Application) -> AsyncIterator[None]:
        """The client's lifetime, for `cleanup_ctx`."""
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as self._client:
            yield

    async def handle(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Forward one request and stream the answer back."""
        if request.headers.get("Upgrade"):
            raise MethodNotAllowed("this proxy does not upgrade connections (no WebSocket)")
        address = parse_address(target.name or "")
        if target.resource.key == "pods":
            base = self._pod(target.namespace or "default", address)
        else:
            base = self._service(target.namespace or "default", address)
        if not target.rest:
            # So that relative links in a page resolve below it.
            raise web.HTTPMovedPermanently(f"{request.rel_url.raw_path.rstrip('/')}/{_query(request)}")
        return await self._forward(request, target, base)

    def _pod(self, namespace: str, address: Address) -> str:
        pod = self._registry.get("pods", namespace, address.name)
        port = address.port
        ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or ()]
        if not port:
            port = str(ports[0]["containerPort"]) if ports else "80"
        elif not port.isdigit():
            named = [entry["containerPort"] for entry in ports if entry.get("name") == port]
            if not named:
                raise BadRequest(f"pod {address.name} has no port named {port!r}")
            port = str(named[0])
        return f"http://{self._backend.address(namespace, address.name)}:{port}"

    def _service(self, namespace: str, address: Address) -> str:
        service = self._registry.get("services", namespace, address.name)
        ports = service["spec"].get("ports") or []
        wanted = [
            entry
            for entry in ports
            if not address.port or address.port in (entry.get("name"), str(entry["port"]))
        ]
        if not wanted:
            raise ServiceUnavailable(
                f'no endpoints available for service "{address.name}": it has no such port'
            )
        name = wanted[0].get("name", "")
        endpoints = self._registry.find("endpoints", namespace, address.name)
        for subset in (endpoints.decode().get("subsets") or []) if endpoints else ():
            for port in subset.get("ports") or ():
                for ready in subset.get("addresses") or ():
                    about = ready.get("targetRef") or {}
                    if port.get("name", "") == name and about.get("kind") == "Pod":
                        return f"http://{self._backend.address(namespace, about['name'])}:{port['port']}"
        raise ServiceUnavailable(f'no endpoints available for service "{address.name}"')

    async def _forward(self, request: web.Request, target: Target, base: str) -> web.StreamResponse:
        assert self._client is not None  # set while the application runs
        headers = CIMultiDict(
            (key, value) for key, value in request.headers.items() if key.lower() not in _NOT_FORWARDED
        )
        headers["X-Forwarded-Uri"] = request.rel_url.raw_path
        headers["X-Forwarded-Host"] = request.host
        headers["X-Forwarded-Proto"] = request.scheme
        if request.remote:
            headers["X-Forwarded-For"] = request.remote
        # The path as it came, with its escapes.
        marker = "/proxy"
        raw = request.rel_url.raw_path
        rest = raw[raw.index(marker, raw.index(f"/{target.resource.plural}/")) + len(marker) :]
        url = base + rest + _query(request)
        body = request.content if request.body_exists else None
        try:
            answer = await self._client.request(
                request.method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServiceUnavailable(
                f"error trying to reach service: {error or type(error).__name__}"
            ) from error
        async with answer:
            return await _stream(request, answer)


def _query(request: web.Request) -> str:
    """The query as it came, with its escapes and its question mark."""
    raw = request.rel_url.raw_query_string
    return f"?{raw}" if raw else ""


async def _stream(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for key, value in answer.headers.items():
        if key.lower() not in _HOP_BY_HOP:
            response.headers.add(key, value)
    await response.prepare(request)
    # Whoever ends first ends the other: the reader by going, the pod by closing or failing midway.
    with contextlib.suppress(aiohttp.ClientError):
        await pump(request, response, aiter(answer.content.iter_any()))
    return response
