"""What is known of a cluster's configuration, and whom to believe about it: pure functions."""

from collections.abc import Iterable, Mapping

from faultlab.contract.member import ConfigurationStatus, MemberIdentity, RaftStatus
from faultlab.contract.run import MemberView
from faultlab_operator.api import RaftCluster
from faultlab_operator.api.raftcluster import Configuration, ConfigurationMember


def answering(views: Mapping[str, MemberView]) -> list[RaftStatus]:
    """The statuses of members that answered."""
    return [view.status for view in views.values() if view.reachable and view.status is not None]


def believed_leader(views: Mapping[str, MemberView]) -> RaftStatus | None:
    """The leader whose configuration counts: no member knows of a later term.

    A leader that was cut off still shows the configuration that it had; whom it lost shows a later term.
    """
    statuses = answering(views)
    leader = max((each for each in statuses if each.role == "leader"), key=_term, default=None)
    if leader is None or leader.configuration is None or leader.term < max(map(_term, statuses)):
        return None
    return leader


def known_configuration(cluster: RaftCluster, leader: RaftStatus | None) -> ConfigurationStatus | None:
    """The leader's, once it is committed: what is not may be lost with it, and its new ids as well. Else the
    one that was known last; None before there was any."""
    found = None if leader is None else leader.configuration
    if leader is not None and found is not None and found.index <= leader.commit_index:
        return found
    last = cluster.status.configuration
    if last is None:
        return None
    return ConfigurationStatus(
        last.index, _identities(last.voters), _identities(last.outgoing), _identities(last.learners)
    )


def as_status(configuration: ConfigurationStatus | None) -> Configuration | None:
    """As a RaftCluster's status says it."""
    if configuration is None:
        return None
    return Configuration(
        index=configuration.index,
        voters=_shown(configuration.voters),
        outgoing=_shown(configuration.outgoing),
        learners=_shown(configuration.learners),
        joint=bool(configuration.outgoing),
    )


def names(members: Iterable[MemberIdentity]) -> set[str]:
    return {member.name for member in members}


def ids(configuration: ConfigurationStatus) -> dict[str, str]:
    """Every member's id by its name: no name has two at a time."""
    members = (*configuration.outgoing, *configuration.voters, *configuration.learners)
    return {member.name: member.id for member in members}


def is_exactly(configuration: ConfigurationStatus | None, wanted: Iterable[str]) -> bool:
    """These are the voters, and nothing is under way."""
    return (
        configuration is not None
        and not configuration.outgoing
        and not configuration.learners
        and names(configuration.voters) == set(wanted)
    )


def is_confirmed(views: Mapping[str, MemberView], wanted: Iterable[str]) -> bool:
    """Whether a majority of the wanted members follow a leader and know no configuration but themselves, one
    that is committed: until then a crash of all may bring back the one before, whose members it needs.

    To leave that configuration a majority of it must first have the joint one in its logs (thesis 4.3): so
    nobody outside of it decides, whatever a leader that was cut off believes. Ask with fresh views.
    """
    leader, members = believed_leader(views), set(wanted)
    if leader is None or leader.configuration is None or not is_exactly(leader.configuration, members):
        return False
    if leader.commit_index < leader.configuration.index:
        return False
    agreeing = [
        status
        for status in answering(views)
        if status.member in members
        and (status.term, status.leader) == (leader.term, leader.member)
        and status.configuration == leader.configuration
    ]
    return leader.member in members and len(agreeing) * 2 > len(members)


def following(configuration: ConfigurationStatus, views: Mapping[str, MemberView]) -> set[str]:
    """The voters that are ready and follow the believed leader, itself included."""
    leader = believed_leader(views)
    if leader is None:
        return set()
    return names(configuration.voters) & {
        status.member
        for status in answering(views)
        if status.ready and (status.term, status.leader) == (leader.term, leader.member)
    }


def _term(status: RaftStatus) -> int:
    return status.term


def _identities(members: Iterable[ConfigurationMember]) -> tuple[MemberIdentity, ...]:
    return tuple(MemberIdentity(member.name, member.id) for member in members)


def _shown(members: Iterable[MemberIdentity]) -> list[ConfigurationMember]:
    return [ConfigurationMember(name=member.name, id=member.id) for member in members]
