"""Conditions as Kubernetes' API conventions have them."""

from datetime import datetime

from faultlab_operator.api import Condition
from faultlab_operator.core.clock import rfc3339


def set_condition(
    conditions: list[Condition],
    kind: str,
    status: bool | None,
    reason: str,
    message: str = "",
    *,
    generation: int | None = None,
    now: datetime,
) -> list[Condition]:
    """A new list in which the condition `kind` says this; None is Unknown.

    lastTransitionTime is kept while the status stays the same. Order is kept; a new one goes last.
    """
    text = {True: "True", False: "False", None: "Unknown"}[status]
    before = next((condition for condition in conditions if condition.type == kind), None)
    since = before.last_transition_time if before is not None and before.status == text else rfc3339(now)
    new = Condition(
        type=kind,
        status=text,  # type: ignore[arg-type]
        reason=reason,
        message=message[:2048],
        observed_generation=generation,
        last_transition_time=since,
    )
    if before is None:
        return [*conditions, new]
    return [new if condition.type == kind else condition for condition in conditions]


def condition_is(conditions: list[Condition], kind: str, status: str = "True") -> bool:
    """Whether the condition exists and has this status."""
    return any(condition.type == kind and condition.status == status for condition in conditions)
