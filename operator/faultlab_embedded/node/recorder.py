"""Kubernetes Events of the node and of the controllers: the same one again raises its count."""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from faultlab_embedded.node.status import now
from faultlab_embedded.store.errors import ApiError, NotFound
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
_REMEMBERED = 1024
_MAX_MESSAGE = 1024
log = logging.getLogger(__name__)


class Recorder:
    """Writes Events for one component. An Event that cannot be stored is logged and dropped."""

    def __init__(self, registry: Registry, component: str, host: str = "") -> None:
        self._registry = registry
        self._source = {"component": component, **({"host": host} if host else {})}
        self._known: OrderedDict[tuple[str, ...], str] = OrderedDict()

    def normal(self, obj: Object, reason: str, message: str, field_path: str = "") -> None:
        """Something went as it should."""
        self._record(obj, "Normal", reason, message, field_path)

    def warning(self, obj: Object, reason: str, message: str, field_path: str = "") -> None:
        """Something that a person may want to look at."""
        self._record(obj, "Warning", reason, message, field_path)

    def _record(self, obj: Object, kind: str, reason: str, message: str, field_path: str) -> None:
        meta = obj["metadata"]
        namespace = meta.get("namespace") or "default"
        message = message[:_MAX_MESSAGE]
        key = (namespace, str(meta.get("uid")), kind, reason, message, field_path)
        try:
            if key in self._known and self._repeat(namespace, self._known[key]):
                return
            self._known[key] = self._create(obj, namespace, kind, reason, message, field_path)
        except ApiError as error:
            log.info("event %s of %s/%s dropped: %s", reason, namespace, meta["name"], error)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _repeat(self, namespace: str, name: str) -> bool:
        try:
            event = self._registry.get("events", namespace, name)
        except NotFound:
            return False
        change = {"count": int(event.get("count") or 1) + 1, "lastTimestamp": now()}
        self._registry.patch("events", namespace, name, change)
        return True

    def _create(
        self, obj: Object, namespace: str, kind: str, reason: str, message: str, field_path: str
    ) -> str:
        meta = obj["metadata"]
        involved = {
            "apiVersion": obj.get("apiVersion", "v1"),
            "kind": obj.get("kind", "Pod"),
            "name": meta["name"],
            "uid": meta.get("uid", ""),
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        if meta.get("namespace"):
            involved["namespace"] = meta["namespace"]
        if field_path:
            involved["fieldPath"] = field_path
        name = f"{meta['name']}.{secrets.token_hex(8)}"
        self._registry.create(
            "events",
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": involved,
                "type": kind,
                "reason": reason,
                "message": message,
                "count": 1,
                "firstTimestamp": now(),
                "lastTimestamp": now(),
                "source": self._source,
                "reportingComponent": self._source["component"],
                "reportingInstance": self._source.get("host", ""),
            },
        )
        return name
