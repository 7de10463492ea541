"""A RaftCluster's status from what was observed: pure functions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from faultlab.contract.member import ConfigurationStatus
from faultlab_operator.api import Condition, RaftCluster, RaftClusterStatus
from faultlab_operator.api.raftcluster import MemberStatus
from faultlab_operator.core.clock import parse_rfc3339
from faultlab_operator.handlers.rollout import Member, awaited
from faultlab_operator.handlers.saying import Announcement, Said
from faultlab_operator.kube.conditions import condition_is, set_condition
from faultlab_operator.members.summary import Summary
from faultlab_operator.membership.configuration import as_status, ids, names
from faultlab_operator.membership.plan import INITIALIZED
from faultlab_operator.membership.words import BLOCKED, SETTLED, Outcome, membership_said
from faultlab_operator.render.raftcluster import raft_selector

STUCK_AFTER_S: Final = 60.0
"""A pod that runs for so long and is not Ready holds its rollout up, though nothing is known to be wrong."""

CREATING: Final = "Creating"
ROLLING: Final = "RollingOut"
STUCK: Final = "RolloutStuck"


def cluster_status(
    cluster: RaftCluster, summary: Summary, members: Sequence[Member], outcome: Outcome, *, now: datetime
) -> RaftClusterStatus:
    """The whole status."""
    selector = ",".join(f"{label}={value}" for label, value in sorted(raft_selector(cluster).items()))
    rolled_out = _rolled_out(members, _condition(cluster.status.conditions, "RolledOut"), now)
    settled = membership_said(cluster, outcome)
    serve = _serve(summary, members)
    said = {
        "Ready": serve if settled[0] or not serve[0] else settled,
        "Available": _available(summary, outcome.configuration),
        "Progressing": _progressing(members, rolled_out, settled),
        "RolledOut": rolled_out,
        SETTLED: settled,
        INITIALIZED: _initialized(cluster, serve),
    }
    conditions = cluster.status.conditions
    for kind, (status, reason, message) in said.items():
        conditions = set_condition(
            conditions, kind, status, reason, message, generation=cluster.metadata.generation, now=now
        )
    known = as_status(outcome.configuration)
    return RaftClusterStatus(
        observed_generation=cluster.metadata.generation,
        conditions=conditions,
        replicas=sum(member.pod == "there" for member in members),
        ready_replicas=summary.ready,
        updated_replicas=_updated(members),
        ready_members=f"{summary.ready}/{cluster.spec.replicas}",
        selector=selector,
        leader=summary.leader,
        term=summary.term,
        members=[_with_part(member, outcome.configuration) for member in summary.members],
        initial_replicas=cluster.status.initial_replicas,
        configuration=known,
        voters=None if known is None else len(known.voters),
        learners=None if known is None else len(known.learners),
    )


def _with_part(member: MemberStatus, configuration: ConfigurationStatus | None) -> MemberStatus:
    """With its place in the configuration."""
    if configuration is None:
        return member
    part = "none"
    for group, called in (("outgoing", "leaving"), ("learners", "joining"), ("voters", "voter")):
        if member.name in names(getattr(configuration, group)):
            part = called
    return member.model_copy(update={"id": ids(configuration).get(member.name), "part": part})


def is_rolled_out(status: RaftClusterStatus) -> bool:
    """Whether the status says that every member runs the current template."""
    said = _condition(status.conditions, "RolledOut")
    return said is not None and said.status == "True"


def rollout_news(before: RaftClusterStatus, after: RaftClusterStatus) -> Announcement | None:
    """What is worth an Event: a rollout began, is held up, or is done. A first start is no rollout."""
    old, new = (_condition(status.conditions, "RolledOut") for status in (before, after))
    if old is None or new is None or (old.status, old.reason) == (new.status, new.reason):
        return None
    if new.reason == STUCK:
        return Announcement("Warning", STUCK, new.message)
    if new.status == "True" and old.reason in (ROLLING, STUCK):
        return Announcement("Normal", "RolledOut", new.message)
    if new.reason == ROLLING and old.status == "True":
        return Announcement("Normal", "RolloutStarted", new.message)
    return None


def _serve(summary: Summary, members: Sequence[Member]) -> Said:
    """Whether all members that there are serve."""
    led = f"{summary.leader} leads term {summary.term}"
    if summary.ready < len(members):
        waiting = [member.name for member in summary.members if not member.ready]
        troubles = [f"; {member.name}: {member.trouble}" for member in members if member.trouble]
        return False, "MembersNotReady", f"not ready: {', '.join(waiting)}{''.join(troubles[:1])}"
    if summary.leader is None:
        return False, "NoLeader", "all members are ready, but none leads"
    if not summary.agreed:
        return False, "LeaderNotAgreed", f"{led}, but not all members follow it yet"
    pods = [member.name for member in members if not member.ready]
    if pods:
        return False, "PodsNotReady", f"{led}, but these members' pods are not Ready yet: {', '.join(pods)}"
    return True, "AllMembersReady", f"{len(members)} of {len(members)} members are ready; {led}"


def _initialized(cluster: RaftCluster, serve: Said) -> Said:
    """Once true it stays so: from the first time on that all members served, an empty volume is a loss."""
    if condition_is(cluster.status.conditions, INITIALIZED) or serve[0]:
        return True, "AllMembersServed", "all members have been ready: one that lost its data is replaced"
    return False, "Starting", "not all members have been ready yet"


def _available(summary: Summary, configuration: ConfigurationStatus | None) -> Said:
    if summary.has_majority(configuration):
        return (
            True,
            "MajorityFollows",
            f"{summary.leader} leads term {summary.term}, and a majority follows",
        )
    return False, "NoMajority", "no leader has a majority of ready members: writes cannot succeed"


def _rolled_out(members: Sequence[Member], before: Condition | None, now: datetime) -> Said:
    """Once every member was well with the current template this stays true, whatever befalls a member:
    Ready says that. It takes another template to make it false."""
    stale = any(member.stale for member in members)
    was = before is not None and before.status == "True"
    if not stale and (was or not any(member.problem for member in members)):
        return True, "AllMembersUpdated", f"all {len(members)} members run the current template"
    waits = awaited(members)
    waiting = f"; waiting for {waits.name}: {waits.problem}" if waits is not None else ""
    rolling = stale or (before is not None and before.reason in (ROLLING, STUCK))
    if not rolling:
        return False, CREATING, f"{_pods(members)} of {len(members)} member pods exist{waiting}"
    text = f"{_updated(members)} of {len(members)} members run the new template{waiting}"
    if waits is not None and _holds_up(waits, now):
        advice = "no other member is restarted until it is well, or until the spec is corrected"
        return False, STUCK, f"{text}; {advice}"
    return False, ROLLING, text


def _progressing(members: Sequence[Member], rolled_out: Said, settled: Said) -> Said:
    done, reason, message = rolled_out
    if not done:
        return reason != STUCK, reason, message
    if not settled[0]:
        return settled[1] != BLOCKED, settled[1], settled[2]
    if _pods(members) < len(members):
        return True, CREATING, f"{_pods(members)} of {len(members)} member pods exist"
    return False, "Complete", "all member pods exist with the current settings"


def _holds_up(member: Member, now: datetime) -> bool:
    """Whether its pod does not start, or one of the new template runs for long and is not Ready."""
    if member.trouble:
        return True
    if member.pod != "there" or member.stale or member.ready or not member.made_at:
        return False
    return (now - parse_rfc3339(member.made_at)).total_seconds() > STUCK_AFTER_S


def _pods(members: Sequence[Member]) -> int:
    return sum(member.pod == "there" for member in members)


def _updated(members: Sequence[Member]) -> int:
    return sum(member.pod == "there" and member.runs and not member.stale for member in members)


def _condition(conditions: Sequence[Condition], kind: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == kind), None)
