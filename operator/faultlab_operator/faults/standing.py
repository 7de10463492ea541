"""Which partitions are to stand now, told from the resources alone. Pure.

Nothing is remembered beside the API: what a fault's spec and status say decides whether its lease is
renewed. So a restarted operator renews the same faults, and a deleted fault is in nobody's way.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from faultlab_chaos.contract.grudges import Edge
from faultlab_chaos.contract.wire import PartitionInjection
from faultlab_operator.core.clock import parse_rfc3339
from faultlab_operator.faults.leases import LEASE_MS, Wanted
from faultlab_operator.faults.pods import PodAt, injections

HEAL_NOW = "faultlab.dev/heal"
"""An annotation: with `now`, the fault ends before its time. A scenario that breaks off sets it."""


def fault_id(obj: Mapping[str, Any]) -> str:
    metadata = obj["metadata"]
    return f"{metadata.get('namespace')}/{metadata['name']}/{metadata.get('uid')}"


def cut_edges(obj: Mapping[str, Any]) -> tuple[Edge, ...]:
    """What the status pinned."""
    return tuple(
        Edge(cut["source"], cut["target"]) for cut in (obj.get("status") or {}).get("cutEdges") or ()
    )


def namespace_of(obj: Mapping[str, Any]) -> str:
    """Where the pods at the ends of its cut edges are, as the status pinned it."""
    return str((obj.get("status") or {}).get("namespace") or obj["metadata"].get("namespace"))


def heal_asked(obj: Mapping[str, Any]) -> bool:
    metadata = obj["metadata"]
    return (metadata.get("annotations") or {}).get(HEAL_NOW) == "now" or bool(
        metadata.get("deletionTimestamp")
    )


def is_finished(obj: Mapping[str, Any]) -> bool:
    """It was refused, given up, or healed: it will never stand again."""
    conditions = _conditions(obj)
    return (
        conditions.get("Selected") == "False"
        or conditions.get("Injected") == "False"
        or bool((obj.get("status") or {}).get("healedAt"))
    )


def is_wanted(obj: Mapping[str, Any], now: datetime) -> bool:
    """Its lease is to be renewed: its sides are pinned, its time is not over, nobody asked for the heal."""
    status = obj.get("status") or {}
    if _conditions(obj).get("Selected") != "True" or (obj.get("spec") or {}).get("dryRun"):
        return False
    if is_finished(obj) or heal_asked(obj) or not status.get("cutEdges"):
        return False
    heals_at = status.get("healsAt")
    return not heals_at or now < parse_rfc3339(heals_at)


def wanted(
    partitions: Iterable[Mapping[str, Any]],
    pods_of: Callable[[Mapping[str, Any]], Mapping[str, PodAt]],
    now: datetime,
) -> Wanted:
    """Everything that every node should hold."""
    by_node: dict[str, list[PartitionInjection]] = {}
    for obj in partitions:
        if not is_wanted(obj, now):
            continue
        for node, injection in injections(fault_id(obj), LEASE_MS, cut_edges(obj), pods_of(obj)).items():
            by_node.setdefault(node, []).append(injection)
    return {node: tuple(sorted(some, key=lambda each: each.id)) for node, some in by_node.items()}


def _conditions(obj: Mapping[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in (obj.get("status") or {}).get("conditions") or ()}
