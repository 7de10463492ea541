"""What `kubectl get pods` tells of a pod (kubernetes/pkg/printers/internalversion, printPod)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faultlab_embedded.kinds.ages import since
from faultlab_embedded.store.strategy import Object

_ENDS = {
    "Succeeded": ("Succeeded", "The pod has completed successfully."),
    "Failed": ("Failed", "The pod failed."),
}


def pod_ready(obj: Object) -> str:
    statuses = obj.get("status", {}).get("containerStatuses") or []
    return f"{sum(bool(status.get('ready')) for status in statuses)}/{len(obj['spec']['containers'])}"


def pod_status(obj: Object) -> str:
    """The pod's phase, or what is more telling: a container's waiting or termination reason."""
    status = obj.get("status", {})
    reason = status.get("reason") or status.get("phase") or "Unknown"
    begun = _initializing(status)
    if begun:
        reason = _init_reason(begun, len(obj["spec"].get("initContainers") or []))
    else:
        running = False
        for container in reversed(status.get("containerStatuses") or []):
            state = container.get("state", {})
            if waiting := state.get("waiting", {}).get("reason"):
                reason = waiting
            elif terminated := state.get("terminated"):
                reason = _ended(terminated)
            elif container.get("ready") and "running" in state:
                running = True
        if reason == "Completed" and running:
            reason = "Running"
    return "Terminating" if "deletionTimestamp" in obj["metadata"] else str(reason)


def pod_restarts(obj: Object) -> str:
    """How often containers were started again, and when the last time was: the init containers' as long as
    they run."""
    status = obj.get("status", {})
    statuses = _initializing(status) or status.get("containerStatuses") or []
    count = sum(status.get("restartCount", 0) for status in statuses)
    ends = [
        status["lastState"]["terminated"]["finishedAt"]
        for status in statuses
        if status.get("lastState", {}).get("terminated", {}).get("finishedAt")
    ]
    return f"{count} ({since(max(ends))} ago)" if count and ends else str(count)


def row_conditions(obj: Object) -> list[Object]:
    """What a table says of the row of a pod that is over."""
    if obj.get("kind") != "Pod" or (end := _ENDS.get(obj.get("status", {}).get("phase", ""))) is None:
        return []
    return [{"type": "Completed", "status": "True", "reason": end[0], "message": end[1]}]


def _initializing(status: Object) -> list[Object]:
    """The init containers up to the first that has not succeeded; none where all have."""
    seen = []
    for container in status.get("initContainerStatuses") or []:
        seen.append(container)
        if container.get("state", {}).get("terminated", {}).get("exitCode") != 0:
            return seen
    return []


def _init_reason(begun: list[Object], total: int) -> str:
    state = begun[-1].get("state", {})
    if terminated := state.get("terminated"):
        return f"Init:{_ended(terminated)}"
    waiting = state.get("waiting", {}).get("reason")
    return f"Init:{waiting}" if waiting and waiting != "PodInitializing" else f"Init:{len(begun) - 1}/{total}"


def _ended(terminated: Mapping[str, Any]) -> str:
    signal = terminated.get("signal")
    fallback = f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode')}"
    return str(terminated.get("reason") or fallback)
