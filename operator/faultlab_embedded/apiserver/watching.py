"""Watch: a stream of events, one JSON document a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from aiohttp import web

from faultlab_embedded.apiserver.formats import JSON, Object, add_warnings
from faultlab_embedded.apiserver.streams import LIVENESS_CHECK_S, has_left, send
from faultlab_embedded.apiserver.target import Target, flag, selection_of, version_number
from faultlab_embedded.store.errors import ApiError, FieldError, Invalid, Unclassified
from faultlab_embedded.store.log import Record
from faultlab_embedded.store.registry import Registry, Watcher

INITIAL_EVENTS_END = "k8s.io/initial-events-end"

Encode = Callable[[Record], bytes]


class WatchStream:
    """One client's watch. It buffers nothing of its own: it reads the log from where it stands (see
    `store.log`)."""

    def __init__(
        self, registry: Registry, target: Target, request: web.Request, encode: Encode, bookmark_s: float
    ) -> None:
        query = request.query
        self._registry = registry
        self._target = target
        self._request = request
        self._encode = encode
        self._bookmark_s = bookmark_s
        self._bookmarks = flag(query, "allowWatchBookmarks")
        self._initial_events = _initial_events(request)
        try:
            self._since = version_number(query) or 0
        except ValueError as error:
            raise Unclassified(str(error)) from None
        self._selection = selection_of(target, query)
        self._stopped = False
        self._waiting: asyncio.Timeout | None = None

    async def run(self, timeout_s: float) -> web.StreamResponse:
        """Serve until the time is over, the client goes, or it falls too far behind (410 as the last
        event)."""
        response = web.StreamResponse()
        response.content_type = JSON
        response.headers["Cache-Control"] = "no-cache, private"
        if self._target.resource.warning:
            add_warnings(response, [self._target.resource.warning])
        initial = self._initial()
        try:
            since = self._registry.version if initial is not None else self._since
            watcher = self._registry.follow(self._storage_key, since, self._selection)
        except ApiError as error:
            await response.prepare(self._request)
            await self._send(response, [_event(b"ERROR", msgspec.json.encode(error.status()))])
            return response
        try:
            await response.prepare(self._request)
            if initial is not None:
                await self._send(response, initial)
            await self._follow(response, watcher, timeout_s)
        except (ConnectionError, TimeoutError):
            pass  # the client is gone, or takes nothing
        finally:
            watcher.close()
        return response

    @property
    def _storage_key(self) -> str:
        return self._target.resource.stored_as or self._target.resource.key

    def _initial(self) -> list[bytes] | None:
        """What the stream begins with: the present state, where the client does not say what it has seen."""
        if self._since and not self._initial_events:
            return None
        if self._initial_events is False:
            return []
        records = self._registry.records(self._storage_key, self._selection)
        events = [_event(b"ADDED", self._encode(record)) for record in records]
        if self._initial_events and self._bookmarks:
            events.append(self._bookmark(self._registry.version, initial_end=True))
        return events

    def stop(self) -> None:
        """End the stream as a timeout would, at once where it only waits: the server is going."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def _follow(self, response: web.StreamResponse, watcher: Watcher, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        next_bookmark = loop.time() + self._bookmark_s
        while (now := loop.time()) < end and not self._stopped:
            try:
                async with asyncio.timeout_at(
                    min(end, next_bookmark, now + LIVENESS_CHECK_S)
                ) as self._waiting:
                    changes = await watcher.next()
            except TimeoutError:
                if has_left(self._request):
                    return
                if self._bookmarks and loop.time() >= min(next_bookmark, end):
                    await self._send(response, [self._bookmark(self._registry.version)])
                    next_bookmark = loop.time() + self._bookmark_s
                elif not self._bookmarks:
                    next_bookmark = loop.time() + self._bookmark_s
                continue
            except ApiError as error:
                await self._send(response, [_event(b"ERROR", msgspec.json.encode(error.status()))])
                return
            finally:
                self._waiting = None
            await self._send(
                response, [_event(kind.encode(), self._encode(record)) for kind, record in changes]
            )
            next_bookmark = loop.time() + self._bookmark_s

    @staticmethod
    async def _send(response: web.StreamResponse, events: list[bytes]) -> None:
        if events:
            await send(response, b"".join(events))

    def _bookmark(self, version: int, *, initial_end: bool = False) -> bytes:
        meta: Object = {"resourceVersion": str(version)}
        if initial_end:
            meta["annotations"] = {INITIAL_EVENTS_END: "true"}
        resource = self._target.resource
        obj = {
            "kind": resource.kind,
            "apiVersion": resource.api_version(self._target.version),
            "metadata": meta,
        }
        return _event(b"BOOKMARK", msgspec.json.encode(obj))


def _initial_events(request: web.Request) -> bool | None:
    """sendInitialEvents, and the rules that go with it (KEP-3157)."""
    query = request.query
    if "sendInitialEvents" not in query:
        if "resourceVersionMatch" in query:
            detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            raise _invalid_options(FieldError.forbidden("resourceVersionMatch", detail))
        return None
    match = query.get("resourceVersionMatch", "")
    if match != "NotOlderThan":
        detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        errors = [FieldError.forbidden("resourceVersionMatch", detail)]
        if match:
            errors.append(FieldError.not_supported("resourceVersionMatch", match, ["NotOlderThan"]))
        raise _invalid_options(*errors)
    return flag(query, "sendInitialEvents")


def _invalid_options(*errors: FieldError) -> Invalid:
    return Invalid.of("ListOptions", "meta.k8s.io", "", errors)


def _event(kind: bytes, obj: bytes) -> bytes:
    return b'{"type":"' + kind + b'","object":' + obj + b"}\n"
