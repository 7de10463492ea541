"""Every cluster that the operator follows: members' views, and all their events in one place."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import aiohttp
import msgspec

from faultlab.contract.member import MemberEvent
from faultlab.contract.ports import ADMIN_PORT
from faultlab.contract.run import MemberView
from faultlab_operator.members.follower import MemberFollower

log = logging.getLogger(__name__)

REMEMBERED: Final = 20_000
"""Events kept of one cluster for those who subscribe later; the oldest are dropped."""

Subscriber = Callable[[MemberEvent], None]
ChangeListener = Callable[[str, str], None]


class _Cluster:
    """The followers of one cluster's members."""

    def __init__(self, key: tuple[str, str]) -> None:
        self.key = key
        self.followers: dict[str, MemberFollower] = {}
        self.expected: tuple[str, ...] = ()
        self.events: deque[MemberEvent] = deque(maxlen=REMEMBERED)
        self.subscribers: list[Subscriber] = []
        self.in_a_hurry = 0
        self.closing: set[asyncio.Task[None]] = set()

    def settled(self) -> bool:
        """Whether all members are ready and agree on who leads which term."""
        views = [follower.view for follower in self.followers.values()]
        statuses = [view.status for view in views if view.reachable and view.status is not None]
        if len(statuses) < len(self.expected) or not all(status.ready for status in statuses):
            return False
        return len({(status.term, status.leader) for status in statuses}) <= 1

    def hurried(self) -> bool:
        return self.in_a_hurry > 0 or not self.settled()

    def drop(self, name: str) -> None:
        closing = asyncio.create_task(self.followers.pop(name).close())
        self.closing.add(closing)
        closing.add_done_callback(self.closing.discard)


class MembersHub:
    """Follows members of RaftClusters. Lives on the operator's loop; close it there.

    The RaftCluster reconciler says whom to follow (`follow`, `forget`); everybody may look
    (`statuses`), listen (`subscribe`) and hurry (`hurried`).
    """

    def __init__(self, http: aiohttp.ClientSession, *, admin_port: int = ADMIN_PORT) -> None:
        self._http = http
        self._port = admin_port
        self._clusters: dict[tuple[str, str], _Cluster] = {}
        self._listeners: list[ChangeListener] = []

    def listen(self, listener: ChangeListener) -> None:
        """Calls `listener(namespace, name)` when a cluster's roles, terms or reachability change."""
        self._listeners.append(listener)

    def follow(
        self,
        namespace: str,
        name: str,
        expected: tuple[str, ...],
        addresses: Mapping[str, str],
        uids: Mapping[str, str] | None = None,
    ) -> None:
        """Follows exactly these members: `expected` are all names, `addresses` those with a pod IP.

        With their pods' `uids`, a pod that was replaced at the same address is known to be another,
        of which nothing is known yet.
        """
        uids = uids or {}
        cluster = self._cluster(namespace, name)
        cluster.expected = expected
        for member, follower in list(cluster.followers.items()):
            if (addresses.get(member), uids.get(member, "")) != (follower.address, follower.uid):
                cluster.drop(member)
        for member, address in addresses.items():
            if member not in cluster.followers:
                cluster.followers[member] = MemberFollower(
                    self._http,
                    member,
                    address,
                    hurried=cluster.hurried,
                    on_status=lambda: self._tell(cluster),
                    on_event=lambda event: self._take(cluster, event),
                    port=self._port,
                    uid=uids.get(member, ""),
                )

    def forget(self, namespace: str, name: str) -> None:
        """Stops following a cluster that is gone; its subscribers hear nothing more."""
        cluster = self._clusters.get((namespace, name))
        if cluster is None:
            return
        for member in list(cluster.followers):
            cluster.drop(member)
        cluster.expected = ()
        cluster.events.clear()
        if not cluster.subscribers and not cluster.in_a_hurry:
            del self._clusters[namespace, name]

    async def close(self) -> None:
        for cluster in self._clusters.values():
            for member in list(cluster.followers):
                cluster.drop(member)
            await asyncio.gather(*cluster.closing, return_exceptions=True)

    def statuses(self, namespace: str, name: str) -> dict[str, MemberView]:
        """Every expected member's view; one without a pod or an answer yet is not reachable.

        Empty for a cluster that is not followed (its RaftCluster is not reconciled yet).
        """
        cluster = self._clusters.get((namespace, name))
        if cluster is None:
            return {}
        views = {member: MemberView(name=member, reachable=False) for member in cluster.expected}
        views.update((member, follower.view) for member, follower in cluster.followers.items())
        return views

    async def refresh(self, namespace: str, name: str) -> dict[str, MemberView]:
        """Polls all members at once and gives their views; one that did not answer is not reachable."""
        cluster = self._clusters.get((namespace, name))
        if cluster is None:
            return {}
        followers = list(cluster.followers.values())
        answers = await asyncio.gather(*(follower.refresh() for follower in followers))
        views = self.statuses(namespace, name)
        for follower, answered in zip(followers, answers, strict=True):
            if not answered and follower.name in views:
                views[follower.name] = msgspec.structs.replace(views[follower.name], reachable=False)
        return views

    def addresses(self, namespace: str, name: str) -> dict[str, str]:
        """The pod IPs of the members that are followed."""
        cluster = self._clusters.get((namespace, name))
        if cluster is None:
            return {}
        return {member: follower.address for member, follower in cluster.followers.items()}

    def admin_url(self, namespace: str, name: str, member: str) -> str | None:
        """Where a member takes orders; None for one that is not followed."""
        cluster = self._clusters.get((namespace, name))
        follower = None if cluster is None else cluster.followers.get(member)
        return None if follower is None else follower.base

    def settled(self, namespace: str, name: str) -> bool:
        """Whether all members are ready and agree on the leader."""
        cluster = self._clusters.get((namespace, name))
        return cluster is not None and bool(cluster.expected) and cluster.settled()

    def lost_events(self, namespace: str, name: str) -> int:
        """Events that members sent and the operator never got (their ids are missing)."""
        cluster = self._clusters.get((namespace, name))
        return 0 if cluster is None else sum(follower.lost for follower in cluster.followers.values())

    def subscribe(
        self, namespace: str, name: str, callback: Subscriber, *, replay: bool = True
    ) -> Callable[[], None]:
        """Calls back with every event of the cluster's members, each once, in each member's order;
        with `replay` first with those remembered (at most REMEMBERED). Returns how to end it.

        May be called before the cluster exists. The callback must not block; what it raises is
        logged and does not end the subscription.
        """
        cluster = self._cluster(namespace, name)
        if replay:
            for event in cluster.events:
                callback(event)
        cluster.subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in cluster.subscribers:
                cluster.subscribers.remove(callback)

        return unsubscribe

    @contextmanager
    def hurried(self, namespace: str, name: str) -> Iterator[None]:
        """While inside, the cluster's statuses are polled every FAST_S."""
        cluster = self._cluster(namespace, name)
        cluster.in_a_hurry += 1
        for follower in cluster.followers.values():
            follower.poll_now()
        try:
            yield
        finally:
            cluster.in_a_hurry -= 1

    def _cluster(self, namespace: str, name: str) -> _Cluster:
        return self._clusters.setdefault((namespace, name), _Cluster((namespace, name)))

    def _take(self, cluster: _Cluster, event: MemberEvent) -> None:
        cluster.events.append(event)
        for subscriber in list(cluster.subscribers):
            try:
                subscriber(event)
            except Exception:
                log.exception("a subscriber of %s/%s failed at event %s", *cluster.key, event)
        if event.type != "Applied" and event.member in cluster.followers:
            cluster.followers[event.member].poll_now()

    def _tell(self, cluster: _Cluster) -> None:
        for listener in self._listeners:
            listener(*cluster.key)
