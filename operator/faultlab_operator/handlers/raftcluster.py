"""RaftCluster: applies its children, follows its members, rolls them, says how it is."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from faultlab.contract.run import MemberView
from faultlab_operator.api import Condition, RaftCluster, RaftClusterStatus
from faultlab_operator.core import Key, Services
from faultlab_operator.errors import Refused
from faultlab_operator.handlers.elections import ElectionAnnouncer
from faultlab_operator.handlers.ownership import controller_uid, is_going
from faultlab_operator.handlers.problems import cluster_problem, model_problem
from faultlab_operator.handlers.rollout import next_to_restart, stale_pods
from faultlab_operator.kube.conditions import set_condition
from faultlab_operator.members.summary import Summary, summarise
from faultlab_operator.render.common import digest
from faultlab_operator.render.raftcluster import (
    config_hash_of,
    member_names,
    raft_children,
    raft_selector,
)

log = logging.getLogger(__name__)

UNSETTLED_S: Final = 1.0
"""Until the next look while something is to be awaited; changes wake sooner."""
REAPPLY_S: Final = 60.0
"""Children are applied again after this even if nothing changed, in case somebody changed them."""


class RaftClusterReconciler:
    """Level-triggered; keeps nothing but when it last applied what."""

    def __init__(self, services: Services, announcer: ElectionAnnouncer) -> None:
        self._services = services
        self._announcer = announcer
        self._applied: dict[Key, tuple[str, float]] = {}

    async def reconcile(self, key: Key) -> float | None:
        """See `Reconciler`."""
        services = self._services
        obj = services.cache.get(*key)
        if obj is None or is_going(obj):
            self._applied.pop(key, None)
            self._announcer.forget(key.namespace, key.name)
            services.members.forget(key.namespace, key.name)
            return None
        try:
            cluster = RaftCluster.parse(obj)
        except ValidationError as error:
            await self._refuse(obj, model_problem(error))
            return None
        problem = cluster_problem(cluster)
        if problem is not None:
            await self._refuse(obj, problem)
            return None
        stateful_set = services.cache.get("StatefulSet", key.namespace, key.name)
        if stateful_set is not None and controller_uid(stateful_set) != cluster.metadata.uid:
            await self._wait_for_predecessor(cluster, stateful_set)
            return UNSETTLED_S
        return await self._bring_about(key, cluster)

    async def _bring_about(self, key: Key, cluster: RaftCluster) -> float | None:
        services = self._services
        children = raft_children(cluster, services.settings.image)
        try:
            await self._apply(key, cluster.metadata.uid, children)
        except Refused as error:
            await self._say_not_ready(cluster, "ChildRefused", f"the API server refused a child: {error}")
            return REAPPLY_S
        pods = self._pods(cluster)
        names = member_names(key.name, cluster.spec.replicas)
        addresses = {
            pod["metadata"]["name"]: pod["status"]["podIP"]
            for pod in pods
            if (pod.get("status") or {}).get("podIP") and pod["metadata"]["name"] in names
        }
        uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}
        services.members.follow(key.namespace, key.name, names, addresses, uids)
        self._announcer.watch(key.namespace, key.name)
        views = services.members.statuses(key.namespace, key.name)
        stateful_set = next(child for child in children if child["kind"] == "StatefulSet")
        stale = stale_pods(pods, config_hash_of(stateful_set))
        await self._roll(cluster, pods, stale, views)
        status = cluster_status(cluster, summarise(views), pods, stale, now=services.clock.now())
        await services.kube.patch_status(*key, status.wire())
        settled = services.members.settled(key.namespace, key.name) and not stale
        return REAPPLY_S if settled else UNSETTLED_S

    async def _apply(self, key: Key, uid: str, children: list[dict[str, Any]]) -> None:
        """Applies the children if they changed, one is gone, or it is long ago."""
        now = self._services.clock.monotonic()
        wanted = digest(uid, children)
        applied = self._applied.get(key)
        there = self._services.cache.get("StatefulSet", key.namespace, key.name) is not None
        if applied is not None and there and applied[0] == wanted and now - applied[1] < REAPPLY_S:
            return
        for child in children:
            await self._services.kube.apply(child)
        self._applied[key] = (wanted, now)

    def _pods(self, cluster: RaftCluster) -> list[Mapping[str, Any]]:
        """The members' pods that are not going: those of this cluster's own StatefulSet."""
        metadata = cluster.metadata
        stateful_set = self._services.cache.get("StatefulSet", metadata.namespace, metadata.name)
        if stateful_set is None:
            return []
        uid = stateful_set["metadata"].get("uid")
        found = self._services.cache.list("Pod", metadata.namespace, raft_selector(cluster))
        return [pod for pod in found if controller_uid(pod) == uid and not is_going(pod)]

    async def _roll(
        self,
        cluster: RaftCluster,
        pods: list[Mapping[str, Any]],
        stale: list[str],
        views: Mapping[str, MemberView],
    ) -> None:
        if len(pods) < cluster.spec.replicas:
            return
        if next_to_restart(stale, views) is None:
            return
        # What was polled may be seconds old: restarting a member is decided on what is true now.
        fresh = await self._services.members.refresh(cluster.metadata.namespace, cluster.metadata.name)
        member = next_to_restart(stale, fresh)
        if member is None:
            return
        uid = next(pod["metadata"]["uid"] for pod in pods if pod["metadata"]["name"] == member)
        namespace = cluster.metadata.namespace
        if await self._services.kube.delete("Pod", namespace, member, uid=uid):
            obj = self._services.cache.get("RaftCluster", namespace, cluster.metadata.name)
            if obj is not None:
                await self._services.kube.create_event(
                    obj, "Normal", "MemberRestarted", f"{member} is restarted with the new settings"
                )

    async def _wait_for_predecessor(self, cluster: RaftCluster, stateful_set: Mapping[str, Any]) -> None:
        name = stateful_set["metadata"]["name"]
        if controller_uid(stateful_set) is None:
            await self._say_not_ready(
                cluster,
                "NameTaken",
                f"there is a StatefulSet {name} that is not the lab's: delete it, or give this RaftCluster "
                "another name",
            )
        else:
            await self._say_not_ready(
                cluster, "WaitingForPredecessor", f"an earlier StatefulSet {name} is still being deleted"
            )

    async def _say_not_ready(self, cluster: RaftCluster, reason: str, message: str) -> None:
        status = cluster.status.model_copy(
            update={
                "observed_generation": cluster.metadata.generation,
                "conditions": _not_ready(
                    cluster.status.conditions,
                    reason,
                    message,
                    cluster.metadata.generation,
                    self._services,
                ),
            }
        )
        metadata = cluster.metadata
        await self._services.kube.patch_status(
            "RaftCluster", metadata.namespace, metadata.name, status.wire()
        )

    async def _refuse(self, obj: Mapping[str, Any], message: str) -> None:
        """Says what is wrong with a spec; nothing of it is brought about."""
        metadata = obj["metadata"]
        known = [Condition.model_validate(item) for item in (obj.get("status") or {}).get("conditions", [])]
        generation = metadata.get("generation")
        conditions = _not_ready(known, "InvalidSpec", message, generation, self._services)
        status = {
            **(obj.get("status") or {}),
            "observedGeneration": generation,
            "conditions": [condition.wire() for condition in conditions],
        }
        written = await self._services.kube.patch_status(
            "RaftCluster", metadata["namespace"], metadata["name"], status
        )
        if written:
            await self._services.kube.create_event(obj, "Warning", "InvalidSpec", message)


def _not_ready(
    conditions: list[Condition], reason: str, message: str, generation: int | None, services: Services
) -> list[Condition]:
    for kind in ("Ready", "Progressing"):
        conditions = set_condition(
            conditions, kind, False, reason, message, generation=generation, now=services.clock.now()
        )
    return conditions


def cluster_status(
    cluster: RaftCluster,
    summary: Summary,
    pods: list[Mapping[str, Any]],
    stale: list[str],
    *,
    now: Any,
) -> RaftClusterStatus:
    """The whole status, from what was observed."""
    wanted = cluster.spec.replicas
    selector = ",".join(f"{label}={value}" for label, value in sorted(raft_selector(cluster).items()))
    conditions = cluster.status.conditions
    for kind, (status, reason, message) in _conditions(cluster, summary, pods, stale).items():
        conditions = set_condition(
            conditions, kind, status, reason, message, generation=cluster.metadata.generation, now=now
        )
    return RaftClusterStatus(
        observed_generation=cluster.metadata.generation,
        conditions=conditions,
        replicas=len(pods),
        ready_replicas=summary.ready,
        ready_members=f"{summary.ready}/{wanted}",
        selector=selector,
        leader=summary.leader,
        term=summary.term,
        members=list(summary.members),
    )


def _conditions(
    cluster: RaftCluster, summary: Summary, pods: list[Mapping[str, Any]], stale: list[str]
) -> dict[str, tuple[bool, str, str]]:
    wanted = cluster.spec.replicas
    led = f"{summary.leader} leads term {summary.term}"
    waiting = [member.name for member in summary.members if not member.ready]
    if summary.agreed and summary.ready == wanted:
        ready = (True, "AllMembersReady", f"{wanted} of {wanted} members are ready; {led}")
    elif summary.ready < wanted:
        ready = (False, "MembersNotReady", f"not ready: {', '.join(waiting)}{_pod_trouble(pods)}")
    elif summary.leader is None:
        ready = (False, "NoLeader", "all members are ready, but none leads")
    else:
        ready = (False, "LeaderNotAgreed", f"{led}, but not all members follow it yet")
    available = (
        (True, "MajorityFollows", f"{led}, and a majority follows")
        if summary.available
        else (False, "NoMajority", "no leader has a majority of ready members: writes cannot succeed")
    )
    if len(pods) < wanted:
        progressing = (True, "Creating", f"{len(pods)} of {wanted} member pods exist")
    elif stale:
        progressing = (True, "RollingOut", f"still with earlier settings: {', '.join(sorted(stale))}")
    else:
        progressing = (False, "Complete", "all member pods exist with the current settings")
    return {"Ready": ready, "Available": available, "Progressing": progressing}


def _pod_trouble(pods: list[Mapping[str, Any]]) -> str:
    """Why a container of a member waits or fell, as its pod says; empty if none does."""
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                detail = waiting.get("message") or ""
                return f"; {pod['metadata']['name']}: {waiting['reason']} {detail}".rstrip()
    return ""
