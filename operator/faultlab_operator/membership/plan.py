"""What a cluster's children and its leader are to be told, given what is known: pure functions."""

from faultlab.contract.member import ConfigurationStatus, MembershipRequest, PeerAddress
from faultlab_operator.api import RaftCluster
from faultlab_operator.kube.conditions import condition_is
from faultlab_operator.membership.configuration import ids, is_exactly, names
from faultlab_operator.membership.refusals import Refusal
from faultlab_operator.render.raftcluster import (
    Membership,
    founding,
    member_host,
    member_names,
    peer_addresses,
    spare_of,
)

INITIALIZED = "Initialized"
"""Condition: the cluster was Ready once. It stays, whatever befalls the members later."""


def wanted_names(cluster: RaftCluster) -> tuple[str, ...]:
    return member_names(cluster.metadata.name, cluster.spec.replicas)


def is_initialized(cluster: RaftCluster) -> bool:
    """Whether every member has served once: from then on an empty volume is a loss."""
    return condition_is(cluster.status.conditions, INITIALIZED)


def founders(cluster: RaftCluster) -> int:
    """With how many members the cluster began, or is to begin."""
    return cluster.status.initial_replicas or cluster.spec.replicas


def rendered(
    cluster: RaftCluster, configuration: ConfigurationStatus | None, pods_now: int | None, *, shrink: bool
) -> Membership:
    """Who the children say is a member: whoever the configuration names, and no pod less than there are
    (`pods_now`) unless it is sure that nobody but those wanted has a part in it (`shrink`)."""
    if configuration is None or (configuration.index == 0 and not is_initialized(cluster)):
        return founding(cluster, founders(cluster))
    known = ids(configuration)
    pods = 1 + max((number_of(cluster, name) for name in known), default=founders(cluster) - 1)
    if shrink:  # one of those wanted may be missing for a moment, while it is replaced
        pods = max(pods, cluster.spec.replicas)
    elif pods_now is not None:
        pods = max(pods, pods_now)
    shown = member_names(cluster.metadata.name, pods)
    decide = [group for group in (configuration.voters, configuration.outgoing) if group]
    return Membership(
        members=tuple(_address(cluster, name, known.get(name)) for name in shown),
        initial_state="existing",
        pods=pods,
        spare=min((spare_of(len(group)) for group in decide), default=0),
    )


def request(
    cluster: RaftCluster, configuration: ConfigurationStatus | None, refusal: Refusal | None
) -> MembershipRequest | None:
    """What to tell the leader; None where nothing is to be changed, or not yet."""
    replace = (refusal.id,) if refusal is not None and not refusal.blocked else ()
    wanted = wanted_names(cluster)
    if configuration is None or (is_exactly(configuration, wanted) and not replace):
        return None
    if must_wait(cluster, configuration):
        return None
    return MembershipRequest(peer_addresses(cluster), replace)


def must_wait(cluster: RaftCluster, configuration: ConfigurationStatus) -> bool:
    """A cluster does not grow before it has begun: the first members have no ids but their names, and need
    each other's."""
    grows = set(wanted_names(cluster)) - names(configuration.voters)
    return bool(grows) and configuration.index == 0 and not is_initialized(cluster)


def number_of(cluster: RaftCluster, member: str) -> int:
    """A member's number, -1 for a name that is none of the cluster's."""
    prefix, _, number = member.rpartition("-")
    return int(number) if prefix == cluster.metadata.name and number.isdecimal() else -1


def _address(cluster: RaftCluster, name: str, member_id: str | None) -> PeerAddress:
    """Of a member from the beginning the id is its name, and is not said."""
    joined = member_id if member_id is not None and member_id != name else None
    return PeerAddress(name=name, host=member_host(cluster, name), id=joined)
