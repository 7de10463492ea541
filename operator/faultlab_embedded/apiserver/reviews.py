"""Reviews: answered on the spot and never stored."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from aiohttp import web

from faultlab_embedded.apiserver.auth import USER
from faultlab_embedded.apiserver.formats import Object, read_body, reply_object


def reviews(tokens: Mapping[str, str]) -> list[web.AbstractRouteDef]:
    """Handlers of SelfSubjectAccessReview (everybody may do everything) and TokenReview."""

    async def access(request: web.Request) -> web.Response:
        body = await read_body(request, expected="SelfSubjectAccessReview")
        reason = "any valid token may do anything in the embedded world"
        return reply_object({**body, "status": {"allowed": True, "reason": reason}}, status=201)

    async def token(request: web.Request) -> web.Response:
        body = await read_body(request, expected="TokenReview")
        spec = body.get("spec") or {}
        asked = str(spec.get("token", "")).encode()
        user = next(
            (name for known, name in tokens.items() if hmac.compare_digest(known.encode(), asked)), None
        )
        status: Object = {"authenticated": user is not None}
        if user is not None:
            status["user"] = {"username": user, "groups": ["system:authenticated"]}
        return reply_object({**body, "status": status}, status=201)

    async def who(request: web.Request) -> web.Response:
        body = await read_body(request, expected="SelfSubjectReview")
        return reply_object({**body, "status": {"userInfo": {"username": request[USER]}}}, status=201)

    return [
        web.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", access),
        web.post("/apis/authentication.k8s.io/v1/tokenreviews", token),
        web.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", who),
    ]
