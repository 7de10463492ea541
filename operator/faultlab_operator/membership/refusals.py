"""Members that refuse to start because their data is gone or damaged: pure functions of pods and answers.

Such a member must not come back under its id with less than it had promised: it is taken out of the
configuration and its name joins again under a new id. The id that a pod was refused as is noted on the pod
before the leader is told, so that whoever looks next knows whether that is done.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from faultlab.contract.member import EXIT_DATA, ConfigurationStatus
from faultlab.contract.run import MemberView
from faultlab_operator.handlers.ownership import is_going
from faultlab_operator.membership.configuration import following, ids, names

REFUSED_AS: Final = "faultlab.dev/refused-as"
"""Annotation of a pod: the member's id when its refusal was first seen."""

Object = Mapping[str, Any]

_LOG_HEAD: Final = re.compile(r"^\S+ [A-Z]+ [\w.]+: ")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A member to be replaced: one at a time."""

    name: str
    id: str
    """That it has in the configuration and cannot answer for any more."""
    pod_uid: str
    noted: bool
    """Its replacement was begun."""
    why: str
    """In its own words; may be empty."""
    blocked: str = ""
    """Why it cannot be replaced now; empty if it can."""
    queued: bool = False
    """That is only because something else comes first."""
    runs: bool = False
    """It was started once more, and has not ended yet."""


def is_refused(pod: Object) -> bool:
    """Whether the member's process has ended for want of its data, and does not run again already."""
    return _ended(pod) is not None and not _runs(pod) and not is_going(pod)


def refused_as(pod: Object) -> str | None:
    found: str | None = (pod["metadata"].get("annotations") or {}).get(REFUSED_AS)
    return found


def next_refusal(
    configuration: ConfigurationStatus | None, pods: Sequence[Object], views: Mapping[str, MemberView]
) -> Refusal | None:
    """Whom to replace now: who was begun with, else who comes first by name."""
    if configuration is None:
        return None
    known = ids(configuration)
    open_refusals = [
        Refusal(
            str(pod["metadata"]["name"]),
            known[pod["metadata"]["name"]],
            str(pod["metadata"].get("uid") or ""),
            refused_as(pod) is not None,
            _why(pod),
            runs=_runs(pod),
        )
        for pod in pods
        if _is_without_data(pod, views)
        and pod["metadata"]["name"] in known
        and refused_as(pod) in (None, known[pod["metadata"]["name"]])
    ]
    if not open_refusals:
        return None
    first = min(open_refusals, key=lambda each: (not each.noted, each.name))
    if first.noted:
        return first
    under_way = names((*configuration.learners, *configuration.outgoing)) - {first.name}
    if under_way:
        turn = f"{', '.join(sorted(under_way))} first"
        return replace(first, blocked=f"it waits for its turn: {turn}", queued=True)
    blocked = _blocked(first, configuration, views)
    if first.runs and not blocked:
        return replace(first, blocked="it has been started once more, and may be well", queued=True)
    return replace(first, blocked=blocked)


def replaced_pods(configuration: ConfigurationStatus | None, pods: Sequence[Object]) -> list[Object]:
    """Pods that were refused under an id whose place another has taken: started anew, they find that one."""
    if configuration is None:
        return []
    known = ids(configuration)
    return [
        pod
        for pod in pods
        if is_refused(pod)
        and refused_as(pod) is not None
        and known.get(pod["metadata"]["name"]) not in (None, refused_as(pod))
    ]


def _blocked(first: Refusal, configuration: ConfigurationStatus, views: Mapping[str, MemberView]) -> str:
    voters = names(configuration.voters)
    left = following(configuration, views) - {first.name}
    if len(left) * 2 > len(voters):
        return ""
    return (
        f"only {len(left)} of {len(voters)} voters are left and follow a leader, which is no majority: bring "
        "the others back first; whatever a majority has lost, nobody can bring back"
    )


def _is_without_data(pod: Object, views: Mapping[str, MemberView]) -> bool:
    """Whether the member was refused and has not been heard since: nodes start it again and again, and what
    is said of it does not change with each attempt."""
    if _ended(pod) is None or is_going(pod):
        return False
    view = views.get(pod["metadata"]["name"])
    return not _runs(pod) or view is None or not view.reachable


def _ended(pod: Object) -> Mapping[str, Any] | None:
    """How the member's process ended last, if it was for want of its data."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        now, before = container.get("state") or {}, container.get("lastState") or {}
        ended: Mapping[str, Any] | None = now.get("terminated") or before.get("terminated")
        if ended is not None and ended.get("exitCode") == EXIT_DATA:
            return ended
    return None


def _runs(pod: Object) -> bool:
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    return any("running" in (container.get("state") or {}) for container in containers)


def _why(pod: Object) -> str:
    """The last line that it said, without the log's time and level."""
    lines = str((_ended(pod) or {}).get("message") or "").strip().splitlines()
    return _LOG_HEAD.sub("", lines[-1])[:300] if lines else ""
