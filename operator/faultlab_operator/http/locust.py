"""Locust's own pages, by way of the operator: `/NAMESPACE/POD/...` goes to that load pod's port.

Only pods that the operator knows as load pods of a LoadTest are reached, at the address that their status
gives. `/` leads to the only load that runs, or lists those that do. Locust's page asks by relative
addresses, so it works under any prefix; redirects are made relative for the same reason.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from html import escape
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from faultlab.contract.ports import LOCUST_PORT
from faultlab_operator.core import Services
from faultlab_operator.handlers.ownership import controller_uid, is_going
from faultlab_operator.http.guard import own_page_only
from faultlab_operator.http.shell import html_page
from faultlab_operator.render.loadtest import COMPONENT

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request; Locust's own are some hundred."""
MAX_CONNECTIONS: Final = 64
CONNECT_S: Final = 3.0
SILENCE_S: Final = 30.0
"""Without a byte from the pod for this long, the answer is given up."""
BODY_S: Final = 10.0
"""How long a request's body may take to come in."""

_HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_NOT_SENT: Final = _HOP_BY_HOP | {"host", "authorization", "cookie", "content-length", "expect"}
"""Cookies of a localhost are those of everything on it: they are none of the pod's business."""
_NOT_RETURNED: Final = _HOP_BY_HOP | {"set-cookie", "set-cookie2"}
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
_FRAMES: Final = "frame-ancestors 'none'"


class LocustProxy:
    """The handlers; `session` is the client's lifetime, for `cleanup_ctx`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._client: aiohttp.ClientSession | None = None

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.index),
            web.get("/{namespace}/{pod}", self.enter),
            web.get("/{namespace}/{pod}/{rest:.*}", self.forward),
            web.post("/{namespace}/{pod}/{rest:.*}", self.forward),
        ]

    async def session(self, _app: web.Application) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
            timeout=timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as self._client:
            yield

    async def index(self, _request: web.Request) -> web.Response:
        running = [pod["metadata"] for pod in self._load_pods() if _address(pod)]
        if len(running) == 1:
            return _redirect(f"{running[0]['namespace']}/{running[0]['name']}/")
        return html_page("Loads", _list(running, self._services.settings.pages_url))

    async def enter(self, request: web.Request) -> web.Response:
        """Relative links in the page need the slash at the end."""
        return _redirect(f"{self._pod(request)['metadata']['name']}/")

    async def forward(self, request: web.Request) -> web.StreamResponse:
        assert self._client is not None  # while the application runs
        pod = self._pod(request)
        rest = request.rel_url.raw_path.split("/", 3)[3]
        if rest:
            own_page_only(request)
        name, address = pod["metadata"]["name"], _address(pod)
        if address is None:
            raise web.HTTPBadGateway(text=f"load pod {name} is not running (any more)\n")
        query = request.rel_url.raw_query_string
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{LOCUST_PORT}/{rest}" + (f"?{query}" if query else "")
        body = await _body(request)
        try:
            answer = await self._client.request(
                request.method,
                URL(url, encoded=True),
                headers=_forwarded(request),
                data=body,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise web.HTTPBadGateway(
                text=f"load pod {name} does not answer ({error or type(error).__name__}); it may be gone\n"
            ) from error
        async with answer:
            return await _stream(request, answer, rest)

    def _load_pods(self) -> list[Mapping[str, Any]]:
        cache = self._services.cache
        uids = {load["metadata"].get("uid") for load in cache.list("LoadTest")}
        pods = cache.list("Pod", labels={COMPONENT_LABEL: COMPONENT})
        return [pod for pod in pods if controller_uid(pod) in uids]

    def _pod(self, request: web.Request) -> Mapping[str, Any]:
        """Raises HTTPNotFound for everything that is not a load pod; an escaped name is none."""
        namespace, name = request.rel_url.raw_path.split("/", 3)[1:3]
        for pod in self._load_pods():
            if (pod["metadata"]["namespace"], pod["metadata"]["name"]) == (namespace, name):
                return pod
        raise web.HTTPNotFound(
            text=f"there is no load pod {name[:100]!r} in namespace {namespace[:100]!r} (any more): "
            "a load's pod goes with its LoadTest\n"
        )


def _address(pod: Mapping[str, Any]) -> str | None:
    """Where a pod that runs can be reached."""
    status = pod.get("status") or {}
    address = status.get("podIP")
    return str(address) if address and status.get("phase") == "Running" and not is_going(pod) else None


async def _body(request: web.Request) -> bytes | None:
    """Whole, since it is small. Raises HTTPRequestEntityTooLarge beyond MAX_BODY."""
    if not request.body_exists:
        return None
    taken = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.content.iter_any():
                taken += chunk
                if len(taken) > MAX_BODY:
                    raise web.HTTPRequestEntityTooLarge(MAX_BODY, len(taken))
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the request did not come in within {BODY_S:.0f} s\n") from error
    return bytes(taken)


def _forwarded(request: web.Request) -> list[tuple[str, str]]:
    named = {each.strip().lower() for each in request.headers.get("Connection", "").split(",")}
    return [
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in _NOT_SENT and name.lower() not in named
    ]


async def _stream(request: web.Request, answer: aiohttp.ClientResponse, rest: str) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for name, value in answer.headers.items():
        if name.lower() not in _NOT_RETURNED:
            response.headers.add(name, _relative(value, rest) if name.lower() == "location" else value)
    response.headers.add("Content-Security-Policy", _FRAMES)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, TimeoutError, OSError):
        # Half an answer is out: only a broken connection can still say that it is not whole.
        if request.transport is not None:
            request.transport.abort()
    return response


def _relative(location: str, rest: str) -> str:
    """A redirect within the pod, as seen from the path under the prefix; others stay."""
    parts = urlsplit(location)
    if parts.scheme or parts.netloc or not parts.path.startswith("/"):
        return location
    path = re.sub(r"^/+", "", location)
    return "../" * rest.partition("?")[0].count("/") + (path or "./")


def _redirect(location: str) -> web.Response:
    return web.Response(status=302, headers={"Location": location})


def _list(running: list[Mapping[str, Any]], pages_url: str) -> str:
    items = "".join(
        f'<li><a href="{escape(each["namespace"])}/{escape(each["name"])}/">'
        f"{escape(each['namespace'])}/{escape(each['name'])}</a></li>"
        for each in running
    )
    home = f'<nav><a href="{escape(pages_url)}/">the lab&rsquo;s page</a></nav>' if pages_url else ""
    shown = (
        f"<p>Each has Locust&rsquo;s own page:</p><ul>{items}</ul>"
        if running
        else "<p>No load runs now. A scenario starts one, and so does a LoadTest:</p>"
        "<pre>kubectl apply -f chaos/scenarios/raft-leader-partition.yaml</pre>"
    )
    return f'<div class="top"><h1>Loads</h1>{home}</div><section data-live>{shown}</section>'
