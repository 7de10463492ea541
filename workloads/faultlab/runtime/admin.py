"""The admin port: health, status, events and metrics of one member over HTTP, and what it can be told to do.

`/events` is a stream of server-sent events, resumable by the `Last-Event-ID` header or `?after=`. An id
beyond the newest event is from an earlier process (ids begin again at 1): the stream then starts over, as
it does when `?incarnation=` names another process than this.
"""

import asyncio
import contextlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from aiohttp import web

from faultlab.contract.member import KEY_HEADER

from .errors import ListenError
from .events import EventRing

EventT = TypeVar("EventT", bound=msgspec.Struct)

MAX_WATCHERS = 64
"""Open `/events` streams; one more is answered 503."""
_KEEP_ALIVE_S = 5.0
MAX_BODY_BYTES = 64 * 1024
_EVENTS_PER_WRITE = 500
_SHUTDOWN_S = 0.2

Action = Callable[[bytes], Awaitable[tuple[int, msgspec.Struct]]]
"""What a POST does: the body in, status and document out. Raises ValueError for a body that is none."""

_RequestHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Observed(Protocol[EventT]):
    """What a member shows on its admin port."""

    incarnation: str
    events: EventRing[EventT]
    actions: Mapping[str, Action]
    """By path."""
    proof: str | None
    """What a POST must carry in KEY_HEADER; None: nothing."""

    def status(self) -> msgspec.Struct:
        """The document of `/status`."""
        ...

    def not_ready(self) -> str | None:
        """Why this member is not ready; None when it is."""
        ...

    async def metrics(self) -> bytes:
        """The text of `/metrics`, in Prometheus' format."""
        ...


class AdminServer(Generic[EventT]):
    """Serves one `Observed`."""

    def __init__(self, observed: "Observed[EventT]") -> None:
        self._observed = observed
        self._watchers = 0
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listens; raises ListenError."""
        app = web.Application(middlewares=[_answer_in_json], client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/status", self._status)
        app.router.add_get("/events", self._events)
        app.router.add_get("/metrics", self._metrics)
        for path, action in self._observed.actions.items():
            app.router.add_post(path, self._acting(action))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise ListenError(f"cannot listen for the lab on {host}:{port}: {error.strerror}") from error

    async def stop(self) -> None:
        """Ends the streams and closes the port."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason = self._observed.not_ready()
        return web.Response(text="ok\n") if reason is None else web.Response(status=503, text=f"{reason}\n")

    async def _status(self, _request: web.Request) -> web.Response:
        return _json(self._observed.status())

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=await self._observed.metrics(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    def _acting(self, action: Action) -> _RequestHandler:
        async def act(request: web.Request) -> web.Response:
            proof = self._observed.proof
            given = request.headers.get(KEY_HEADER, "")
            if proof is not None and not hmac.compare_digest(
                proof.encode(), given.encode("utf-8", "surrogateescape")
            ):
                raise web.HTTPForbidden(
                    text=f"{KEY_HEADER} does not prove the cluster's peer key; it has to be the hex digits of"
                    " HMAC-SHA256(key, 'admin ' + cluster)"
                )
            try:
                status, document = await action(await request.read())
            except ValueError as error:
                raise web.HTTPBadRequest(text=str(error)) from error
            return _json(document, status)

        return act

    async def _events(self, request: web.Request) -> web.StreamResponse:
        after = self._resume_after(request)
        if self._watchers >= MAX_WATCHERS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_WATCHERS} streams are open; close one first")
        self._watchers += 1
        try:
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
            )
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                await self._stream(response, after)
            return response
        finally:
            self._watchers -= 1

    def _resume_after(self, request: web.Request) -> int:
        given = request.query.get("after") or request.headers.get("Last-Event-ID") or "0"
        if not (given.isascii() and given.isdigit() and len(given) < 20):
            raise web.HTTPBadRequest(text=f"after={given[:32]!r} is no event id; give the last id seen, or 0")
        after = int(given)
        incarnation = request.query.get("incarnation", self._observed.incarnation)
        if incarnation != self._observed.incarnation or after > self._observed.events.last_id:
            return 0
        return after

    async def _stream(self, response: web.StreamResponse, after: int) -> None:
        events = self._observed.events
        encode = msgspec.json.Encoder().encode
        stopping: asyncio.Future[Any] = asyncio.ensure_future(self._stopping.wait())
        try:
            with events.watch() as added:
                while not self._stopping.is_set():
                    added.clear()
                    batch = events.after(after, _EVENTS_PER_WRITE)
                    if batch:
                        after = batch[-1][0]
                        await response.write(
                            b"".join(
                                [b"id: %d\ndata: %b\n\n" % (number, encode(event)) for number, event in batch]
                            )
                        )
                        continue
                    await self._wait(added, stopping, response)
        finally:
            stopping.cancel()

    @staticmethod
    async def _wait(
        added: asyncio.Event, stopping: "asyncio.Future[Any]", response: web.StreamResponse
    ) -> None:
        waiting: asyncio.Future[Any] = asyncio.ensure_future(added.wait())
        try:
            done, _ = await asyncio.wait(
                [waiting, stopping], timeout=_KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()
        if not done:
            await response.write(b": still here\n\n")


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(document), content_type="application/json")


@web.middleware
async def _answer_in_json(request: web.Request, handler: _RequestHandler) -> web.StreamResponse:
    """Errors as JSON with a message, and no page of aiohttp's."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _json({"error": error.text or error.reason}, error.status)
