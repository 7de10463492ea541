"""RaftCluster: applies its children, follows its members, rolls them, says how it is."""

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from faultlab.contract.run import MemberView
from faultlab_operator.api import Condition, RaftCluster
from faultlab_operator.core import Key, Services
from faultlab_operator.errors import Refused
from faultlab_operator.handlers.elections import ElectionAnnouncer
from faultlab_operator.handlers.ownership import controller_uid, is_going
from faultlab_operator.handlers.problems import cluster_problem, model_problem
from faultlab_operator.handlers.raftstatus import Announcement, cluster_status, is_rolled_out, rollout_news
from faultlab_operator.handlers.rollout import Member, look, next_to_restart
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
"""Children are applied again after this even if nothing changed, in case somebody changed one of those
that are not watched."""


class _Applied(NamedTuple):
    """What was applied last."""

    wanted: str
    """A digest of the children."""
    generation: int | None
    """The StatefulSet's after it; another one means that somebody changed its spec."""
    at: float


class RaftClusterReconciler:
    """Level-triggered; keeps nothing but when it last applied what."""

    def __init__(self, services: Services, announcer: ElectionAnnouncer) -> None:
        self._services = services
        self._announcer = announcer
        self._applied: dict[Key, _Applied] = {}
        self._restarted: dict[Key, str] = {}
        """The uid of the pod that was deleted last: the cache may show it unchanged for a moment."""

    async def reconcile(self, key: Key) -> float | None:
        """See `Reconciler`."""
        services = self._services
        obj = services.cache.get(*key)
        if obj is None or is_going(obj):
            self._applied.pop(key, None)
            self._restarted.pop(key, None)
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
        children = raft_children(cluster, cluster.spec.image or services.settings.image)
        try:
            await self._apply(key, cluster.metadata.uid, children)
        except Refused as error:
            await self._say_not_ready(cluster, "ChildRefused", f"the API server refused a child: {error}")
            return REAPPLY_S
        self._follow(key, cluster)
        wanted_hash = config_hash_of(next(child for child in children if child["kind"] == "StatefulSet"))
        await self._roll(key, cluster, wanted_hash)
        summary, members = self._look(key, cluster, wanted_hash)
        status = cluster_status(cluster, summary, members, now=services.clock.now())
        if await services.kube.patch_status(*key, status.wire()):
            await self._announce(key, rollout_news(cluster.status, status))
        settled = services.members.settled(key.namespace, key.name) and is_rolled_out(status)
        return REAPPLY_S if settled and all(member.ready for member in members) else UNSETTLED_S

    def _follow(self, key: Key, cluster: RaftCluster) -> None:
        """Has the members followed that have an address."""
        names = member_names(key.name, cluster.spec.replicas)
        pods = {pod["metadata"]["name"]: pod for pod in self._pods(cluster) if not is_going(pod)}
        addresses = {
            name: pods[name]["status"]["podIP"]
            for name in names
            if name in pods and (pods[name].get("status") or {}).get("podIP")
        }
        uids = {name: pod["metadata"]["uid"] for name, pod in pods.items()}
        self._services.members.follow(key.namespace, key.name, names, addresses, uids)
        self._announcer.watch(key.namespace, key.name)

    def _look(
        self, key: Key, cluster: RaftCluster, wanted_hash: str, views: Mapping[str, MemberView] | None = None
    ) -> tuple[Summary, tuple[Member, ...]]:
        """The cluster as the caches show it now; its members as in `views`, if given."""
        if views is None:
            views = self._services.members.statuses(key.namespace, key.name)
        names = member_names(key.name, cluster.spec.replicas)
        return summarise(views), look(names, self._pods(cluster), wanted_hash, views)

    async def _apply(self, key: Key, uid: str, children: list[dict[str, Any]]) -> None:
        """Applies the children if they changed, one is gone, the StatefulSet was changed by somebody else,
        or it is long ago."""
        now = self._services.clock.monotonic()
        wanted = digest(uid, children)
        applied = self._applied.get(key)
        there = self._services.cache.get("StatefulSet", key.namespace, key.name)
        if (
            applied is not None
            and there is not None
            and (applied.wanted, applied.generation) == (wanted, there["metadata"].get("generation"))
            and now - applied.at < REAPPLY_S
        ):
            return
        generation = None
        for child in children:
            answer = await self._services.kube.apply(child)
            if child["kind"] == "StatefulSet":
                generation = answer["metadata"].get("generation")
        self._applied[key] = _Applied(wanted, generation, now)

    def _pods(self, cluster: RaftCluster) -> list[Mapping[str, Any]]:
        """The members' pods: those of this cluster's own StatefulSet, those that are going as well."""
        metadata = cluster.metadata
        stateful_set = self._services.cache.get("StatefulSet", metadata.namespace, metadata.name)
        if stateful_set is None:
            return []
        uid = stateful_set["metadata"].get("uid")
        found = self._services.cache.list("Pod", metadata.namespace, raft_selector(cluster))
        return [pod for pod in found if controller_uid(pod) == uid]

    async def _roll(self, key: Key, cluster: RaftCluster, wanted_hash: str) -> None:
        """Restarts a member if it is its turn."""
        if not self._template_was_seen(key, wanted_hash):
            return
        summary, members = self._look(key, cluster, wanted_hash)
        if next_to_restart(members, summary.leader) is None:
            return
        # What was polled may be seconds old: restarting a member is decided on what is true now.
        fresh = await self._services.members.refresh(key.namespace, key.name)
        summary, members = self._look(key, cluster, wanted_hash, fresh)
        member = next_to_restart(members, summary.leader)
        if member is None or self._restarted.get(key) == member.uid:
            return
        if await self._services.kube.delete("Pod", key.namespace, member.name, uid=member.uid):
            self._restarted[key] = member.uid
            log.info("%s: %s is restarted with the new template", key, member.name)
            text = f"{member.name} is restarted with the new template"
            await self._announce(key, Announcement("Normal", "MemberRestarted", text))

    def _template_was_seen(self, key: Key, wanted_hash: str) -> bool:
        """Whether the StatefulSet's controller knows the template: until then it may make pods of the
        last one."""
        stateful_set = self._services.cache.get("StatefulSet", key.namespace, key.name)
        if stateful_set is None or config_hash_of(stateful_set) != wanted_hash:
            return False
        seen = (stateful_set.get("status") or {}).get("observedGeneration", 0)
        return bool(seen >= stateful_set["metadata"].get("generation", 0))

    async def _announce(self, key: Key, news: Announcement | None) -> None:
        obj = self._services.cache.get(*key)
        if obj is not None and news is not None:
            await self._services.kube.create_event(obj, *news)

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
