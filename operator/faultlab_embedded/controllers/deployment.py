"""Deployments: a ReplicaSet for each template that was, and the way from one to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from faultlab_embedded.controllers import adoption, pods
from faultlab_embedded.controllers.replicaset import RESOURCE as REPLICA_SETS
from faultlab_embedded.controllers.runtime import (
    Source,
    controller_of,
    own_key,
    owner_reference,
)
from faultlab_embedded.node.recorder import Recorder
from faultlab_embedded.node.status import now
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
RESOURCE = "deployments.apps"
HASH_LABEL = "pod-template-hash"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_MOST = "deployment.kubernetes.io/max-replicas"
REVISION = "deployment.kubernetes.io/revision"
_DEFAULT_HISTORY = 10


def absolute(value: int | str | None, total: int, default: str, *, up: bool) -> int:
    """A number or a percentage of `total`, rounded up or down."""
    text = str(default if value is None else value)
    if not text.endswith("%"):
        return int(text)
    share = int(text[:-1]) * total / 100
    return math.ceil(share) if up else math.floor(share)


class DeploymentReconciler:
    """RollingUpdate within maxSurge and maxUnavailable, or Recreate."""

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._registry = registry
        self._recorder = recorder

    def sources(self) -> list[Source]:
        """Deployments, their ReplicaSets, and the pods of those (Recreate waits for the last one to go)."""
        return [
            Source(RESOURCE, own_key),
            Source(REPLICA_SETS, adoption.claim_keys(self._registry, RESOURCE, "Deployment")),
            Source("pods", self._of_pod),
        ]

    def _of_pod(self, event: str, pod: Object) -> list[tuple[str, str]]:
        owner = controller_of(pod)
        if event != "DELETED" or owner is None or owner["kind"] != "ReplicaSet":
            return []
        namespace = pod["metadata"]["namespace"]
        found = self._registry.find(REPLICA_SETS, namespace, owner["name"])
        deployment = controller_of(found.decode()) if found else None
        return [(namespace, deployment["name"])] if deployment else []

    def reconcile(self, namespace: str, name: str) -> None:
        """One look."""
        found = self._registry.find(RESOURCE, namespace, name)
        if found is None:
            return
        obj = found.decode()
        if "deletionTimestamp" not in obj["metadata"]:
            adoption.settle(self._registry, REPLICA_SETS, obj)
            digest = pods.template_hash(obj["spec"]["template"])
            sets = self._sets(obj)
            new = next((s for s in sets if s["metadata"]["labels"].get(HASH_LABEL) == digest), None)
            if new is None and not obj["spec"].get("paused"):
                new = self._create_set(obj, digest, sets)
            self._scale(obj, new, [s for s in sets if new is None or not _same(s, new)])
            self._prune(obj, new)
        self._write_status(namespace, name)

    def _sets(self, obj: Object) -> list[dict[str, Any]]:
        uid = obj["metadata"]["uid"]
        held = self._registry.list(REPLICA_SETS, obj["metadata"]["namespace"])
        return [s for s in held if (controller_of(s) or {}).get("uid") == uid]

    def _create_set(self, obj: Object, digest: str, sets: Sequence[Object]) -> dict[str, Any]:
        meta, spec = obj["metadata"], obj["spec"]
        revision = str(1 + max((_revision(s) for s in sets), default=0))
        template = {**spec["template"]}
        template_meta = template.get("metadata") or {}
        labels = {**(template_meta.get("labels") or {}), HASH_LABEL: digest}
        template["metadata"] = {**template_meta, "labels": labels}
        selector = spec.get("selector") or {}
        match = {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}
        first = _first_replicas(obj, sets)
        set_spec: dict[str, Any] = {"replicas": first, "selector": {**selector, "matchLabels": match}}
        if seconds := spec.get("minReadySeconds"):
            set_spec["minReadySeconds"] = seconds
        made = self._registry.create(
            REPLICA_SETS,
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": f"{meta['name']}-{digest}",
                    "namespace": meta["namespace"],
                    "labels": labels,
                    "annotations": {REVISION: revision, **_sizes(obj)},
                    "ownerReferences": [owner_reference(obj)],
                },
                "spec": {**set_spec, "template": template},
            },
        )
        if first:
            self._tell_scaled(obj, made["metadata"]["name"], 0, first)
        change = {"metadata": {"annotations": {REVISION: revision}}}
        self._registry.patch(RESOURCE, meta["namespace"], meta["name"], change)
        return made

    # Scaling

    def _scale(self, obj: Object, new: Object | None, old: Sequence[Object]) -> None:
        wanted = _replicas(obj)
        strategy = obj["spec"].get("strategy") or {}
        if new is None or obj["spec"].get("paused"):
            active = new or max(old, key=_revision, default=None)
            if active is not None:
                self._set_replicas(obj, active, wanted)
        elif strategy.get("type") == "Recreate":
            self._recreate(obj, new, old, wanted)
        else:
            self._roll(obj, new, old, wanted, strategy.get("rollingUpdate") or {})

    def _recreate(self, obj: Object, new: Object, old: Sequence[Object], wanted: int) -> None:
        for outdated in old:
            self._set_replicas(obj, outdated, 0)
        if not any(pods.owned_pods(self._registry, outdated) for outdated in old):
            self._set_replicas(obj, new, wanted)

    def _roll(
        self, obj: Object, new: Object, old: Sequence[Object], wanted: int, rolling: Mapping[str, Any]
    ) -> None:
        surge = _surge(obj)
        unavailable = absolute(rolling.get("maxUnavailable"), wanted, "25%", up=False)
        if not surge and not unavailable:
            unavailable = 1
        old_total = sum(_replicas(outdated) for outdated in old)
        if _replicas(new) > wanted:
            self._set_replicas(obj, new, wanted)
        else:
            room = wanted + surge - old_total - _replicas(new)
            self._set_replicas(obj, new, min(wanted, _replicas(new) + max(0, room)))
        available = sum(int((s.get("status") or {}).get("availableReplicas") or 0) for s in (new, *old))
        spare = available - (wanted - unavailable)
        for outdated in sorted(old, key=_revision):
            held = _replicas(outdated)
            healthy = int((outdated.get("status") or {}).get("availableReplicas") or 0)
            useless = held - min(held, healthy)
            down = min(held, useless + max(0, min(spare, held - useless)))
            if down:
                spare -= down - useless
                self._set_replicas(obj, outdated, held - down)

    def _set_replicas(self, obj: Object, replica_set: Object, count: int) -> None:
        before = _replicas(replica_set)
        if before == count:
            return
        meta = replica_set["metadata"]
        change = {"spec": {"replicas": count}, "metadata": {"annotations": _sizes(obj)}}
        self._registry.patch(REPLICA_SETS, meta["namespace"], meta["name"], change)
        self._tell_scaled(obj, meta["name"], before, count)

    def _tell_scaled(self, obj: Object, replica_set: str, before: int, count: int) -> None:
        way = "up" if count > before else "down"
        text = f"Scaled {way} replica set {replica_set} from {before} to {count}"
        self._recorder.normal(obj, "ScalingReplicaSet", text)

    def _prune(self, obj: Object, new: Object | None) -> None:
        limit = obj["spec"].get("revisionHistoryLimit")
        limit = _DEFAULT_HISTORY if limit is None else int(limit)
        old = [s for s in self._sets(obj) if new is None or not _same(s, new)]
        idle = [s for s in old if not _replicas(s) and not (s.get("status") or {}).get("replicas")]
        for replica_set in sorted(idle, key=_revision)[: max(0, len(idle) - limit)]:
            meta = replica_set["metadata"]
            self._registry.delete(REPLICA_SETS, meta["namespace"], meta["name"])

    # Status

    def _write_status(self, namespace: str, name: str) -> None:
        found = self._registry.find(RESOURCE, namespace, name)
        if found is None:
            return
        obj = found.decode()
        sets = self._sets(obj)
        digest = pods.template_hash(obj["spec"]["template"])
        new = [s for s in sets if s["metadata"]["labels"].get(HASH_LABEL) == digest]
        counts = {
            key: sum(int((s.get("status") or {}).get(key) or 0) for s in sets)
            for key in ("replicas", "readyReplicas", "availableReplicas")
        }
        counts["updatedReplicas"] = sum(int((s.get("status") or {}).get("replicas") or 0) for s in new)
        wanted = _replicas(obj)
        every = sum(_replicas(s) for s in sets)
        counts["unavailableReplicas"] = max(0, every - counts["availableReplicas"])
        status: dict[str, Any] = {key: value for key, value in counts.items() if value}
        status["observedGeneration"] = obj["metadata"].get("generation", 1)
        status["conditions"] = _conditions(obj, counts, wanted, new)
        pods.set_status(self._registry, RESOURCE, obj, status)


def _conditions(
    obj: Object, counts: Mapping[str, int], wanted: int, new: Sequence[Object]
) -> list[dict[str, Any]]:
    rolling = (obj["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    may_miss = absolute(rolling.get("maxUnavailable"), wanted, "25%", up=False)
    what = f'ReplicaSet "{new[0]["metadata"]["name"]}"' if new else f'Deployment "{obj["metadata"]["name"]}"'
    enough = counts["availableReplicas"] >= wanted - may_miss
    done = counts["updatedReplicas"] == wanted == counts["availableReplicas"] == counts["replicas"]
    minimum = (
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if enough
        else ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    )
    progress = (
        ("True", "NewReplicaSetAvailable", f"{what} has successfully progressed.")
        if done
        else ("True", "ReplicaSetUpdated", f"{what} is progressing.")
    )
    before = {c["type"]: c for c in (obj.get("status") or {}).get("conditions") or ()}
    conditions = []
    for kind, (status, reason, message) in (("Available", minimum), ("Progressing", progress)):
        old = before.get(kind, {})
        same = old.get("status") == status
        updated = old.get("lastUpdateTime", now()) if old.get("reason") == reason else now()
        conditions.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastTransitionTime": old.get("lastTransitionTime", now()) if same else now(),
                "lastUpdateTime": updated,
            }
        )
    return conditions


def _surge(obj: Object) -> int:
    """Pods that a rolling update may have beyond the wanted ones."""
    strategy = obj["spec"].get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0
    rolling = strategy.get("rollingUpdate") or {}
    return absolute(rolling.get("maxSurge"), _replicas(obj), "25%", up=True)


def _sizes(obj: Object) -> dict[str, str]:
    """What Kubernetes notes in a Deployment's ReplicaSets, for scaling in proportion."""
    wanted = _replicas(obj)
    return {_DESIRED: str(wanted), _MOST: str(wanted + _surge(obj))}


def _first_replicas(obj: Object, sets: Sequence[Object]) -> int:
    """With how many replicas a new ReplicaSet begins; Recreate waits for the old pods to go."""
    wanted, held = _replicas(obj), sum(map(_replicas, sets))
    if (obj["spec"].get("strategy") or {}).get("type") == "Recreate" and sets:
        return 0
    return max(0, min(wanted, wanted + _surge(obj) - held))


def _replicas(obj: Object) -> int:
    wanted = obj["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def _revision(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION) or 0)


def _same(one: Object, other: Object) -> bool:
    return bool(one["metadata"]["uid"] == other["metadata"]["uid"])
