"""Members' elections as Kubernetes Events on their RaftCluster."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from faultlab.contract.member import MemberEvent
from faultlab_operator.core.cache import Cache
from faultlab_operator.core.clock import Clock, parse_rfc3339
from faultlab_operator.kube.client import KubeClient
from faultlab_operator.members.hub import MembersHub

log = logging.getLogger(__name__)

WAITING: Final = 256
"""Announcements that wait for the API server; further ones are dropped."""


class _Announcement(NamedTuple):
    namespace: str
    name: str
    kind: str
    reason: str
    message: str


class ElectionAnnouncer:
    """Posts LeaderElected, LeaderLost, LeadershipTransfer and InvariantViolated for the clusters that it is
    told to watch.

    What happened before the operator started is not announced again: members replay their events
    to whoever connects.
    """

    def __init__(self, kube: KubeClient, cache: Cache, hub: MembersHub, clock: Clock) -> None:
        self._kube = kube
        self._cache = cache
        self._hub = hub
        self._since: datetime = clock.now()
        self._waiting: asyncio.Queue[_Announcement] = asyncio.Queue(WAITING)
        self._watched: dict[tuple[str, str], Callable[[], None]] = {}
        self._lost: dict[tuple[str, str], int] = {}
        """Highest term whose leader was announced as lost: each follower notices by itself."""

    def watch(self, namespace: str, name: str) -> None:
        """Announces the cluster's elections from now on; safe to repeat."""
        if (namespace, name) not in self._watched:
            self._watched[namespace, name] = self._hub.subscribe(
                namespace, name, lambda event: self._take(namespace, name, event), replay=False
            )

    def forget(self, namespace: str, name: str) -> None:
        unsubscribe = self._watched.pop((namespace, name), None)
        self._lost.pop((namespace, name), None)
        if unsubscribe is not None:
            unsubscribe()

    async def run(self) -> None:
        """Posts what waits, until cancelled."""
        while True:
            item = await self._waiting.get()
            cluster = self._cache.get("RaftCluster", item.namespace, item.name)
            if cluster is not None:
                await self._kube.create_event(cluster, item.kind, item.reason, item.message)

    def _take(self, namespace: str, name: str, event: MemberEvent) -> None:
        if parse_rfc3339(event.wall_time) < self._since:
            return
        found = self._announcement(namespace, name, event)
        if found is None:
            return
        try:
            self._waiting.put_nowait(_Announcement(namespace, name, *found))
        except asyncio.QueueFull:
            log.info("%s/%s: too many events wait for the API server; %s is dropped", namespace, name, found)

    def _announcement(self, namespace: str, name: str, event: MemberEvent) -> tuple[str, str, str] | None:
        if event.type == "LeaderElected":
            return "Normal", "LeaderElected", f"{event.member} leads term {event.term}"
        if event.type == "LeadershipTransfer":
            detail = f" ({event.detail})" if event.detail else ""
            return "Normal", "LeadershipTransfer", f"{event.member} hands over to {event.leader}{detail}"
        if event.type == "InvariantViolated":
            return "Warning", "InvariantViolated", f"{event.member}, term {event.term}: {event.detail}"
        if event.type == "LeaderLost" and event.term > self._lost.get((namespace, name), -1):
            self._lost[namespace, name] = event.term
            detail = f" ({event.detail})" if event.detail else ""
            return "Warning", "LeaderLost", f"{event.member} lost the leader of term {event.term}{detail}"
        return None
