"""Whom a partition cuts off from whom: a spec and the members as they are now in, a grudge out.

Pure. Where several members fit, the seed chooses, so that a run can be repeated. Raises Refusal for what
can never be done and NotYet for what may be possible in a moment.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from faultlab_chaos.contract import grudges
from faultlab_chaos.contract.errors import GrudgeError
from faultlab_chaos.contract.grudges import Edge, Grudge
from faultlab_operator.api.networkpartition import NetworkPartitionSpec, Side, Topology
from faultlab_operator.faults.errors import NotYet, Refusal

MIN_MEMBERS = 2


@dataclass(frozen=True)
class Members:
    """A system's members in order, and who leads them as far as is known."""

    names: tuple[str, ...]
    leader: str | None


@dataclass(frozen=True)
class Selection:
    """What will be cut."""

    cut_off: tuple[str, ...]
    """Members on the cut-off side; empty for topologies that have none (majoritiesRing)."""
    grudge: Grudge
    """Among members and load pods."""
    leader: str | None

    @property
    def edges(self) -> tuple[Edge, ...]:
        return grudges.edges(self.grudge)


def select(spec: NetworkPartitionSpec, members: Members, load_pods: Sequence[str], seed: int) -> Selection:
    """Resolves roles and topology. Raises Refusal or NotYet."""
    if len(members.names) < MIN_MEMBERS:
        raise Refusal(
            "TooFewMembers",
            f"a partition needs {MIN_MEMBERS} members or more and the selector matches "
            f"{len(members.names)}: select a system with more replicas",
        )
    try:
        cut_off, grudge = _topology(spec.topology, members, random.Random(seed))
    except GrudgeError as error:
        raise Refusal("BadTopology", str(error)) from error
    _hold_blast_radius(spec, cut_off, grudge)
    _cuts_something(spec, grudge)
    kept_from = _kept_from_clients(spec, members, cut_off)
    if kept_from and load_pods:
        grudge = grudges.merge(grudge, grudges.separate(load_pods, kept_from))
    return Selection(cut_off, grudge, members.leader)


def client_sides(clients: str, members: Sequence[str], cut_off: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The sides of the cut that clients reach; every member is one where there are no two sides."""
    rest = tuple(name for name in members if name not in cut_off)
    if not cut_off:
        return tuple((name,) for name in members)
    if clients == "majority":
        return (rest,)
    if clients == "minority":
        return (tuple(cut_off),)
    return (tuple(cut_off), rest) if rest else (tuple(cut_off),)


def _topology(topology: Topology, members: Members, choose: random.Random) -> tuple[tuple[str, ...], Grudge]:
    nodes = list(members.names)
    direction = topology.direction or "both"
    chosen = _side(topology.with_, members, choose)
    shuffled = choose.sample(nodes, len(nodes))
    match topology.type:
        case "isolate":
            cut = grudges.merge(*(grudges.isolate(nodes, name, direction) for name in chosen))
            return tuple(chosen), cut
        case "halves":
            cut = grudges.halves(shuffled, chosen, direction)
            return _smaller_side(nodes, shuffled, chosen, len(nodes) // 2), cut
        case "minority":
            size = topology.size or (len(nodes) - 1) // 2
            cut = grudges.minority(shuffled, chosen, topology.size, direction)
            return _smaller_side(nodes, shuffled, chosen, size), cut
        case "bridge":
            bridge_node = chosen[0] if chosen else shuffled[0]
            others = [name for name in shuffled if name != bridge_node]
            return _ordered(nodes, others[: len(others) // 2]), grudges.bridge(shuffled, bridge_node)
        case "majoritiesRing":
            return (), grudges.majorities_ring(nodes)
        case "oneWay":
            return tuple(chosen), _one_way(topology, members, chosen, choose)
        case "groups":
            return _groups(topology, nodes)
        case other:
            raise Refusal("BadTopology", f"topology.type {other!r} is not known to this operator")


def _side(side: Side | None, members: Members, choose: random.Random) -> list[str]:
    """The members that a side names, or that have its role."""
    if side is None:
        return []
    if side.members is not None:
        unknown = sorted(set(side.members) - set(members.names))
        if unknown:
            raise Refusal(
                "UnknownMember",
                f"{', '.join(unknown)} is not a member: write one of {', '.join(members.names)}",
            )
        return list(dict.fromkeys(side.members))
    if side.role == "any":
        return [choose.choice(members.names)]
    if members.leader is None:
        raise NotYet("NoLeader", f"role {side.role} cannot be told: no member leads at the moment")
    followers = [name for name in members.names if name != members.leader]
    if side.role == "leader":
        return [members.leader]
    return followers if side.role == "followers" else [choose.choice(followers)]


def _one_way(topology: Topology, members: Members, chosen: list[str], choose: random.Random) -> Grudge:
    towards = _side(topology.towards, members, choose)
    if topology.towards is None:
        towards = [name for name in members.names if name not in chosen]
    itself = sorted(set(chosen) & set(towards))
    if itself:
        raise Refusal(
            "SelfPartition",
            f"{', '.join(itself)} cannot be cut off from itself: write different members in with and towards",
        )
    if topology.direction == "in":
        return grudges.one_way(towards, chosen)
    return grudges.one_way(chosen, towards)


def _groups(topology: Topology, nodes: list[str]) -> tuple[tuple[str, ...], Grudge]:
    named = topology.groups or []
    cut = grudges.groups(nodes, named)
    listed = {name for group in named for name in group}
    all_groups = [*named, [name for name in nodes if name not in listed]]
    largest = max(all_groups, key=len)
    return tuple(name for name in nodes if name not in largest), cut


def _smaller_side(
    nodes: Sequence[str], shuffled: Sequence[str], chosen: Sequence[str], size: int
) -> tuple[str, ...]:
    """As the grudge fills it: the chosen first, then the others in the order given."""
    side = [*chosen, *(name for name in shuffled if name not in chosen)][:size]
    return _ordered(nodes, side)


def _ordered(nodes: Sequence[str], side: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in nodes if name in set(side))


def _hold_blast_radius(spec: NetworkPartitionSpec, cut_off: Sequence[str], grudge: Grudge) -> None:
    affected = len(cut_off) if cut_off else len(grudges.affected(grudge))
    if spec.max_affected is not None and affected > spec.max_affected:
        raise Refusal(
            "TooManyAffected",
            f"{affected} members would be cut off and maxAffected allows {spec.max_affected}: "
            f"write maxAffected: {affected}, or a topology that cuts off fewer",
        )


def _cuts_something(spec: NetworkPartitionSpec, grudge: Grudge) -> None:
    if not grudge:
        raise Refusal(
            "CutsNothing", f"topology {spec.topology.type} with these members cuts nothing: choose another"
        )


def _kept_from_clients(spec: NetworkPartitionSpec, members: Members, cut_off: Sequence[str]) -> list[str]:
    """The members that load clients are not to reach."""
    if spec.clients == "both":
        return []
    if not cut_off:
        raise Refusal(
            "NoSides",
            f"topology {spec.topology.type} has no majority and minority for clients: {spec.clients}: "
            "write clients: both",
        )
    if spec.clients == "majority":
        return list(cut_off)
    return [name for name in members.names if name not in cut_off]
