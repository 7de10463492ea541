"""Who the members are: voters, learners, and where they are reached (thesis, chapter 4).

A configuration is an entry of the log. A member uses the latest one in its log, committed or not (4.1).
Voters change through joint consensus (4.3): while `outgoing` is not empty, every decision takes a majority
of `voters` and one of `outgoing`. Learners get the log and decide nothing (4.2.1).

Ids: a member of the first configuration is called by its name; one that joins later by `name#N`, where N is
the index of the entry that first added it. So a member that lost its data and comes back is another one.
"""

from typing import NamedTuple, TypeAlias

import msgspec

from .errors import MalformedMessage

NodeId: TypeAlias = str
"""`demo-0` or `demo-0#1234`: one life of a member's data."""


class Address(NamedTuple):
    """Where a member listens."""

    host: str
    client_port: int
    peer_port: int
    admin_port: int


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """Who votes, who learns. Without voters (a member that waits to be added) nothing can be decided."""

    voters: tuple[NodeId, ...] = ()
    outgoing: tuple[NodeId, ...] = ()
    """The voters of before, in joint consensus; else empty."""
    learners: tuple[NodeId, ...] = ()
    addresses: dict[NodeId, Address] = {}

    @property
    def joint(self) -> bool:
        """Whether two majorities decide at the moment (C_old,new)."""
        return bool(self.outgoing)

    @property
    def members(self) -> tuple[NodeId, ...]:
        """Everybody, each once: voters, outgoing voters, learners."""
        return tuple(dict.fromkeys((*self.voters, *self.outgoing, *self.learners)))

    def has_vote(self, node: NodeId) -> bool:
        """Whether that member's vote counts, in one half of a joint configuration at least."""
        return node in self.voters or node in self.outgoing

    def toward(self, target: "Configuration") -> "Configuration":
        """The first step from here to `target`: itself if the voters stay, else the joint configuration."""
        if set(target.voters) == set(self.voters) and not self.outgoing:
            return target
        return Configuration(
            target.voters, self.voters, target.learners, {**self.addresses, **target.addresses}
        )

    def left(self) -> "Configuration":
        """The configuration that ends joint consensus (C_new)."""
        members = {*self.voters, *self.learners}
        addresses = {node: at for node, at in self.addresses.items() if node in members}
        return Configuration(self.voters, (), self.learners, addresses)

    def check(self) -> None:
        """Raises ValueError for a configuration that nobody may propose."""
        if not self.voters:
            raise ValueError("a configuration without voters could never decide anything again; name one")
        for kind in ("voters", "outgoing", "learners"):
            nodes: tuple[NodeId, ...] = getattr(self, kind)
            if len(set(nodes)) != len(nodes):
                raise ValueError(f"{kind} {list(nodes)} name a member twice; name each once")
        both = {*self.voters, *self.outgoing} & {*self.learners}
        if both:
            raise ValueError(f"{sorted(both)} are voters and learners at once; name each in one place")
        names = [name_of(node) for node in self.members]
        if len(set(names)) != len(names):
            raise ValueError(
                f"{list(self.members)} hold two ids of one name; remove the one before adding the other"
            )

    def describe(self) -> str:
        """For people: `voters a,b,c`, with `outgoing` and `learners` where there are any."""
        parts = [("voters", self.voters), ("outgoing", self.outgoing), ("learners", self.learners)]
        return " ".join(f"{kind} {','.join(nodes)}" for kind, nodes in parts if nodes) or "nobody"


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Configuration)


def encode_configuration(configuration: Configuration) -> bytes:
    """The data of a configuration entry."""
    return _encoder.encode(configuration)


def decode_configuration(data: bytes) -> Configuration:
    """What `encode_configuration` made; raises MalformedMessage for anything else."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"{len(data)} bytes are no configuration: {error}") from error


def name_of(node: NodeId) -> str:
    """The name of the member whose data has that id."""
    return node.partition("#")[0]


def id_at(name: str, index: int) -> NodeId:
    """The id of a member that the configuration entry at `index` adds."""
    return f"{name}#{index}"
