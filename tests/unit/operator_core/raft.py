"""A cluster's protocol in small: the leader among fake members takes orders, and all members follow."""

from collections.abc import Sequence
from typing import Any

import msgspec

from faultlab.contract.member import (
    MembershipReply,
    MembershipRequest,
    PeerProgress,
    TransferReply,
    TransferRequest,
)

from .conftest import FakeMember, configured

COMMIT = 4000


class FakeRaft:
    """Takes one step towards what the leader was told with each time that it is told."""

    def __init__(self, members: Sequence[FakeMember], voters: int) -> None:
        self.members = {member.name: member for member in members}
        self.voters = [member.name for member in members[:voters]]
        self.outgoing: list[str] = []
        self.learners: list[str] = []
        self.index = 0
        self.term = 1
        self.leader = self.voters[0]
        self.behind: dict[str, int] = {}
        """By name: entries that a member lacks; a learner gets no vote while it lacks any."""
        self.orders: list[MembershipRequest] = []
        self.transfers: list[str | None] = []
        self.refuses_to_transfer = False
        self.decides = True
        """Whether what the leader appends is committed."""
        for member in members:
            member.take_order = lambda path, body, name=member.name: self._take(name, path, body)  # type: ignore[misc]
        self.show()

    def lead(self, name: str) -> None:
        """Another leader, in a later term."""
        self.leader, self.term = name, self.term + 1
        self.show()

    def show(self) -> None:
        """Has all members that are in the configuration say so."""
        configuration = configured(self.index, self.voters, outgoing=self.outgoing, learners=self.learners)
        known = {each.partition("#")[0]: each for each in (*self.outgoing, *self.voters, *self.learners)}
        for name, member in self.members.items():
            inside = name in known
            member.configuration = configuration if inside else None
            member.term, member.ready = (self.term, True) if inside else (0, False)
            member.leader = self.leader if inside else None
            member.role = "leader" if name == self.leader else "follower"
            member.peers = {}
        self.members[self.leader].peers = {
            name: PeerProgress(
                COMMIT - self.behind.get(name, 0), 0, "replicate", learner=known[name] in self.learners
            )
            for name in known
            if name != self.leader
        }
        self.members[self.leader].commit_index = COMMIT if self.decides else self.index - 1
        self.members[self.leader].say("ConfigurationChanged")

    def _take(self, name: str, path: str, body: bytes) -> tuple[int, Any]:
        if name != self.leader:
            return 409, TransferReply(self.leader)
        if path == "/transfer":
            return self._transfer(msgspec.json.decode(body, type=TransferRequest))
        order = msgspec.json.decode(body, type=MembershipRequest)
        self.orders.append(order)
        handed_over = self._step(order)
        if handed_over:
            return 409, TransferReply(self.leader)
        self.show()
        configuration = self.members[self.leader].configuration
        assert configuration is not None
        wanted = {peer.name for peer in order.members}
        reached = {each.name for each in configuration.voters} == wanted and not (
            configuration.learners or configuration.outgoing
        )
        return (200 if reached else 202), MembershipReply(
            reached, configuration, "the others", committed=self.decides
        )

    def _transfer(self, order: TransferRequest) -> tuple[int, Any]:
        self.transfers.append(order.to)
        if self.refuses_to_transfer or order.to is None:
            return 409, TransferReply(self.leader)
        self.lead(order.to)
        return 200, TransferReply(self.leader)

    def _step(self, order: MembershipRequest) -> bool:
        """One change; whether the leader handed over instead."""
        self.index += 1
        wanted = [peer.name for peer in order.members]
        if self.outgoing:
            self.outgoing = []
            return False
        lost = [each for each in (*self.voters, *self.learners) if each in order.replace]
        if lost:
            if self.leader == lost[0].partition("#")[0]:
                self.lead(next(each for each in self.voters if each not in lost).partition("#")[0])
                return True
            self.voters = [each for each in self.voters if each not in lost]
            self.learners = [each for each in self.learners if each not in lost]
            return False
        here = {each.partition("#")[0] for each in (*self.voters, *self.learners)}
        if missing := [name for name in wanted if name not in here]:
            self.learners += [f"{name}#{self.index}" for name in missing]
            return False
        if any(self.behind.get(each.partition("#")[0], 0) for each in self.learners):
            return False
        after = [each for each in (*self.voters, *self.learners) if each.partition("#")[0] in wanted]
        if after == self.voters:
            return False
        if self.leader not in wanted:
            self.lead(wanted[0])
            return True
        self.outgoing, self.voters, self.learners = self.voters, after, []
        return False
