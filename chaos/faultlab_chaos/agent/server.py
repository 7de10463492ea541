"""The agent's HTTP face: the wire types of `faultlab_chaos.contract.wire`, a key, and nothing else.

Namespaces are entered in worker threads, never on the event loop; injections and probes do not wait for each
other.
"""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from faultlab_chaos.agent import capabilities
from faultlab_chaos.agent.containers import ContainerFinder
from faultlab_chaos.agent.injections import InjectionKeeper
from faultlab_chaos.agent.limits import MAX_BODY_BYTES
from faultlab_chaos.agent.probes import Probes
from faultlab_chaos.contract.wire import (
    Capabilities,
    CollectProbes,
    OpenProbes,
    Problem,
    SendProbes,
    WantedInjections,
)
from faultlab_chaos.errors import RequestRefused, RequestTooLate

_log = logging.getLogger(__name__)
_SWEEP_PERIOD_S: Final = 1.0
_UNGUARDED: Final = frozenset({"/healthz"})

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Agent:
    """One node's agent. `key` is compared in constant time.

    `heals_at_end` is asked once, when the last request was served: whether what stands is to be undone.
    """

    def __init__(
        self, finder: ContainerFinder, key: bytes, version: str, heals_at_end: Callable[[], Awaitable[bool]]
    ) -> None:
        self._key = key
        self._version = version
        self._heals_at_end = heals_at_end
        self._keeper = InjectionKeeper(finder)
        self._injection_thread = ThreadPoolExecutor(1, "injections")
        self._probe_thread = ThreadPoolExecutor(1, "probes")
        self._probes = Probes(finder, self._probe_thread)
        self._capabilities: Capabilities | None = None

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_put("/v1/injections", self._put_injections)
        app.router.add_get("/v1/injections", self._get_injections)
        app.router.add_post("/v1/probes/open", self._open_probes)
        app.router.add_post("/v1/probes/send", self._send_probes)
        app.router.add_post("/v1/probes/collect", self._collect_probes)
        app.router.add_get("/v1/capabilities", self._get_capabilities)
        app.cleanup_ctx.append(self._life)
        return app

    async def _life(self, _app: web.Application) -> AsyncIterator[None]:
        """Adopts what stands before the first request is served; heals (or leaves) after the last."""
        adopted = await self._inject(self._keeper.adopt)
        if adopted:
            _log.info(
                "%d injections of an earlier agent stand until their lease or their owner ends them",
                adopted,
            )
        sweeper = asyncio.create_task(self._sweep())
        yield
        sweeper.cancel()
        with suppress(asyncio.CancelledError):
            await sweeper
        self._probes.close()
        if await self._heals_at_end():
            await self._inject(self._keeper.heal_all)
        else:
            await self._inject(self._keeper.sweep)
        await self._inject(self._keeper.close)
        self._injection_thread.shutdown()
        self._probe_thread.shutdown()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_PERIOD_S)
            try:
                await self._inject(self._keeper.sweep)
            except Exception:
                _log.exception("sweep failed; the next one is in %.0f s", _SWEEP_PERIOD_S)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The key first, then the handler; whatever goes wrong is answered with a `Problem`."""
        if request.path not in _UNGUARDED and not self._authorized(request):
            return _problem(401, "wrong or missing key: send `Authorization: Bearer KEY`")
        try:
            return await handler(request)
        except (msgspec.DecodeError, RequestRefused) as error:
            return _problem(400, str(error))
        except RequestTooLate as error:
            return _problem(409, str(error))
        except UnicodeDecodeError:
            return _problem(400, "the body is not UTF-8: send JSON")
        except web.HTTPRequestEntityTooLarge:
            return _problem(413, f"the body is longer than {MAX_BODY_BYTES} bytes: send fewer at once")
        except web.HTTPException as error:
            return _problem(error.status, f"{request.method} {request.path}: {error.reason}")
        except Exception as error:
            _log.exception("%s %s", request.method, request.path)
            return _problem(500, f"{type(error).__name__}: {error}")

    def _authorized(self, request: web.Request) -> bool:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        given = key.strip().encode(errors="surrogateescape")
        return hmac.compare_digest(given, self._key) and scheme.lower() == "bearer"

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _put_injections(self, request: web.Request) -> web.Response:
        wanted = await _body(request, WantedInjections)
        return _answer(await self._inject(lambda: self._keeper.put(wanted)))

    async def _get_injections(self, _request: web.Request) -> web.Response:
        return _answer(await self._inject(self._keeper.read))

    async def _open_probes(self, request: web.Request) -> web.Response:
        return _answer(await self._probes.open(await _body(request, OpenProbes)))

    async def _send_probes(self, request: web.Request) -> web.Response:
        return _answer(await self._probes.send(await _body(request, SendProbes)))

    async def _collect_probes(self, request: web.Request) -> web.Response:
        return _answer(await self._probes.collect(await _body(request, CollectProbes)))

    async def _get_capabilities(self, _request: web.Request) -> web.Response:
        if self._capabilities is None:
            self._capabilities = await asyncio.to_thread(capabilities.look, self._version)
        return _answer(self._capabilities)

    async def _inject(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._injection_thread, work)


async def _body(request: web.Request, kind: type[T]) -> T:
    return msgspec.json.decode(await request.read(), type=kind)


def _answer(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _problem(status: int, message: str) -> web.Response:
    body = msgspec.json.encode(Problem(error=message))
    return web.Response(status=status, body=body, content_type="application/json")
