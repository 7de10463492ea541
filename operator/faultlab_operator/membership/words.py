"""What becomes of the members, in words: a condition, and the Events that tell the story."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from faultlab.contract.member import ConfigurationStatus, RaftStatus
from faultlab_operator.api import Condition, RaftCluster, RaftClusterStatus
from faultlab_operator.api.raftcluster import Configuration, ConfigurationMember
from faultlab_operator.handlers.saying import Announcement, Said
from faultlab_operator.membership.configuration import is_exactly, names
from faultlab_operator.membership.plan import founders, must_wait, wanted_names
from faultlab_operator.membership.refusals import Refusal
from faultlab_operator.render.raftcluster import Membership

SETTLED: Final = "MembershipSettled"
"""The condition's type."""
STARTING: Final = "Starting"
SCALING_UP: Final = "ScalingUp"
SCALING_DOWN: Final = "ScalingDown"
REPLACING: Final = "Replacing"
BLOCKED: Final = "ReplacementBlocked"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a look at the members went."""

    configuration: ConfigurationStatus | None
    """Of the leader, else of the last one; None before there was any."""
    leader: RaftStatus | None
    """The one believed."""
    membership: Membership
    """What the children are to say."""
    refusal: Refusal | None = None
    """Who is to be replaced."""
    waiting_for: str = ""
    """What the leader waits for, or why it could not be told; empty where it has nothing to do."""


def membership_said(cluster: RaftCluster, outcome: Outcome) -> Said:
    """The condition `MembershipSettled`."""
    configuration, wanted = outcome.configuration, wanted_names(cluster)
    if configuration is None:
        return False, STARTING, "no leader has said yet who decides"
    if outcome.refusal is not None:
        return _refused(outcome.refusal, outcome)
    if is_exactly(configuration, wanted):
        surplus = outcome.membership.pods - len(wanted)
        if surplus <= 0:
            return True, "AllMembersVote", _decide(wanted)
        return False, SCALING_DOWN, f"{_decide(wanted)}; {_pods_of(surplus)} not needed any more"
    if must_wait(cluster, configuration):
        first = f"the first {founders(cluster)} must all have been ready once"
        return False, STARTING, f"{len(wanted)} members are wanted: before others join {first}"
    reason = _reason(cluster, configuration)
    said = [*_learning(configuration, outcome.leader), *_going(configuration, wanted)]
    if outcome.leader is None:
        said.append("no leader has a majority: the members stay as they are until one has")
    elif outcome.waiting_for:
        said.append(outcome.waiting_for)
    return False, reason, "; ".join(said) or f"{', '.join(sorted(set(wanted)))} are to decide"


def membership_news(before: RaftClusterStatus, after: RaftClusterStatus) -> list[Announcement]:
    """What of a change is worth an Event. What a first leader says is no news."""
    was, now = _condition(before), _condition(after)
    if was is None or now is None or before.configuration is None or after.configuration is None:
        return []
    news = []
    new_learners = _ids(after.configuration.learners) - _all_ids(before.configuration)
    if (now.reason != was.reason or new_learners) and now.reason in (SCALING_UP, SCALING_DOWN):
        news.append(Announcement("Normal", now.reason, now.message))
    if now.reason in (REPLACING, BLOCKED) and (now.reason != was.reason or new_learners):
        news.append(Announcement("Warning", now.reason, now.message))
    voters = _ids(after.configuration.voters)
    if not after.configuration.joint and voters != _decided(before.configuration):
        news.append(Announcement("Normal", "MembershipChanged", _change(before, after)))
    return news


def _change(before: RaftClusterStatus, after: RaftClusterStatus) -> str:
    assert before.configuration is not None
    assert after.configuration is not None
    old, new = _decided(before.configuration), _ids(after.configuration.voters)
    words = [_decide(member.name for member in after.configuration.voters)]
    if new - old:
        words.append(f"new: {', '.join(sorted(new - old))}")
    if old - new:
        words.append(f"removed: {', '.join(sorted(old - new))}")
    return "; ".join(words)


def _refused(refusal: Refusal, outcome: Outcome) -> Said:
    why = f" ({refusal.why})" if refusal.why else ""
    if refusal.blocked:
        said = [f"{refusal.name} must be replaced{why}, but not now: {refusal.blocked}"]
        if outcome.configuration is not None:
            said += _learning(outcome.configuration, outcome.leader)
        return False, REPLACING if refusal.queued else BLOCKED, "; ".join(said)
    waits = f"; {outcome.waiting_for}" if outcome.waiting_for else ""
    return (
        False,
        REPLACING,
        f"{refusal.name} must not run as {refusal.id} any more{why}: it is removed and joins anew{waits}",
    )


def _reason(cluster: RaftCluster, configuration: ConfigurationStatus) -> str:
    """Why the configuration is not as wanted: a replacement stays one until the new id decides."""
    before = _condition(cluster.status)
    wanted = set(wanted_names(cluster))
    missing = wanted - names(configuration.voters)
    if missing and before is not None and before.reason in (REPLACING, BLOCKED):
        return REPLACING
    return SCALING_UP if missing or configuration.learners else SCALING_DOWN


def _learning(configuration: ConfigurationStatus, leader: RaftStatus | None) -> list[str]:
    said = []
    for member in configuration.learners:
        progress = leader.peers.get(member.name) if leader is not None else None
        has = ""
        if progress is not None and leader is not None:
            has = f", {progress.match_index:,} of {leader.commit_index:,} entries"
        called = member.name if member.id == member.name else f"{member.name} (as {member.id})"
        said.append(f"{called} has joined as a learner{has}")
    return said


def _going(configuration: ConfigurationStatus, wanted: Iterable[str]) -> list[str]:
    leaving = sorted(names((*configuration.voters, *configuration.outgoing)) - set(wanted))
    return [f"{', '.join(leaving)} {'is' if len(leaving) == 1 else 'are'} to go"] if leaving else []


def _decide(members: Iterable[str]) -> str:
    listed = sorted(members)
    if len(listed) == 1:
        return f"{listed[0]} decides alone"
    return f"{len(listed)} members decide: {', '.join(listed)}"


def _pods_of(surplus: int) -> str:
    return "one pod is" if surplus == 1 else f"{surplus} pods are"


def _condition(status: RaftClusterStatus) -> Condition | None:
    return next((each for each in status.conditions if each.type == SETTLED), None)


def _ids(members: Iterable[ConfigurationMember]) -> set[str]:
    return {member.id for member in members}


def _all_ids(configuration: Configuration) -> set[str]:
    return _ids((*configuration.voters, *configuration.outgoing, *configuration.learners))


def _decided(configuration: Configuration) -> set[str]:
    """The voters before the change that is under way, if one is."""
    return _ids(configuration.outgoing or configuration.voters)
