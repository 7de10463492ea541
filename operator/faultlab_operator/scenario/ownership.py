"""Whose an object is: this scenario's, nobody's any more, or somebody's who would be disturbed. Pure."""

from collections.abc import Mapping
from typing import Any, Literal

from faultlab_operator.api import Scenario
from faultlab_operator.core import Cache

Whose = Literal["ours", "leftover", "foreign"]


def whose(obj: Mapping[str, Any], scenario: Scenario, cache: Cache) -> Whose:
    """`leftover`: of a scenario that is deleted; it is about to go."""
    owners = [each for each in obj["metadata"].get("ownerReferences") or () if each.get("kind") == "Scenario"]
    if any(owner.get("uid") == scenario.metadata.uid for owner in owners):
        return "ours"
    if obj["metadata"].get("deletionTimestamp"):
        return "leftover"
    for owner in owners:
        known = cache.get("Scenario", scenario.metadata.namespace, owner["name"])
        if known is None or known["metadata"].get("uid") != owner.get("uid"):
            return "leftover"
    return "foreign"


def foreign_message(obj: Mapping[str, Any], scenario: Scenario, cache: Cache) -> str:
    """Why the scenario cannot use the name, and what to do."""
    kind, name = obj["kind"], obj["metadata"]["name"]
    owner = next(
        (each for each in obj["metadata"].get("ownerReferences") or () if each.get("kind") == "Scenario"),
        None,
    )
    if owner is None:
        return (
            f"{kind} {name} exists already and does not belong to a scenario: delete it, or give the "
            "scenario's own another name"
        )
    other = cache.get("Scenario", scenario.metadata.namespace, owner["name"]) or {}
    if (other.get("status") or {}).get("phase") == "Done":
        return (
            f"{kind} {name} is kept by the finished scenario {owner['name']}: delete that scenario, and "
            "apply this one again"
        )
    return (
        f"{kind} {name} is in use by the scenario {owner['name']}: two scenarios on one cluster would spoil "
        "each other's verdict; wait until it is done, or give this one's system another name"
    )
