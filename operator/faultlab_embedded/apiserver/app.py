"""Puts the API server's HTTP face together."""

from __future__ import annotations

from aiohttp import web

from faultlab_embedded.apiserver.auth import authentication
from faultlab_embedded.apiserver.backend import NodeBackend
from faultlab_embedded.apiserver.discovery import Discovery
from faultlab_embedded.apiserver.formats import errors_as_status
from faultlab_embedded.apiserver.objects import Objects
from faultlab_embedded.apiserver.openapi import OpenApi
from faultlab_embedded.apiserver.pods import Pods
from faultlab_embedded.apiserver.proxy import Proxy
from faultlab_embedded.apiserver.reviews import reviews
from faultlab_embedded.apiserver.scale import Scales
from faultlab_embedded.apiserver.settings import Settings
from faultlab_embedded.apiserver.target import Target, parse_target
from faultlab_embedded.store.errors import MethodNotAllowed, NotFound, NotServed
from faultlab_embedded.store.registry import Registry

SHUTDOWN_TIMEOUT_S = 0.5
"""For `web.AppRunner(app, shutdown_timeout=...)`: open watches do not hold the server's end for longer."""


def build_app(registry: Registry, backend: NodeBackend, settings: Settings) -> web.Application:
    """The API server over a registry. Serve it with TLS and `SHUTDOWN_TIMEOUT_S`."""
    app = web.Application(
        middlewares=[errors_as_status, authentication(settings.tokens)],
        client_max_size=settings.max_body_bytes,
    )
    router = _Router(registry, backend, settings)
    app.add_routes(
        [web.get(path, _healthy) for path in ("/healthz", "/livez", "/readyz", "/readyz/ping", "/livez/ping")]
    )
    app.add_routes(Discovery(registry.catalog, settings.git_version).routes())
    app.add_routes(OpenApi(registry.catalog, settings.git_version).routes())
    app.add_routes(reviews(settings.tokens))
    app.add_routes(
        [
            web.route("*", "/api/v1/{tail:.+}", router.core),
            web.route("*", "/apis/{group}/{version}/{tail:.+}", router.named_group),
            web.route("*", "/{tail:.*}", _not_served),
        ]
    )
    app.cleanup_ctx.append(router.proxy.session)
    app.on_shutdown.append(router.objects.stop_watches)
    return app


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _not_served(_: web.Request) -> web.StreamResponse:
    raise NotServed


class _Router:
    """Sends each request on objects to who answers it."""

    def __init__(self, registry: Registry, backend: NodeBackend, settings: Settings) -> None:
        self._catalog = registry.catalog
        self.objects = Objects(registry, settings)
        self._scales = Scales(registry)
        self._pods = Pods(registry, backend)
        self.proxy = Proxy(registry, backend)

    async def core(self, request: web.Request) -> web.StreamResponse:
        return await self._dispatch(request, "", "v1")

    async def named_group(self, request: web.Request) -> web.StreamResponse:
        return await self._dispatch(request, request.match_info["group"], request.match_info["version"])

    async def _dispatch(self, request: web.Request, group: str, version: str) -> web.StreamResponse:
        target = parse_target(self._catalog, group, version, request.match_info["tail"])
        resource, subresource = target.resource, target.subresource
        if subresource in (None, "status") and (subresource is None or resource.has_status):
            return await self.objects.handle(request, target)
        if subresource == "scale" and resource.scale is not None:
            return await self._scales.handle(request, target)
        if subresource == "proxy" and "proxy" in resource.subresources:
            return await self.proxy.handle(request, target)
        if resource.key == "pods" and subresource in ("log", "eviction"):
            return await self._pods.handle(request, target)
        raise _unknown_subresource(target)


def _unknown_subresource(target: Target) -> NotFound | MethodNotAllowed:
    name = f"{target.resource.plural}/{target.subresource}"
    if target.resource.key == "pods" and target.subresource in ("exec", "attach", "portforward"):
        return MethodNotAllowed(
            f"{name} is not served by the embedded world: read `kubectl logs`, or reach a port through "
            f"{target.resource.plural}/proxy"
        )
    return NotFound.path()
