"""Which member to restart next, when the wanted template is not the running one: pure functions.

One at a time, and only while all others are there, Ready and have caught up; followers first and the
leader last, after it has handed over, so that a rollout costs one election at most. The exception is a
member that is itself what is broken: with a template that never starts (an image that does not exist) a
corrected one must be able to get in.

What may never happen: a rollout that leaves less than the members it found, minus one; a member restarted
for a template that its pod already has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from faultlab.contract.run import MemberView
from faultlab_operator.handlers.ownership import is_going
from faultlab_operator.members.summary import summarise
from faultlab_operator.render.common import CONFIG_HASH

CLOSE: Final = 1000
"""Entries that a member's log may be behind the leader's commit index and count as caught up: what some
tenths of a second of the heaviest load amount to, and what replication then catches up with by itself."""


@dataclass(frozen=True, slots=True)
class Member:
    """One wanted member: its pod and what it said of itself last."""

    name: str
    pod: Literal["missing", "going", "there"]
    uid: str = ""
    """The pod's; empty without one."""
    made_at: str = ""
    """When the pod was made, RFC 3339; empty without one."""
    template: str = ""
    """What its pod was made from."""
    stale: bool = False
    """That is not the wanted template."""
    runs: bool = False
    """The container's process is there, whatever it does."""
    ready: bool = False
    """The pod's own Ready."""
    trouble: str = ""
    """Why its container waits or fell, as the pod says."""
    problem: str = ""
    """Why it does not take part as it should, in words; empty if it does."""


def look(
    names: Sequence[str], pods: Sequence[Mapping[str, Any]], wanted_hash: str, views: Mapping[str, MemberView]
) -> tuple[Member, ...]:
    """The members, each with what is amiss. `pods` are all of the cluster's own, those on the way out
    included."""
    by_name = {str(pod["metadata"]["name"]): pod for pod in pods}
    leader = summarise(views).leader
    led_by = views.get(leader or "")
    return tuple(_member(name, by_name.get(name), wanted_hash, views.get(name), led_by) for name in names)


def next_to_restart(members: Sequence[Member], leader: str | None) -> Member | None:
    """The member to restart now; None while it is not safe or none is stale."""
    amiss = [member for member in members if member.problem]
    stale = [member for member in members if member.stale and member.pod == "there"]
    if not amiss:
        followers = [member for member in stale if member.name != leader]
        return (followers or stale)[-1] if stale else None
    # A process that is not there serves nobody, nor do processes of which none is ready: replacing such a
    # pod costs nothing.
    idle = [member for member in stale if not member.runs or not any(each.ready for each in members)]
    if idle:
        return idle[-1]
    odd = amiss[0]
    if len(amiss) == 1 and odd in stale and not odd.ready and odd.name != leader:
        # Of a template that serves the others well it is not the template that ails it.
        return odd if all(odd.template != member.template for member in members if member != odd) else None
    return None


def successor(members: Sequence[Member], leader: Member, priorities: Mapping[str, int]) -> Member | None:
    """Who is to lead while the leader is restarted: the one of highest priority among those that are well
    and need no restart themselves; None if there is nobody, as where the leader is not the last one."""
    able = [member for member in members if member != leader and not member.stale and not member.problem]
    return max(able, key=lambda member: priorities.get(member.name, 0), default=None)


def awaited(members: Sequence[Member]) -> Member | None:
    """Whom a rollout waits for: one that does not start before one that is only slow."""
    amiss = [member for member in members if member.problem]
    return next((member for member in amiss if member.trouble), amiss[0] if amiss else None)


def pod_trouble(pod: Mapping[str, Any]) -> str:
    """Why the pod's container waits, or that it cannot be placed; empty if it does neither."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message') or 'see its pod'}"
    for condition in status.get("conditions") or ():
        if (condition.get("type"), condition.get("status")) == ("PodScheduled", "False"):
            return (
                f"{condition.get('reason') or 'not scheduled'}: {condition.get('message') or 'see its pod'}"
            )
    return ""


def pod_is_ready(pod: Mapping[str, Any]) -> bool:
    """The pod's own condition Ready."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _member(
    name: str,
    pod: Mapping[str, Any] | None,
    wanted_hash: str,
    view: MemberView | None,
    led_by: MemberView | None,
) -> Member:
    if pod is None:
        return Member(name, "missing", problem="its pod does not exist yet")
    metadata = pod["metadata"]
    template = str((metadata.get("annotations") or {}).get(CONFIG_HASH))
    going = is_going(pod)
    ready, trouble = pod_is_ready(pod), pod_trouble(pod)
    return Member(
        name,
        "going" if going else "there",
        uid=str(metadata.get("uid") or ""),
        made_at=str(metadata.get("creationTimestamp") or ""),
        template=template,
        stale=template != wanted_hash,
        runs=_runs(pod),
        ready=ready and not going,
        trouble=trouble,
        problem="its pod is being ended" if going else trouble or _problem(name, view, led_by, ready),
    )


def _problem(name: str, view: MemberView | None, led_by: MemberView | None, pod_ready: bool) -> str:
    """Why a member with a pod does not take part as it should; empty if it does."""
    if view is None or not view.reachable or view.status is None:
        return "it does not answer"
    if not view.status.ready:
        return "it knows no leader"
    if led_by is None or led_by.status is None:
        return "no member leads"
    leader, status = led_by.status, view.status
    if (status.term, status.leader) != (leader.term, leader.member):
        return f"it does not follow {leader.member} in term {leader.term} yet"
    if name != leader.member:
        progress = leader.peers.get(name)
        if progress is None or progress.state != "replicate":
            return f"{leader.member} does not replicate to it yet"
        behind = leader.commit_index - progress.match_index
        if behind > CLOSE:
            return f"it has to catch up with {behind} entries"
        if progress.learner:
            return "it has no vote yet"
    return "" if pod_ready else "its pod is not Ready"


def _runs(pod: Mapping[str, Any]) -> bool:
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    return bool(containers) and all("running" in (each.get("state") or {}) for each in containers)
