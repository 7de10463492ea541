"""What a partition may touch, looked up in the operator's cache: its members, their pods, their leader."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faultlab.contract.run import MemberView
from faultlab_operator.api import NetworkPartition
from faultlab_operator.core import Cache
from faultlab_operator.faults.errors import NotYet, Refusal
from faultlab_operator.faults.pods import COMPONENT, SYSTEM_KIND, SYSTEM_NAME, PodAt, located
from faultlab_operator.faults.selection import Members
from faultlab_operator.members import MembersHub

CHAOS_LABEL = "faultlab.dev/chaos"


@dataclass(frozen=True)
class Scope:
    """One system's pods in one namespace."""

    namespace: str
    system: str
    members: tuple[str, ...]
    """The members that the selector matches, in order."""
    load_pods: tuple[str, ...]


def find_scope(partition: NetworkPartition, cache: Cache) -> Scope:
    """Raises Refusal where chaos is not allowed or the selector is wrong, NotYet where nothing matches."""
    selector = partition.spec.selector
    if selector is None:
        raise Refusal("NoSelector", "write spec.selector: {system: {kind: RaftCluster, name: NAME}}")
    own = partition.metadata.namespace
    if selector.system is not None:
        _allowed(own, cache)
        members = _system_members(own, selector.system.kind, selector.system.name, cache)
        return Scope(own, selector.system.name, members, _load_pods(own, selector.system.name, cache))
    labels = dict(selector.label_selectors or {})
    namespaces = selector.namespaces or [own]
    for namespace in namespaces:
        _allowed(namespace, cache)
    pods = [
        pod
        for namespace in namespaces
        for pod in cache.list("Pod", namespace, {**labels, COMPONENT: "member"})
    ]
    return _labelled(pods, labels, cache)


def place_pods(scope: Scope, cache: Cache) -> dict[str, PodAt]:
    """Where the scope's pods run, by name; those that do not run are left out."""
    places = {}
    for name in (*scope.members, *scope.load_pods):
        pod = cache.get("Pod", scope.namespace, name)
        at = None if pod is None else located(pod)
        if at is not None:
            places[name] = at
    return places


def who_leads(scope: Scope, hub: MembersHub) -> Members:
    """The scope's members, and the one that leads the highest term by its own word."""
    leader = leader_of(hub.statuses(scope.namespace, scope.system))
    return Members(scope.members, leader if leader in scope.members else None)


def leader_of(views: Mapping[str, MemberView]) -> str | None:
    """The reachable member that leads the highest term; None while none does."""
    leading = [
        (view.status.term, name)
        for name, view in views.items()
        if view.reachable and view.status is not None and view.status.role == "leader"
    ]
    return max(leading)[1] if leading else None


def _allowed(namespace: str, cache: Cache) -> None:
    known = cache.get("Namespace", "", namespace)
    labels = {} if known is None else known["metadata"].get("labels") or {}
    if labels.get(CHAOS_LABEL) != "enabled":
        raise Refusal(
            "NamespaceNotEnabled",
            f"faults are not allowed in namespace {namespace}: to allow them, "
            f"`kubectl label namespace {namespace} {CHAOS_LABEL}=enabled` and apply the fault again",
        )


def _system_members(namespace: str, kind: str, name: str, cache: Cache) -> tuple[str, ...]:
    system = cache.get(kind, namespace, name)
    if system is None:
        raise NotYet("NoSystem", f"there is no {kind} {name} in namespace {namespace}")
    replicas = int((system.get("spec") or {}).get("replicas") or 0)
    return tuple(f"{name}-{index}" for index in range(replicas))


def _labelled(pods: list[Mapping[str, Any]], labels: dict[str, str], cache: Cache) -> Scope:
    if not pods:
        raise NotYet("NothingSelected", f"no member pod has the labels {labels}")
    systems = {(pod["metadata"]["namespace"], pod["metadata"]["labels"].get(SYSTEM_NAME, "")) for pod in pods}
    if len(systems) > 1:
        names = ", ".join(f"{namespace}/{name}" for namespace, name in sorted(systems))
        raise Refusal(
            "SeveralSystems",
            f"the labels {labels} match members of several systems ({names}): add a label that only one has, "
            f"such as {SYSTEM_NAME}",
        )
    namespace, system = systems.pop()
    members = tuple(sorted((pod["metadata"]["name"] for pod in pods), key=_ordinal))
    return Scope(namespace, system, members, _load_pods(namespace, system, cache))


def _load_pods(namespace: str, system: str, cache: Cache) -> tuple[str, ...]:
    """The pods that load the system, by the LoadTests that name it: their names are fixed."""
    loads = [
        load["metadata"]["name"]
        for load in cache.list("LoadTest", namespace)
        if ((load.get("spec") or {}).get("system") or {}).get("name") == system
    ]
    return tuple(f"{name}-load" for name in loads)


def _ordinal(name: str) -> tuple[str, int]:
    stem, _, ordinal = name.rpartition("-")
    return (stem, int(ordinal)) if ordinal.isdigit() else (name, -1)


__all__ = ["CHAOS_LABEL", "SYSTEM_KIND", "Scope", "find_scope", "leader_of", "place_pods", "who_leads"]
