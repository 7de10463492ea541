"""StatefulSets: pods with a number, a name and claims of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faultlab_embedded.controllers import adoption, pods, revisions
from faultlab_embedded.controllers.claims import claim_names, settle_owner, wanted_owner
from faultlab_embedded.controllers.runtime import Source, own_key, owner_reference
from faultlab_embedded.node.recorder import Recorder
from faultlab_embedded.store.errors import ApiError, Conflict
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
RESOURCE = "statefulsets.apps"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
_MIN_READY_CHECK_S = 1.0


@dataclass(frozen=True, slots=True)
class _Set:
    """One look at a StatefulSet and its pods."""

    obj: Object
    pods: dict[int, dict[str, Any]]
    current: str
    update: str

    @property
    def namespace(self) -> str:
        return str(self.obj["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.obj["metadata"]["name"])

    @property
    def start(self) -> int:
        return int((self.obj["spec"].get("ordinals") or {}).get("start") or 0)

    @property
    def replicas(self) -> int:
        wanted = self.obj["spec"].get("replicas")
        return 1 if wanted is None else int(wanted)

    @property
    def wanted(self) -> range:
        return range(self.start, self.start + self.replicas)

    @property
    def parallel(self) -> bool:
        return bool(self.obj["spec"].get("podManagementPolicy") == "Parallel")

    @property
    def min_ready_s(self) -> float:
        return float(self.obj["spec"].get("minReadySeconds") or 0)

    @property
    def strategy(self) -> str:
        return str((self.obj["spec"].get("updateStrategy") or {}).get("type") or "RollingUpdate")

    @property
    def partition(self) -> int:
        rolling = (self.obj["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        return int(rolling.get("partition") or 0)


class StatefulSetReconciler:
    """One step at a time for OrderedReady, all at once for Parallel; updates always one by one, the last
    first."""

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._registry = registry
        self._recorder = recorder

    def sources(self) -> list[Source]:
        """The sets, and the pods that they own or may take."""
        claims = adoption.claim_keys(self._registry, RESOURCE, "StatefulSet")
        return [Source(RESOURCE, own_key), Source("pods", claims)]

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Creates, deletes and replaces pods as the spec says; writes the status."""
        found = self._registry.find(RESOURCE, namespace, name)
        if found is None:
            return None
        obj = found.decode()
        if "deletionTimestamp" in obj["metadata"]:
            return None
        adoption.settle(self._registry, revisions.RESOURCE, obj)
        adoption.settle(self._registry, "pods", obj, lambda pod: _ordinal(obj, pod) is not None)
        look = self._look(obj)
        try:
            self._step(look)
        finally:
            self._write_status(self._look(obj))
        waits = look.min_ready_s and any(
            pods.is_ready(p) and not pods.is_available(p, look.min_ready_s) for p in look.pods.values()
        )
        return _MIN_READY_CHECK_S if waits else None

    def _look(self, obj: Object) -> _Set:
        update, _ = revisions.update_revision(self._registry, obj, hash_label_is_name=True)
        current = (obj.get("status") or {}).get("currentRevision") or update
        own = {}
        for pod in pods.owned_pods(self._registry, obj):
            number = _ordinal(obj, pod["metadata"]["name"])
            if number is not None:
                own[number] = pod
        return _Set(obj, own, current, update)

    # Pods

    def _step(self, look: _Set) -> None:
        for number, held in look.pods.items():
            settle_owner(self._registry, look.obj, number, held, number not in look.wanted)
        for number in look.wanted:
            pod = look.pods.get(number)
            if pod is None:
                self._create(look, number)
                healthy = False
            elif pods.is_finished(pod) and not pods.is_terminating(pod):
                self._delete(look, pod)
                healthy = False
            else:
                healthy = pods.is_available(pod, look.min_ready_s)
            if not healthy and not look.parallel:
                return
        surplus = sorted((n for n in look.pods if n not in look.wanted), reverse=True)
        for number in surplus:
            if not pods.is_terminating(look.pods[number]):
                self._delete(look, look.pods[number])
            if not look.parallel:
                return
        if look.strategy == "RollingUpdate":
            self._roll(look)

    def _roll(self, look: _Set) -> None:
        """Replaces one pod of an old revision, the highest number first, when all above it are healthy."""
        for number in reversed(look.wanted):
            pod = look.pods.get(number)
            if pod is None or number < look.start + look.partition:
                return
            if _revision(pod) != look.update and not pods.is_terminating(pod):
                self._delete(look, pod)
                return
            if not pods.is_available(pod, look.min_ready_s):
                return

    def _create(self, look: _Set, number: int) -> None:
        name = f"{look.name}-{number}"
        try:
            claims = self._make_claims(look, number)
            self._registry.create("pods", self._pod(look, number, claims))
        except ApiError as error:
            text = f"create Pod {name} in StatefulSet {look.name} failed error: {error}"
            self._recorder.warning(look.obj, "FailedCreate", text)
            raise
        text = f"create Pod {name} in StatefulSet {look.name} successful"
        self._recorder.normal(look.obj, "SuccessfulCreate", text)

    def _delete(self, look: _Set, pod: Object) -> None:
        name = pod["metadata"]["name"]
        self._registry.delete("pods", look.namespace, name)
        text = f"delete Pod {name} in StatefulSet {look.name} successful"
        self._recorder.normal(look.obj, "SuccessfulDelete", text)

    def _pod(self, look: _Set, number: int, claims: dict[str, str]) -> dict[str, Any]:
        old = look.strategy == "RollingUpdate" and number < look.start + look.partition
        revision = look.current if old else look.update
        template = revisions.template_of(self._registry, look.obj, revision)
        name = f"{look.name}-{number}"
        labels = {
            POD_NAME_LABEL: name,
            POD_INDEX_LABEL: str(number),
            revisions.HASH_LABEL: revision,
        }
        pod = pods.from_template(look.obj, template, labels)
        pod["metadata"] |= {"name": name, "generateName": f"{look.name}-"}
        spec = pod["spec"]
        spec["hostname"] = name
        if look.obj["spec"].get("serviceName"):
            spec["subdomain"] = look.obj["spec"]["serviceName"]
        volumes = [v for v in spec.get("volumes") or () if v["name"] not in claims]
        volumes += [
            {"name": volume, "persistentVolumeClaim": {"claimName": claim}}
            for volume, claim in claims.items()
        ]
        if volumes:
            spec["volumes"] = volumes
        return pod

    def _make_claims(self, look: _Set, number: int) -> dict[str, str]:
        """The claims of one pod, made where missing: volume name -> claim name."""
        claims = claim_names(look.obj, number)
        match_labels = (look.obj["spec"].get("selector") or {}).get("matchLabels") or {}
        for template in look.obj["spec"].get("volumeClaimTemplates") or ():
            volume = template["metadata"]["name"]
            name = claims[volume]
            there = self._registry.find("persistentvolumeclaims", look.namespace, name)
            if there is not None and "deletionTimestamp" in there.decode()["metadata"]:
                raise Conflict(f"pvc {name} is being deleted")
            if there is not None:
                continue
            labels = {**(template["metadata"].get("labels") or {}), **match_labels}
            meta: dict[str, Any] = {"name": name, "namespace": look.namespace, "labels": labels}
            if annotations := template["metadata"].get("annotations"):
                meta["annotations"] = annotations
            if owner := wanted_owner(look.obj, {}, scaled_away=False):
                meta["ownerReferences"] = [owner_reference(owner)]
            claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta}
            self._registry.create("persistentvolumeclaims", {**claim, "spec": template["spec"]})
        return claims

    # Status

    def _write_status(self, look: _Set) -> None:
        held = list(look.pods.values())
        ready = [pod for pod in held if pods.condition(pod, "Ready")]
        available = [pod for pod in held if pods.is_available(pod, look.min_ready_s)]
        updated = [p for p in held if _revision(p) == look.update and not pods.is_terminating(p)]
        current = look.current
        complete = len(updated) == look.replicas == len(ready) == len(held)
        if look.strategy == "RollingUpdate" and complete:
            current = look.update
        at_current = [p for p in held if _revision(p) == current and not pods.is_terminating(p)]
        status = {
            "observedGeneration": look.obj["metadata"].get("generation", 1),
            "replicas": len(held),
            "availableReplicas": len(available),
            "currentRevision": current,
            "updateRevision": look.update,
            "collisionCount": 0,
        }
        counts = {"readyReplicas": ready, "currentReplicas": at_current, "updatedReplicas": updated}
        status |= {field: len(counted) for field, counted in counts.items() if counted}
        latest = self._registry.find(RESOURCE, look.namespace, look.name)
        if latest is not None and latest.uid == look.obj["metadata"]["uid"]:
            pods.set_status(self._registry, RESOURCE, latest.decode(), status)
        in_use = {_revision(pod) for pod in held} | {current, look.update}
        revisions.prune(self._registry, look.obj, in_use)


def _ordinal(obj: Object, pod: str) -> int | None:
    """The number in the name of a pod that the set could have made."""
    match = re.fullmatch(re.escape(obj["metadata"]["name"]) + r"-(\d+)", pod)
    return int(match.group(1)) if match else None


def _revision(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(revisions.HASH_LABEL, ""))
