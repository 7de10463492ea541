"""Who is asking: bearer tokens. RBAC objects are stored and not enforced; any valid token may do anything."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from faultlab_embedded.store.errors import Unauthorized

PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")
"""Served without a token, as kube-apiserver does by default (`system:public-info-viewer`)."""

USER = web.RequestKey("user", str)


def user_of(header: str, tokens: Mapping[str, str]) -> str:
    """The user behind an Authorization header; Unauthorized where there is none.

    The scheme is compared without case (in-cluster clients send `bearer`); every token is compared, each in
    constant time, so that the answer's time tells nothing.
    """
    scheme, _, token = header.strip().partition(" ")
    found = None
    for known, user in tokens.items():
        if hmac.compare_digest(known.encode(), token.strip().encode()):
            found = user
    if scheme.lower() != "bearer" or found is None:
        raise Unauthorized
    return found


def authentication(tokens: Mapping[str, str]) -> Middleware:
    """A middleware that lets in who has one of `tokens` and remembers the user under `USER`."""

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.rstrip("/").startswith(PUBLIC_PATHS):
            request[USER] = user_of(request.headers.get("Authorization", ""), tokens)
        return await handler(request)

    return authenticate
