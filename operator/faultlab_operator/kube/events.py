"""Kubernetes Events about the lab's objects, not more of them than help.

The same reason and message about the same object within AGGREGATE_S raises the first Event's
count. An object gets BURST Events at once and then one each REFILL_S; further ones are dropped
(members' own events, which verdicts rest on, do not pass through here).
"""

import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from faultlab_operator.errors import KubeError, LeadershipLost

if TYPE_CHECKING:
    from faultlab_operator.kube.client import KubeClient

log = logging.getLogger(__name__)

AGGREGATE_S: Final = 600.0
BURST: Final = 25
REFILL_S: Final = 10.0
REMEMBERED: Final = 512
"""Events and objects remembered; the oldest are forgotten."""

COMPONENT: Final = "faultlab-operator"


@dataclass(slots=True)
class _Posted:
    namespace: str
    name: str
    count: int
    at: float


@dataclass(slots=True)
class _Budget:
    tokens: float
    at: float


class EventRecorder:
    """Writes Events through a client."""

    def __init__(self, kube: "KubeClient") -> None:
        self._kube = kube
        self._posted: OrderedDict[tuple[str, str, str], _Posted] = OrderedDict()
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()

    async def record(self, involved: Mapping[str, Any], kind: str, reason: str, message: str) -> None:
        """Posts an Event or raises the count of its like; drops it when its object had too many."""
        metadata = involved["metadata"]
        subject = str(metadata.get("uid") or f"{metadata.get('namespace')}/{metadata['name']}")
        if not self._allowed(subject):
            return
        now = time.monotonic()
        like = (subject, reason, message)
        before = self._posted.get(like)
        try:
            if before is not None and now - before.at < AGGREGATE_S:
                before.count += 1
                patch = {"count": before.count, "lastTimestamp": _seconds(datetime.now(UTC))}
                await self._kube.patch("Event", before.namespace, before.name, patch)
                return
            name = f"{metadata['name']}.{secrets.token_hex(8)}"
            namespace = metadata.get("namespace") or "default"
            await self._kube.create(_event(involved, name, namespace, kind, reason, message))
            _remember(self._posted, like, _Posted(namespace, name, 1, now))
        except (KubeError, LeadershipLost) as error:
            self._posted.pop(like, None)
            log.info("event %s about %s was not written: %s", reason, metadata["name"], error)

    def _allowed(self, subject: str) -> bool:
        now = time.monotonic()
        budget = self._budgets.get(subject) or _Budget(BURST, now)
        tokens = min(BURST, budget.tokens + (now - budget.at) / REFILL_S)
        _remember(self._budgets, subject, _Budget(max(0.0, tokens - 1), now))
        return tokens >= 1


def _remember(store: "OrderedDict[Any, Any]", key: Any, value: Any) -> None:
    store[key] = value
    store.move_to_end(key)
    while len(store) > REMEMBERED:
        store.popitem(last=False)


def _seconds(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _event(
    involved: Mapping[str, Any], name: str, namespace: str, kind: str, reason: str, message: str
) -> dict[str, Any]:
    metadata = involved["metadata"]
    now = datetime.now(UTC)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": involved.get("apiVersion", ""),
            "kind": involved.get("kind", ""),
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "type": kind,
        "reason": reason,
        "message": message[:1024],
        "count": 1,
        "firstTimestamp": _seconds(now),
        "lastTimestamp": _seconds(now),
        "action": reason,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
    }
