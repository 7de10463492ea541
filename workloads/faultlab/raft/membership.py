"""Which members shall vote, and the next step on the way there (thesis, chapter 4).

Level-triggered: `next_step` compares what is wanted with the configuration as it is, so a leader that is
asked in the middle of a change, by whomever it was begun, goes on with it. The steps, each of which waits
until the one before is committed:

1. who lost its data is removed: at no time are two ids of one name in a configuration;
2. names that are missing are added as learners, under ids that were never used (`name#N`, N being the
   index of the entry that adds them): they get the log and decide nothing (4.2.1);
3. once they have caught up, one joint change (4.3) gives them their votes and takes those of who is not
   wanted; a leader among the latter hands over first (4.2.2), so that clients wait for no election;
4. what is left is the addresses of voters, if they are others: one at a time, and only while the others are
   a majority without it. So an address at which nobody answers cuts off one member, and can be put right.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from typing import TypeAlias

import msgspec

from faultlab.contract.member import MembershipRequest, PeerAddress, PeerProgress

from .configuration import Address, Configuration, NodeId, id_at, name_of

MAX_MEMBERS = 9
_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,253}")
_MAX_PORT = 65535


class Propose(msgspec.Struct, frozen=True):
    """Propose this configuration; where its voters are others, the core goes through a joint one."""

    configuration: Configuration


class HandOver(msgspec.Struct, frozen=True):
    """Transfer the leadership to one of these; the next leader goes on."""

    candidates: tuple[NodeId, ...]


class Wait(msgspec.Struct, frozen=True):
    """Nothing to be done until something else has happened."""

    reason: str


class Reached(msgspec.Struct, frozen=True):
    """The configuration is as wanted."""


Step: TypeAlias = Propose | HandOver | Wait | Reached


class Goal(msgspec.Struct, frozen=True):
    """The voters wanted, by name, and ids that must go even though their name is wanted."""

    members: Mapping[str, PeerAddress]
    replace: frozenset[NodeId]

    @classmethod
    def of(cls, request: MembershipRequest) -> "Goal":
        """Raises ValueError for a set of members that no cluster can have, or addresses that nobody can dial:
        a configuration counts as soon as it is in the log, so members would never find each other again."""
        names = [peer.name for peer in request.members]
        if not 1 <= len(names) <= MAX_MEMBERS:
            raise ValueError(f"members: {len(names)} of them; a cluster has 1 to {MAX_MEMBERS}")
        if len(set(names)) != len(names):
            raise ValueError(f"members: a name occurs twice in {', '.join(names)}; name each once")
        if any("#" in name or "/" in name or not name for name in names):
            raise ValueError(
                f"members: {', '.join(names)}: give names, which have neither '#' nor '/', not ids"
            )
        check_addresses(request.members)
        return cls({peer.name: peer for peer in request.members}, frozenset(request.replace))


def next_step(
    goal: Goal,
    current: Configuration,
    leader: NodeId,
    *,
    pending: bool,
    caught_up: Collection[NodeId],
    reachable: Collection[NodeId],
    next_index: int,
) -> Step:
    """`pending`: `current` is not committed yet. `reachable`: to whom the leader has a connection.
    `next_index`: where its next entry will stand."""
    if current.joint:
        return Wait("the joint configuration to be left")
    if pending:
        return Wait("the configuration to be committed")
    gone = {i for i in (*current.voters, *current.learners) if i in goal.replace}
    unwanted = {i for i in (*current.voters, *current.learners) if name_of(i) not in goal.members}
    if gone or unwanted & set(current.learners):
        return _remove(current, leader, gone | (unwanted & set(current.learners)))
    missing = goal.members.keys() - {name_of(i) for i in (*current.voters, *current.learners)}
    if missing:
        added = {id_at(name, next_index): address_of(goal.members[name]) for name in sorted(missing)}
        return Propose(_with(current, current.voters, (*current.learners, *added), added))
    moved = _moved(goal, current)
    if any(learner in moved for learner in current.learners):
        found = {i: address for i, address in moved.items() if i in current.learners}
        return Propose(_with(current, current.voters, current.learners, found))
    behind = [i for i in current.learners if i not in caught_up]
    if behind:
        return Wait(f"{', '.join(behind)} to catch up")
    voters = (*(i for i in current.voters if i not in unwanted), *current.learners)
    if set(voters) != set(current.voters):
        if leader not in voters:
            staying = tuple(i for i in voters if i in current.voters)
            if staying:
                return HandOver(staying)
            voters = (leader, *voters)  # all are replaced: the new ones get their votes before it goes
        return Propose(_with(current, voters, (), {}))
    return _move(current, moved, {leader, *reachable}) if moved else Reached()


def _remove(current: Configuration, leader: NodeId, gone: Set[NodeId]) -> Step:
    """Takes ids out; the others decide alone from then on."""
    voters = tuple(i for i in current.voters if i not in gone)
    learners = tuple(i for i in current.learners if i not in gone)
    if not voters:
        return Wait(f"a voter besides {', '.join(sorted(gone))}: nobody would be left to decide")
    if leader in gone:
        return HandOver(voters)
    return Propose(_with(current, voters, learners, {}))


def _moved(goal: Goal, current: Configuration) -> dict[NodeId, Address]:
    """The addresses that are to be others."""
    wanted = {i: goal.members.get(name_of(i)) for i in current.members}
    addresses = {i: address_of(peer) for i, peer in wanted.items() if peer is not None}
    return {i: address for i, address in addresses.items() if current.addresses.get(i) != address}


def _move(current: Configuration, moved: Mapping[NodeId, Address], reachable: Set[NodeId]) -> Step:
    """Changes the address of the first voter that the others can do without."""
    for member_id in sorted(moved):
        others = reachable & {voter for voter in current.voters if voter != member_id}
        if 2 * len(others) > len(current.voters) or current.voters == (member_id,):
            return Propose(_with(current, current.voters, (), {member_id: moved[member_id]}))
    return Wait(f"a majority to be reachable without {' or '.join(sorted(moved))}, to change its address")


def _with(
    current: Configuration,
    voters: tuple[NodeId, ...],
    learners: tuple[NodeId, ...],
    addresses: Mapping[NodeId, Address],
) -> Configuration:
    """These members, at the addresses of now but for `addresses`."""
    found = {**current.addresses, **addresses}
    return Configuration(voters, (), learners, {i: found[i] for i in (*voters, *learners) if i in found})


def address_of(peer: PeerAddress) -> Address:
    """As a configuration keeps it."""
    return Address(peer.host, peer.client_port, peer.peer_port, peer.admin_port)


def check_addresses(members: Iterable[PeerAddress]) -> None:
    """Raises ValueError where nobody could dial one of them, or two listen at one place."""
    places: Counter[tuple[str, int]] = Counter()
    for peer in members:
        if _HOST.fullmatch(peer.host) is None:
            raise ValueError(
                f"members: {peer.name} has the host {peer.host!r}; give a name or address to dial"
            )
        ports = {"clientPort": peer.client_port, "peerPort": peer.peer_port, "adminPort": peer.admin_port}
        for which, port in ports.items():
            if not 1 <= port <= _MAX_PORT:
                raise ValueError(f"members: {peer.name} has {which} {port}; a port is 1 to {_MAX_PORT}")
            places[peer.host, port] += 1
    twice = [f"{host}:{port}" for (host, port), count in places.items() if count > 1]
    if twice:
        raise ValueError(f"members: {', '.join(twice)} is given twice; each port needs a place of its own")


def choose_successor(
    candidates: Iterable[NodeId], progress: Mapping[NodeId, PeerProgress], priorities: Mapping[str, int]
) -> NodeId | None:
    """Who shall lead next: of those that follow closely the one of highest priority, then the one that
    lacks least; None if there is nobody."""
    known = [(i, progress[i]) for i in candidates if i in progress and not progress[i].learner]
    if not known:
        return None
    return max(
        known,
        key=lambda item: (
            item[1].state == "replicate",
            priorities.get(name_of(item[0]), 0),
            item[1].match_index,
        ),
    )[0]
