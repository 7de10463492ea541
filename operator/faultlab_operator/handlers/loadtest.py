"""LoadTest: waits for its system, starts one load pod once, says how the load goes."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from faultlab.contract.load import LoadStatus
from faultlab_operator.api import Condition, LoadTest, LoadTestStatus, RaftCluster
from faultlab_operator.core import Key, Services
from faultlab_operator.errors import Refused
from faultlab_operator.handlers.ownership import controller_uid, is_going
from faultlab_operator.handlers.problems import model_problem
from faultlab_operator.kube.conditions import condition_is, set_condition
from faultlab_operator.render.loadtest import load_children, load_pod_name
from faultlab_operator.render.raftcluster import peer_addresses

log = logging.getLogger(__name__)

WAITING_S: Final = 1.0
COUNTERS_S: Final = 1.0
"""Between writes of a status in which only numbers moved."""
REFUSED_S: Final = 30.0

_PHASES: Final = {
    "starting": "Starting",
    "running": "Running",
    "finishing": "Finishing",
    "finished": "Finished",
    "failed": "Failed",
}


class LoadTestReconciler:
    """Level-triggered. A load pod is made once: one that is gone or has failed is not replaced, since
    a second one would write a second history over the first."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._counted: dict[Key, float] = {}

    async def reconcile(self, key: Key) -> float | None:
        """See `Reconciler`."""
        services = self._services
        obj = services.cache.get(*key)
        if obj is None or is_going(obj):
            self._counted.pop(key, None)
            services.loads.forget(key.namespace, key.name)
            return None
        try:
            load = LoadTest.parse(obj)
        except ValidationError as error:
            await self._refuse(obj, model_problem(error))
            return None
        pod = services.cache.get("Pod", key.namespace, load_pod_name(key.name))
        if pod is not None and controller_uid(pod) != load.metadata.uid:
            message = f"an earlier pod {load_pod_name(key.name)} is still there; it must go first"
            await self._say(load, "Waiting", False, "WaitingForPredecessor", message)
            return WAITING_S
        if pod is None:
            services.loads.forget(key.namespace, key.name)
            return await self._without_pod(load)
        return await self._with_pod(key, load, pod)

    async def _without_pod(self, load: LoadTest) -> float | None:
        if load.status.pod is not None:
            if load.status.phase not in ("Finished", "Failed"):
                message = (
                    f"the load's pod {load.status.pod} was deleted; a load runs once: create another LoadTest"
                )
                await self._say(load, "Failed", False, "PodGone", message)
            return None
        namespace, system = load.metadata.namespace, load.spec.system
        found = self._services.cache.get(system.kind, namespace, system.name)
        if found is None:
            message = (
                f"there is no {system.kind} {system.name} in namespace {namespace}: create it, or write "
                "another name in spec.system"
            )
            await self._say(load, "Waiting", False, "SystemNotFound", message)
            return WAITING_S
        cluster = RaftCluster.parse(found)
        if not condition_is(cluster.status.conditions, "Ready"):
            message = f"{system.kind} {system.name} is not Ready yet"
            await self._say(load, "Waiting", False, "SystemNotReady", message)
            return WAITING_S
        return await self._start(load, cluster)

    async def _start(self, load: LoadTest, cluster: RaftCluster) -> float | None:
        seed = int(load.metadata.uid.replace("-", "")[:12] or "1", 16)
        children = load_children(load, peer_addresses(cluster), seed, self._services.settings.image)
        try:
            for child in children:
                await self._services.kube.apply(child)
        except Refused as error:
            await self._say(
                load, "Waiting", False, "ChildRefused", f"the API server refused a child: {error}"
            )
            return REFUSED_S
        await self._say(
            load,
            "Starting",
            False,
            "Starting",
            "the load's pod is starting",
            pod=load_pod_name(load.metadata.name),
        )
        return WAITING_S

    async def _with_pod(self, key: Key, load: LoadTest, pod: Mapping[str, Any]) -> float | None:
        services = self._services
        address = (pod.get("status") or {}).get("podIP")
        ended = (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")
        if address and not ended and not is_going(pod):
            services.loads.follow(key.namespace, key.name, address)
        else:
            services.loads.forget(key.namespace, key.name)
        status = services.loads.status(key.namespace, key.name)
        name = pod["metadata"]["name"]
        if ended and load.status.phase != "Finished":
            await self._say(load, "Failed", False, "PodEnded", _why_ended(pod), pod=name)
            return None
        if status is None:
            if load.status.phase != "Finished":
                await self._say(load, "Starting", False, "Starting", _why_pending(pod), pod=name)
            return WAITING_S
        now = services.clock.monotonic()
        phase = _PHASES[status.phase]
        wait = self._counted.get(key, -COUNTERS_S) + COUNTERS_S - now
        if phase == load.status.phase and wait > 0:
            return wait
        self._counted[key] = now
        await self._say(load, phase, phase == "Running", phase, _words(status), pod=name, numbers=status)
        return None if phase in ("Finished", "Failed") else WAITING_S

    async def _say(
        self,
        load: LoadTest,
        phase: str,
        ready: bool,
        reason: str,
        message: str,
        *,
        pod: str | None = None,
        numbers: LoadStatus | None = None,
    ) -> None:
        """Writes the whole status; numbers that are not given stay as they were."""
        metadata = load.metadata
        conditions = set_condition(
            load.status.conditions,
            "Ready",
            ready,
            reason,
            message,
            generation=metadata.generation,
            now=self._services.clock.now(),
        )
        changes: dict[str, Any] = {
            "observed_generation": metadata.generation,
            "conditions": conditions,
            "phase": phase,
            "pod": pod or load.status.pod,
        }
        if changes["pod"] is not None:
            changes["url"] = page_url(self._services.settings.locust_url, metadata.namespace, changes["pod"])
        if numbers is not None:
            changes |= _numbers(numbers)
        status: LoadTestStatus = load.status.model_copy(update=changes)
        await self._services.kube.patch_status("LoadTest", metadata.namespace, metadata.name, status.wire())

    async def _refuse(self, obj: Mapping[str, Any], message: str) -> None:
        metadata = obj["metadata"]
        known = [Condition.model_validate(item) for item in (obj.get("status") or {}).get("conditions", [])]
        conditions = set_condition(
            known, "Ready", False, "InvalidSpec", message,
            generation=metadata.get("generation"), now=self._services.clock.now(),
        )  # fmt: skip
        status = {
            **(obj.get("status") or {}),
            "observedGeneration": metadata.get("generation"),
            "conditions": [condition.wire() for condition in conditions],
        }
        await self._services.kube.patch_status("LoadTest", metadata["namespace"], metadata["name"], status)


def page_url(locust_url: str, namespace: str, pod: str) -> str | None:
    """Locust's own page by way of the operator; None where people's browsers do not reach that."""
    return f"{locust_url}/{namespace}/{pod}/" if locust_url else None


def _numbers(status: LoadStatus) -> dict[str, Any]:
    window = status.window
    return {
        "operations": status.ok + status.fail + status.info,
        "ok": status.ok,
        "fail": status.fail,
        "info": status.info,
        "missed": status.missed,
        "operations_per_second": round(window.operations_per_second, 1),
        "p50_ms": None if window.p50_ms is None else round(window.p50_ms, 2),
        "p99_ms": None if window.p99_ms is None else round(window.p99_ms, 2),
    }


def _words(status: LoadStatus) -> str:
    if status.message:
        return status.message
    return f"{status.users} users; {status.phase}"


def _why_pending(pod: Mapping[str, Any]) -> str:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return f"the load's pod waits: {waiting['reason']} {waiting.get('message') or ''}".rstrip()
    return "the load's pod is starting"


def _why_ended(pod: Mapping[str, Any]) -> str:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended:
            detail = ended.get("message") or ended.get("reason") or ""
            return f"the load's process ended with exit code {ended.get('exitCode')}: {detail}".rstrip(": ")
    return "the load's pod ended"
