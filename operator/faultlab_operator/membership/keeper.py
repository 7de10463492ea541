"""Has a cluster's leader, its pods and its volumes follow what the spec says of its members."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from faultlab.contract.member import MembershipReply, MembershipRequest, RaftStatus
from faultlab.contract.run import MemberView
from faultlab_operator.api import RaftCluster
from faultlab_operator.core import Key, Services
from faultlab_operator.errors import MemberRefused, MemberUnreachable
from faultlab_operator.kube.peer_key import PeerKeys
from faultlab_operator.members.orders import change_membership, patience_s
from faultlab_operator.membership.configuration import (
    believed_leader,
    is_confirmed,
    known_configuration,
)
from faultlab_operator.membership.plan import number_of, rendered, request, wanted_names
from faultlab_operator.membership.refusals import REFUSED_AS, Refusal, next_refusal, replaced_pods
from faultlab_operator.membership.words import Outcome
from faultlab_operator.render.raftcluster import raft_selector

log = logging.getLogger(__name__)

Pods = Sequence[Mapping[str, Any]]
Views = Mapping[str, MemberView]

_FORBIDDEN = 403
"""What a member answers to a proof of another key than its own."""


class MembershipKeeper:
    """Level-triggered; keeps nothing but of which sizes the leftover volumes are known to be gone."""

    def __init__(self, services: Services, keys: PeerKeys) -> None:
        self._services = services
        self._keys = keys
        self._cleared: dict[Key, tuple[str, int]] = {}
        """The cluster's uid, and the number of pods beyond which there are no volumes."""

    def forget(self, key: Key) -> None:
        self._cleared.pop(key, None)

    async def settle(self, key: Key, cluster: RaftCluster, pods: Pods, pods_now: int | None) -> Outcome:
        """Tells the leader what is wanted, if anything is, and says what the children are to be.

        Comes before the children are applied: pods that join find their ids in the ConfigMap, and pods
        go only once their members have no part in the cluster any more. Raises KubeError.
        """
        views = self._services.members.statuses(key.namespace, key.name)
        if self._is_quiet(cluster, views, pods, pods_now):
            leader = believed_leader(views)
            configuration = known_configuration(cluster, leader)
            return Outcome(configuration, leader, rendered(cluster, configuration, pods_now, shrink=False))
        # What was polled may be seconds old: members are made and removed on what is true now.
        views = await self._services.members.refresh(key.namespace, key.name)
        leader = believed_leader(views)
        configuration = known_configuration(cluster, leader)
        refusal = next_refusal(configuration, pods, views)
        if leader is not None and refusal is not None and not (refusal.blocked or refusal.noted):
            await self._note(key, refusal)
        waiting_for = ""
        order = request(cluster, configuration, refusal)
        if leader is not None and order is not None:
            reply, waiting_for = await self._tell(key, cluster, leader, order)
            if reply is not None and reply.committed:
                configuration = reply.configuration
        shrink = is_confirmed(views, wanted_names(cluster))
        membership = rendered(cluster, configuration, pods_now, shrink=shrink)
        return Outcome(configuration, leader, membership, refusal, waiting_for)

    async def tidy(self, key: Key, cluster: RaftCluster, pods: Pods, outcome: Outcome) -> None:
        """Ends pods whose members were replaced, and deletes the volumes of members that were removed.

        Comes after the children were applied. Raises KubeError.
        """
        for pod in replaced_pods(outcome.configuration, pods):
            name = pod["metadata"]["name"]
            if await self._services.kube.delete("Pod", key.namespace, name, uid=pod["metadata"]["uid"]):
                log.info("%s: %s starts anew under its new id", key, name)
        await self._clear_volumes(key, cluster, pods, outcome)

    def _is_quiet(self, cluster: RaftCluster, views: Views, pods: Pods, pods_now: int | None) -> bool:
        """Whether there is nothing to tell the leader and no pod to be taken away, as last polled."""
        configuration = known_configuration(cluster, believed_leader(views))
        refusal = next_refusal(configuration, pods, views)
        if refusal is not None or request(cluster, configuration, None) is not None:
            return False
        wanted = rendered(cluster, configuration, pods_now, shrink=True)
        return pods_now is None or wanted.pods >= pods_now

    async def _note(self, key: Key, refusal: Refusal) -> None:
        """Before the leader is told: then whoever comes later knows which id the pod was refused as."""
        patch = {"metadata": {"uid": refusal.pod_uid, "annotations": {REFUSED_AS: refusal.id}}}
        await self._services.kube.patch("Pod", key.namespace, refusal.name, patch)
        log.info("%s: %s must not run as %s any more and is replaced", key, refusal.name, refusal.id)

    async def _tell(
        self, key: Key, cluster: RaftCluster, leader: RaftStatus, order: MembershipRequest
    ) -> tuple[MembershipReply | None, str]:
        """What the leader answers, if it does, and what is waited for."""
        base = self._services.members.admin_url(key.namespace, key.name, leader.member)
        if base is None:
            return None, ""
        try:
            timeout_s = patience_s(cluster.spec.election_timeout.ms / 1000)
            reply = await change_membership(
                self._services.http, base, self._keys.proof(key), order, timeout_s
            )
        except MemberRefused as error:
            if error.status == _FORBIDDEN:
                self._keys.expire(key)
            return None, _refused(leader.member, error)
        except MemberUnreachable as error:
            return None, str(error)
        waits = "" if reply.reached else f"{leader.member} waits for {reply.waiting_for or 'the others'}"
        return reply, waits

    async def _clear_volumes(self, key: Key, cluster: RaftCluster, pods: Pods, outcome: Outcome) -> None:
        """So that members which are added later start empty, and nobody pays for what nobody reads."""
        count = outcome.membership.pods
        done = (cluster.metadata.uid, count)
        if any(number_of(cluster, pod["metadata"]["name"]) >= count for pod in pods):
            self._cleared.pop(key, None)
            return
        if self._cleared.get(key) == done or count != cluster.spec.replicas:
            return
        views = await self._services.members.refresh(key.namespace, key.name)
        if not is_confirmed(views, wanted_names(cluster)):
            return
        for claim in await self._services.kube.list(
            "PersistentVolumeClaim", key.namespace, raft_selector(cluster)
        ):
            name = claim["metadata"]["name"]
            if number_of(cluster, name.removeprefix("data-")) >= count:
                uid = claim["metadata"].get("uid")
                if await self._services.kube.delete("PersistentVolumeClaim", key.namespace, name, uid=uid):
                    log.info("%s: the volume %s of a removed member is deleted", key, name)
        self._cleared[key] = done


def _refused(told: str, error: MemberRefused) -> str:
    if error.leader == told:
        return f"{told} is to hand over first, and has found nobody yet"
    return f"{error.leader} has taken over from {told}" if error.leader else str(error)
