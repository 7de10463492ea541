"""The pod's status computed from its containers' states. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Object = Mapping[str, Any]


def now() -> str:
    """The time of statuses: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """A container's state before it runs, or between two runs."""
    body = {"reason": reason}
    if message:
        body["message"] = message
    return {"waiting": body}


_CREATING = waiting("ContainerCreating")


@dataclass(slots=True)
class ContainerState:
    """One container as the node knows it; `state` and `last` are ContainerStates as on the wire."""

    name: str
    image: str
    state: dict[str, Any] = field(default_factory=lambda: waiting("ContainerCreating"))
    last: dict[str, Any] = field(default_factory=dict)
    container_id: str = ""
    restarts: int = 0
    started: bool = False
    """Runs, and its startup probe (if any) has succeeded."""
    ready: bool = False
    final: bool = False
    """Ended and will not be started again."""

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def succeeded(self) -> bool:
        return self.final and self.state.get("terminated", {}).get("exitCode") == 0

    def to_wire(self) -> dict[str, Any]:
        """An entry of `containerStatuses`."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"embedded://{self.image}" if self.container_id else "",
            "containerID": f"embedded://{self.container_id}" if self.container_id else "",
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": self.started,
            "state": self.state,
            "lastState": self.last,
        }


def phase(init: Sequence[ContainerState], main: Sequence[ContainerState]) -> str:
    """The pod's phase as kubelet computes it from its containers."""
    if any(state.final and not state.succeeded for state in init):
        return "Failed"
    if not all(state.succeeded for state in init):
        return "Pending"
    if all(state.final for state in main):
        return "Succeeded" if all(state.succeeded for state in main) else "Failed"
    if any(not state.running and not state.last and not state.final for state in main):
        return "Pending"
    return "Running"


def pod_status(
    pod: Object,
    init: Sequence[ContainerState],
    main: Sequence[ContainerState],
    *,
    pod_ip: str,
    host_ip: str,
    start_time: str,
) -> dict[str, Any]:
    """The whole status; conditions keep their transition time where their status did not change."""
    spec = pod["spec"]
    current = phase(init, main)
    initialized = all(state.succeeded for state in init)
    ready = current == "Running" and all(state.ready for state in main)
    done = current == "Succeeded"
    unready = [state.name for state in main if not state.ready]
    not_ready = (
        "PodCompleted" if done else "ContainersNotReady",
        "" if done else f"containers with unready status: [{' '.join(unready)}]",
    )
    not_initialized = (
        "ContainersNotInitialized",
        f"containers with incomplete status: [{' '.join(s.name for s in init if not s.succeeded)}]",
    )
    status: dict[str, Any] = {
        "phase": current,
        "conditions": _conditions(
            pod,
            [
                ("PodReadyToStartContainers", bool(pod_ip), ("", "")),
                ("Initialized", initialized, not_initialized),
                ("Ready", ready, not_ready),
                ("ContainersReady", ready, not_ready),
                ("PodScheduled", True, ("", "")),
            ],
        ),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "startTime": start_time,
        "qosClass": _qos_class(spec),
        "containerStatuses": [_wire(state, init) for state in main],
    }
    if pod_ip:
        status["podIP"] = pod_ip
        status["podIPs"] = [{"ip": pod_ip}]
    if init:
        # An init container is ready once it has done its work.
        status["initContainerStatuses"] = [
            {**_wire(state, init), "ready": state.succeeded, "started": state.running} for state in init
        ]
    return status


def _wire(state: ContainerState, init: Sequence[ContainerState]) -> dict[str, Any]:
    wire = state.to_wire()
    if init and wire["state"] == _CREATING:
        wire["state"] = waiting("PodInitializing")
    return wire


def _conditions(pod: Object, wanted: Sequence[tuple[str, bool, tuple[str, str]]]) -> list[dict[str, Any]]:
    before = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or ()}
    conditions = []
    for kind, true, (reason, message) in wanted:
        value = "True" if true else "False"
        old = before.get(kind, {})
        changed = old.get("status") != value
        condition = {
            "type": kind,
            "status": value,
            "lastProbeTime": None,
            "lastTransitionTime": now() if changed else old.get("lastTransitionTime", now()),
        }
        if not true and reason:
            condition["reason"] = reason
            if message:
                condition["message"] = message
        conditions.append(condition)
    ours = {kind for kind, _, _ in wanted}
    return conditions + [c for kind, c in before.items() if kind not in ours]


def _qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, by the rules of Kubernetes."""
    containers = [*spec["containers"], *(spec.get("initContainers") or ())]
    resources = [c.get("resources") or {} for c in containers]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    for resource in resources:
        limits = resource.get("limits") or {}
        requests = resource.get("requests") or limits
        if any(name not in limits or requests.get(name) != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"
