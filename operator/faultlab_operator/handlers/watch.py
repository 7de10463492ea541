"""kopf's part: watches that fill the cache, and which keys a change wakes.

Only `on.event` handlers: they write nothing, so objects get no finalizer and no annotation.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import kopf

from faultlab_operator.api import KINDS
from faultlab_operator.core.cache import Cache, Object
from faultlab_operator.core.keys import Key, key_of
from faultlab_operator.errors import NotFound
from faultlab_operator.kube.client import KubeClient
from faultlab_operator.kube.resources import RESOURCES, WATCHED, is_ours
from faultlab_operator.render.common import SYSTEM_KIND, SYSTEM_NAME

log = logging.getLogger(__name__)


def register(registry: kopf.OperatorRegistry, cache: Cache, served: tuple[str, ...]) -> None:
    """Has kopf watch every kind of WATCHED and tell the cache: of resources of ours only where they are
    served (everywhere, if nothing is named), though kopf watches all kinds in the same namespaces."""
    for kind in WATCHED:
        info = RESOURCES[kind]
        group, _, version = info.api_version.rpartition("/")
        kopf.on.event(group, version, info.plural, id=f"cache-{info.plural}", registry=registry)(
            _handler(kind, info.api_version, cache, served if kind in KINDS else ())
        )


def _handler(kind: str, api_version: str, cache: Cache, only_in: tuple[str, ...]) -> Any:
    async def seen(event: Mapping[str, Any], **_: Any) -> None:
        obj = {"apiVersion": api_version, **event["object"], "kind": kind}
        if not is_ours(kind, obj["metadata"].get("labels")):
            return
        if only_in and obj["metadata"].get("namespace") not in only_in:
            return
        if event["type"] == "DELETED":
            cache.drop(obj)
        else:
            cache.put(obj)

    return seen


async def fill(cache: Cache, kube: KubeClient, served: tuple[str, ...], home: str) -> None:
    """Makes the cache what the API server has now.

    At the start: the first reconciles see a whole world, not what watches happen to have brought so
    far. Later: kopf does not tell of what was deleted while a watch was interrupted. Kinds that the
    API server does not know are passed over. `served` is where resources of ours are served, empty for
    everywhere; `home` is where the agents are besides.
    """
    for kind in WATCHED:
        scopes: Iterable[str | None] = (None,)
        if served and RESOURCES[kind].namespaced:
            scopes = served if kind in KINDS else sorted({*served, home})
        before = cache.keys(kind)
        listed: set[Key] = set()
        for namespace in scopes:
            try:
                objects = await kube.list(kind, namespace)
            except NotFound:
                log.info("the API server does not know %s yet", kind)
                objects = []
            for obj in objects:
                if is_ours(kind, obj["metadata"].get("labels")):
                    cache.put(obj)
                    listed.add(key_of(obj))
        # What came while the list was under way was not there before it.
        for gone in before - listed:
            known = cache.get(*gone)
            if known is not None:
                log.info("%s is gone, which no watch told", gone)
                cache.drop(known)


def keys_to_wake(key: Key, obj: Object, cache: Cache) -> set[Key]:
    """Whose reconcile may come out differently because `obj` changed or went.

    Itself; its controller, if that is of our kinds; the system whose label it carries; and whoever
    refers to it as its system.
    """
    keys = {key} if key.kind in KINDS else set()
    metadata = obj["metadata"]
    for owner in metadata.get("ownerReferences") or ():
        if owner["kind"] in KINDS:
            keys.add(Key(owner["kind"], key.namespace, owner["name"]))
    labels = metadata.get("labels") or {}
    if key.kind not in KINDS and labels.get(SYSTEM_KIND) in KINDS and SYSTEM_NAME in labels:
        keys.add(Key(labels[SYSTEM_KIND], key.namespace, labels[SYSTEM_NAME]))
    if key.kind == "RaftCluster":
        keys |= _dependents(key, cache)
    return keys


def _dependents(system: Key, cache: Cache) -> set[Key]:
    """LoadTests and NetworkPartitions that name the system."""
    wanted = {"kind": system.kind, "name": system.name}
    found = set()
    for kind in ("LoadTest", "NetworkPartition"):
        for obj in cache.list(kind, system.namespace):
            spec = obj.get("spec") or {}
            named = spec.get("system") or (spec.get("selector") or {}).get("system") or {}
            if {name: named.get(name) for name in wanted} == wanted:
                found.add(Key(kind, system.namespace, obj["metadata"]["name"]))
    return found


def login(connection_info: kopf.ConnectionInfo, registry: kopf.OperatorRegistry) -> None:
    """Has kopf use the connection that the operator's own client uses."""

    async def known(**_: Any) -> kopf.ConnectionInfo:
        return connection_info

    kopf.on.login(registry=registry, id="faultlab")(known)
