"""Whose child an object is."""

from collections.abc import Mapping
from typing import Any


def controller_uid(obj: Mapping[str, Any]) -> str | None:
    """The uid of the owner that controls the object, if any."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def is_going(obj: Mapping[str, Any]) -> bool:
    """Whether the object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))
