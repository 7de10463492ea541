"""RaftCluster: applies its children, follows its members, rolls them, says how it is."""

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from faultlab_operator.api import Condition, RaftCluster
from faultlab_operator.core import Key, Services
from faultlab_operator.errors import Refused, SecretUnusable
from faultlab_operator.handlers.elections import ElectionAnnouncer
from faultlab_operator.handlers.ownership import controller_uid, is_going
from faultlab_operator.handlers.problems import cluster_problem, model_problem
from faultlab_operator.handlers.raftstatus import cluster_status, is_rolled_out, rollout_news
from faultlab_operator.handlers.roller import Roller
from faultlab_operator.handlers.rollout import look
from faultlab_operator.kube.conditions import condition_is, set_condition
from faultlab_operator.kube.peer_key import PeerKeys
from faultlab_operator.members.summary import summarise
from faultlab_operator.membership import SETTLED, MembershipKeeper, Outcome, membership_news
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
CHANGING_S: Final = 0.5
"""The same while members come and go: each step waits for the last one."""
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
        self._keys = PeerKeys(services.kube, services.clock)
        self._members = MembershipKeeper(services, self._keys)
        self._roller = Roller(services, self._keys)
        self._applied: dict[Key, _Applied] = {}

    async def reconcile(self, key: Key) -> float | None:
        """See `Reconciler`."""
        services = self._services
        obj = services.cache.get(*key)
        if obj is None or is_going(obj):
            self._applied.pop(key, None)
            self._keys.forget(key)
            self._members.forget(key)
            self._roller.forget(key)
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
        try:
            await self._keys.establish(key, cluster)
        except SecretUnusable as error:
            await self._say_not_ready(cluster, "KeyUnusable", str(error))
            return UNSETTLED_S
        await self._note_beginning(key, cluster)
        pods, pods_now = self._pods(cluster), self._pods_wanted_now(cluster)
        outcome = await self._members.settle(key, cluster, pods, pods_now)
        image = cluster.spec.image or self._services.settings.image
        children = raft_children(cluster, image, outcome.membership)
        try:
            await self._apply(key, cluster, children)
        except Refused as error:
            await self._say_not_ready(cluster, "ChildRefused", f"the API server refused a child: {error}")
            return REAPPLY_S
        await self._members.tidy(key, cluster, pods, outcome)
        self._follow(key, cluster, outcome)
        wanted_hash = config_hash_of(next(child for child in children if child["kind"] == "StatefulSet"))
        names = member_names(key.name, outcome.membership.pods)
        await self._roller.roll(key, cluster, names, wanted_hash, lambda: self._pods(cluster))
        return await self._say(key, cluster, outcome, wanted_hash)

    async def _say(self, key: Key, cluster: RaftCluster, outcome: Outcome, wanted_hash: str) -> float:
        """Writes the status, posts what is news in it, and says when to look again."""
        services = self._services
        views = services.members.statuses(key.namespace, key.name)
        names = member_names(key.name, outcome.membership.pods)
        members = look(names, self._pods(cluster), wanted_hash, views)
        status = cluster_status(cluster, summarise(views), members, outcome, now=services.clock.now())
        if await services.kube.patch_status(*key, status.wire()):
            rolled = rollout_news(cluster.status, status)
            for news in [*membership_news(cluster.status, status), *([rolled] if rolled else [])]:
                await services.announce(key, news)
        if not condition_is(status.conditions, SETTLED) and status.leader is not None:
            return CHANGING_S
        settled = services.members.settled(key.namespace, key.name) and is_rolled_out(status)
        return REAPPLY_S if settled and all(member.ready for member in members) else UNSETTLED_S

    async def _note_beginning(self, key: Key, cluster: RaftCluster) -> None:
        """With how many members the cluster begins, written down before any of them can start: a spec that
        changes before all have started must not have them begin as different clusters."""
        if cluster.status.initial_replicas is not None:
            return
        there = self._pods_wanted_now(cluster)
        cluster.status.initial_replicas = cluster.spec.replicas if there is None else there
        await self._services.kube.patch_status(*key, cluster.status.wire())

    def _follow(self, key: Key, cluster: RaftCluster, outcome: Outcome) -> None:
        """Has the members followed that have an address."""
        names = member_names(key.name, outcome.membership.pods)
        pods = {pod["metadata"]["name"]: pod for pod in self._pods(cluster) if not is_going(pod)}
        addresses = {
            name: pods[name]["status"]["podIP"]
            for name in names
            if name in pods and (pods[name].get("status") or {}).get("podIP")
        }
        uids = {name: pod["metadata"]["uid"] for name, pod in pods.items()}
        self._services.members.follow(key.namespace, key.name, names, addresses, uids)
        self._announcer.watch(key.namespace, key.name)

    async def _apply(self, key: Key, cluster: RaftCluster, children: list[dict[str, Any]]) -> None:
        """Applies the children if they changed, one is gone, the StatefulSet was changed by somebody else,
        or it is long ago."""
        now = self._services.clock.monotonic()
        wanted = digest(cluster.metadata.uid, children)
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

    def _pods_wanted_now(self, cluster: RaftCluster) -> int | None:
        """How many pods the StatefulSet is to have; None where there is none yet."""
        metadata = cluster.metadata
        stateful_set = self._services.cache.get("StatefulSet", metadata.namespace, metadata.name)
        return None if stateful_set is None else int(stateful_set["spec"].get("replicas", 1))

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
