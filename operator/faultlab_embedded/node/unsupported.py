"""What a pod asks for that this node takes and does not do, in words for an Event. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def unsupported(spec: Object) -> str:
    """A sentence for each such wish of a pod's spec; empty where there is none.

    What changes nothing that a program of the lab could notice (users, limits, affinity) is not named here;
    docs/embedded.md lists it.
    """
    return "; ".join(dict.fromkeys(_wishes(spec)))


def _wishes(spec: Object) -> Iterator[str]:
    if spec.get("shareProcessNamespace"):
        yield "shareProcessNamespace: containers do not see each other's processes"
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            yield (
                f"init container {container['name']}: restartPolicy Always (a sidecar) is not there, and the"
                " pod waits for its end: make it one of the containers"
            )
    for container in spec["containers"]:
        name, lifecycle = container["name"], container.get("lifecycle") or {}
        if lifecycle.get("postStart"):
            yield f"container {name}: its postStart hook does not run"
        if lifecycle.get("preStop") and "exec" not in lifecycle["preStop"]:
            yield f"container {name}: its preStop hook does not run: only exec ones do"
        for kind in _PROBES:
            if "grpc" in (container.get(kind) or {}):
                yield f"container {name}: its {kind} cannot pass: grpc is not there, use another"
