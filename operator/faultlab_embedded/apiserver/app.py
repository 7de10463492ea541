"""Puts the API server's HTTP face together."""

from __future__ import annotations

from aiohttp import web

from faultlab_embedded.apiserver.backend import NodeBackend
from faultlab_embedded.apiserver.settings import Settings
from faultlab_embedded.store.registry import Registry

SHUTDOWN_TIMEOUT_S = 0.5
"""For `web.AppRunner(app, shutdown_timeout=...)`: open watches do not hold the server's end for longer."""


def build_app(registry: Registry, backend: NodeBackend, settings: Settings) -> web.Application:
    """The API server over a registry. Serve it with TLS and `SHUTDOWN_TIMEOUT_S`."""
    del registry, backend
    return web.Application(client_max_size=settings.max_body_bytes)
