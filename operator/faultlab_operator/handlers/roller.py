"""Restarts members for a new template, one at a time, and has a leader hand over first."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from faultlab.contract.run import MemberView
from faultlab_operator.api import RaftCluster
from faultlab_operator.core import Key, Services
from faultlab_operator.errors import MemberRefused, MemberUnreachable
from faultlab_operator.handlers.rollout import Member, look, next_to_restart, successor
from faultlab_operator.handlers.saying import Announcement
from faultlab_operator.kube.peer_key import PeerKeys
from faultlab_operator.members.orders import hand_over, patience_s
from faultlab_operator.members.summary import Summary, summarise
from faultlab_operator.render.raftcluster import config_hash_of

log = logging.getLogger(__name__)

Pods = Callable[[], Sequence[Mapping[str, Any]]]


class Roller:
    """Level-triggered; keeps nothing but whom it has just restarted."""

    def __init__(self, services: Services, keys: PeerKeys) -> None:
        self._services = services
        self._keys = keys
        self._restarted: dict[Key, str] = {}
        """The uid of the pod that was deleted last: the cache may show it unchanged for a moment."""

    def forget(self, key: Key) -> None:
        self._restarted.pop(key, None)

    async def roll(
        self, key: Key, cluster: RaftCluster, names: Sequence[str], wanted_hash: str, pods: Pods
    ) -> None:
        """Restarts a member if it is its turn. Raises KubeError."""
        if not self._template_was_seen(key, wanted_hash):
            return

        def see(views: Mapping[str, MemberView]) -> tuple[Summary, tuple[Member, ...]]:
            return summarise(views), look(names, pods(), wanted_hash, views)

        summary, members = see(self._services.members.statuses(key.namespace, key.name))
        if next_to_restart(members, summary.leader) is None:
            return
        # What was polled may be seconds old: restarting a member is decided on what is true now.
        summary, members = see(await self._services.members.refresh(key.namespace, key.name))
        member = next_to_restart(members, summary.leader)
        if member is None or self._restarted.get(key) == member.uid:
            return
        handed_over = ""
        if member.name == summary.leader:
            handed_over = await self._hand_over(key, cluster, member, members)
        # At once: a member of higher priority would soon have the leadership again.
        if await self._services.kube.delete("Pod", key.namespace, member.name, uid=member.uid):
            self._restarted[key] = member.uid
            log.info("%s: %s is restarted with the new template", key, member.name)
            text = f"{member.name} is restarted with the new template{handed_over}"
            await self._services.announce(key, Announcement("Normal", "MemberRestarted", text))

    async def _hand_over(
        self, key: Key, cluster: RaftCluster, leader: Member, members: Sequence[Member]
    ) -> str:
        """Has the leader hand over to a member that needs no restart; what came of it, in words.

        A leader that does not is restarted all the same, which costs an election.
        """
        to = successor(members, leader, cluster.spec.leader_priority)
        base = self._services.members.admin_url(key.namespace, key.name, leader.name)
        if to is None or base is None:
            return ""
        timeout_s = patience_s(cluster.spec.election_timeout.ms / 1000)
        try:
            proof = self._keys.proof(key)
            now_leads = await hand_over(self._services.http, base, proof, to.name, timeout_s)
        except (MemberRefused, MemberUnreachable) as error:
            log.info("%s: %s did not hand over: %s", key, leader.name, error)
            return f", though it did not hand over: {error}"
        return f", after {now_leads or to.name} has taken over"

    def _template_was_seen(self, key: Key, wanted_hash: str) -> bool:
        """Whether the StatefulSet's controller knows the template: until then it may make pods of the
        last one."""
        stateful_set = self._services.cache.get("StatefulSet", key.namespace, key.name)
        if stateful_set is None or config_hash_of(stateful_set) != wanted_hash:
            return False
        seen = (stateful_set.get("status") or {}).get("observedGeneration", 0)
        return bool(seen >= stateful_set["metadata"].get("generation", 0))
