"""The scenario's resources as the state machine sees them. Pure: objects in, observations out."""

from collections.abc import Mapping
from typing import Any

from faultlab.contract.load import LoadStatus
from faultlab.contract.run import CutEdge, FaultRecord
from faultlab_operator.api import Scenario
from faultlab_operator.core import Cache
from faultlab_operator.faults.standing import is_finished
from faultlab_operator.scenario.machine import fault_name
from faultlab_operator.scenario.manifests import load_name
from faultlab_operator.scenario.ownership import foreign_message, whose
from faultlab_operator.scenario.world import FaultSeen, LoadSeen, SystemSeen


def see_systems(scenario: Scenario, cache: Cache) -> dict[str, SystemSeen]:
    return {
        system.metadata.name: _system(
            scenario, cache.get(system.kind, scenario.metadata.namespace, system.metadata.name), cache
        )
        for system in scenario.spec.systems
    }


def see_load(scenario: Scenario, cache: Cache, status: LoadStatus | None) -> LoadSeen:
    """`status` is what the load pod itself last said."""
    obj = cache.get("LoadTest", scenario.metadata.namespace, load_name(scenario))
    if obj is None:
        return LoadSeen()
    owner = whose(obj, scenario, cache)
    if owner == "foreign":
        return LoadSeen(foreign=foreign_message(obj, scenario, cache))
    if owner == "leftover":
        return LoadSeen()
    resource = obj.get("status") or {}
    failed = ""
    if resource.get("phase") == "Failed" or (status is not None and status.phase == "failed"):
        failed = _condition(obj, "Ready").get("message") or (status.message if status else "")
        failed = failed or "see the load pod's log"
    # A LoadTest's pod of an earlier run may have answered under this name: its own phase says whether.
    known = status if resource.get("phase") not in (None, "Waiting", "Starting") else None
    return LoadSeen(exists=True, status=known, failed=failed)


def see_faults(scenario: Scenario, cache: Cache) -> dict[str, FaultSeen]:
    """The timeline's faults that exist."""
    seen = {}
    for index, entry in enumerate(scenario.spec.timeline):
        name = fault_name(scenario.metadata.name, index)
        obj = cache.get(entry.fault.kind, scenario.metadata.namespace, name)
        if obj is not None and whose(obj, scenario, cache) == "ours":
            seen[name] = see_fault(obj)
    return seen


def deleted_faults(scenario: Scenario, seen: Mapping[str, FaultSeen]) -> dict[str, FaultSeen]:
    """Faults that this run had and that somebody deleted: they are over, and not made again."""
    deleted = {}
    for known in scenario.status.faults:
        if known.name in seen:
            continue
        record = FaultRecord(
            name=known.name,
            kind=known.kind,
            injected_at=known.injected_at,
            observed_at=known.observed_at,
            healed_at=known.healed_at,
            heal_verified_at=known.heal_verified_at,
            cut_off=tuple(known.cut_off),
            message="deleted by somebody during the run",
        )
        why = "" if known.heal_verified_at else f"{known.name} was deleted before its heal was proven"
        deleted[known.name] = FaultSeen(record, over=True, closed=True, interrupted=why)
    return deleted


def see_fault(obj: Mapping[str, Any]) -> FaultSeen:
    status = obj.get("status") or {}
    selected, injected = _condition(obj, "Selected"), _condition(obj, "Injected")
    refused = ""
    if selected.get("status") == "False":
        refused = str(selected.get("message"))
    elif injected.get("status") == "False":
        refused = str(injected.get("message"))
    over = is_finished(obj)
    closed = over and (
        bool(refused)
        or bool(status.get("healVerifiedAt"))
        or _condition(obj, "HealVerified").get("status") == "False"
    )
    return FaultSeen(
        record=_record(obj),
        selected_at=selected.get("lastTransitionTime") if selected.get("status") == "True" else None,
        over=over,
        closed=closed,
        refused=refused,
        interrupted=_interruption(obj),
    )


def _interruption(obj: Mapping[str, Any]) -> str:
    """Why the fault did not stand as it should have, all the time; empty when it did."""
    name = obj["metadata"]["name"]
    interrupted, effect = _condition(obj, "Interrupted"), _condition(obj, "EffectObserved")
    if interrupted.get("status") == "True":
        return f"{name} was interrupted: {interrupted.get('message')}"
    if effect.get("status") == "False" and (obj.get("status") or {}).get("observedAt"):
        return f"{name} was seen to take effect, and later not any more: {effect.get('message')}"
    return ""


def _record(obj: Mapping[str, Any]) -> FaultRecord:
    status = obj.get("status") or {}
    return FaultRecord(
        name=obj["metadata"]["name"],
        kind=obj["kind"],
        injected_at=status.get("injectedAt"),
        observed_at=status.get("observedAt"),
        healed_at=status.get("healedAt"),
        heal_verified_at=status.get("healVerifiedAt"),
        cut_off=tuple(status.get("cutOff") or ()),
        cut_edges=tuple(CutEdge(cut["source"], cut["target"]) for cut in status.get("cutEdges") or ()),
        message=status.get("message") or "",
    )


def _system(scenario: Scenario, obj: Mapping[str, Any] | None, cache: Cache) -> SystemSeen:
    if obj is None:
        return SystemSeen()
    owner = whose(obj, scenario, cache)
    if owner == "foreign":
        return SystemSeen(foreign=foreign_message(obj, scenario, cache))
    if owner == "leftover":
        return SystemSeen(message="waits for that of an earlier run to go")
    ready = _condition(obj, "Ready")
    return SystemSeen(exists=True, ready=ready.get("status") == "True", message=ready.get("message") or "")


def _condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})
