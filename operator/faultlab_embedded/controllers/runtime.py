"""How every controller here works: watches put keys into a queue, workers bring one key at a time in order.

A reconcile looks at what is wanted and what is there, now, and makes one towards the other; which event
woke it does not matter. It is synchronous (the registry is), so nothing comes between its reads and its
writes. An `ApiError` in it (a conflict, an object that vanished) is tried again after 10 ms, doubling to 5
s, at most 12 times in a row; then the key rests until the next event or resync.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from faultlab_embedded.store.errors import ApiError, Expired
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
Key = tuple[str, str]
"""Namespace (empty for cluster-scoped objects) and name."""

FIRST_RETRY_S = 0.01
MAX_RETRY_S = 5.0
MAX_RETRIES = 12
log = logging.getLogger(__name__)


class Reconciler(Protocol):
    """One controller's logic."""

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Makes what is there agree with what is wanted; seconds after which to look again, if not None."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Events of `resource` wake the keys that `keys` names."""

    resource: str
    keys: Callable[[str, Object], Iterable[Key]]


class WorkQueue:
    """Keys to look at, each at most once, in the order they came; a key may be put back for later."""

    def __init__(self) -> None:
        self._ready: dict[Key, None] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._woken = asyncio.Event()

    def add(self, key: Key) -> None:
        """Now. A key that waits for later is brought forward."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._ready[key] = None
        self._woken.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Later, unless it comes up before."""
        if key in self._ready:
            return
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self.add, key)

    def succeeded(self, key: Key) -> None:
        """Forgets earlier failures."""
        self._failures.pop(key, None)

    def failed(self, key: Key) -> bool:
        """Puts the key back with back-off; False if it was the last try."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        if count > MAX_RETRIES:
            del self._failures[key]
            return False
        self.add_after(key, min(MAX_RETRY_S, FIRST_RETRY_S * 2 ** (count - 1)))
        return True

    async def get(self) -> Key:
        """The next key."""
        while not self._ready:
            self._woken.clear()
            await self._woken.wait()
        key = next(iter(self._ready))
        del self._ready[key]
        return key

    def close(self) -> None:
        """Cancels what waits."""
        for timer in self._timers.values():
            timer.cancel()


class Controller:
    """Runs one reconciler."""

    def __init__(
        self, registry: Registry, name: str, reconciler: Reconciler, sources: Iterable[Source]
    ) -> None:
        self._registry = registry
        self._name = name
        self._reconciler = reconciler
        self._sources = tuple(sources)
        self._queue = WorkQueue()

    async def run(self) -> None:
        """For ever."""
        try:
            async with asyncio.TaskGroup() as group:
                for source in self._sources:
                    group.create_task(self._follow(source))
                group.create_task(self._work())
        finally:
            self._queue.close()

    async def _follow(self, source: Source) -> None:
        while True:
            try:
                async for event, obj in self._registry.watch(source.resource):
                    for key in source.keys(event, obj):
                        self._queue.add(key)
            except Expired:
                log.warning("%s: the watch on %s fell behind and starts over", self._name, source.resource)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                again = self._reconciler.reconcile(*key)
            except ApiError as error:
                if not self._queue.failed(key):
                    log.warning("%s %s/%s given up for now: %s", self._name, *key, error)
            except Exception:
                log.exception("%s %s/%s", self._name, *key)
                self._queue.failed(key)
            else:
                self._queue.succeeded(key)
                if again is not None:
                    self._queue.add_after(key, again)
            await asyncio.sleep(0)


def own_key(_event: str, obj: Object) -> Iterable[Key]:
    """The object itself."""
    meta = obj["metadata"]
    return [(meta.get("namespace", ""), meta["name"])]


def controller_key(kind: str) -> Callable[[str, Object], Iterable[Key]]:
    """The controller of that kind that owns the object."""

    def keys(_event: str, obj: Object) -> Iterable[Key]:
        owner = controller_of(obj)
        if owner is not None and owner["kind"] == kind:
            return [(obj["metadata"].get("namespace", ""), owner["name"])]
        return []

    return keys


def controller_of(obj: Object) -> Object | None:
    """The owner reference with `controller: true`."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            result: Object = owner
            return result
    return None


def owner_reference(owner: Object) -> dict[str, Any]:
    """What a child of `owner` carries."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
