"""From members' views to a RaftCluster's status: a pure function."""

from collections.abc import Mapping
from typing import NamedTuple

from faultlab.contract.member import ConfigurationStatus
from faultlab.contract.run import MemberView
from faultlab_operator.api.raftcluster import MemberStatus


class Summary(NamedTuple):
    """What all members together say."""

    members: tuple[MemberStatus, ...]
    ready: int
    leader: str | None
    """Who leads in the highest term in which a member says that it leads. A leader that was cut off
    may not know yet that a later term has another."""
    term: int | None
    """That leader's term; without one, the highest term that a member knows."""
    agreed: bool
    """All members are ready and follow that leader in that term."""

    def has_majority(self, configuration: ConfigurationStatus | None) -> bool:
        """A majority of the voters is ready under the leader, of both groups while they change: writes can
        succeed. Without a configuration all members count as voters."""
        following = {
            member.name
            for member in self.members
            if member.ready and member.term == self.term and member.leader == self.leader
        }
        groups = [{member.name for member in self.members}]
        if configuration is not None:
            decide = (configuration.voters, configuration.outgoing)
            groups = [{member.name for member in group} for group in decide if group]
        return self.leader is not None and all(len(group & following) * 2 > len(group) for group in groups)


def summarise(views: Mapping[str, MemberView]) -> Summary:
    """What the members' last statuses amount to; an unreachable member's is not believed."""
    statuses = [view.status for view in views.values() if view.reachable and view.status is not None]
    leaders = [status for status in statuses if status.role == "leader"]
    newest = max(leaders, key=lambda status: status.term, default=None)
    leader = newest.member if newest is not None else None
    term = newest.term if newest is not None else max((status.term for status in statuses), default=None)
    members = tuple(_member(name, view) for name, view in sorted(views.items(), key=_by_index))
    agreed = bool(members) and all(
        member.ready and member.term == term and member.leader == leader for member in members
    )
    return Summary(
        members=members,
        ready=sum(member.ready for member in members),
        leader=leader,
        term=term,
        agreed=agreed and leader is not None,
    )


def _by_index(item: tuple[str, MemberView]) -> tuple[int, str]:
    name = item[0]
    return len(name), name


def _member(name: str, view: MemberView) -> MemberStatus:
    status = view.status
    if not view.reachable or status is None:
        return MemberStatus(name=name, reachable=view.reachable)
    return MemberStatus(
        name=name,
        reachable=True,
        ready=status.ready,
        role=status.role,
        term=status.term,
        leader=status.leader,
    )
