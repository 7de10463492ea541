"""Frames between members: from one's link, over the network, to the other's node.

What runtime/peers does with sockets: a link per peer, a handshake per connection that tells whose data
speaks, and silence where a connection is cut.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from faultlab.raft.configuration import name_of
from faultlab.raft.forwarding import REQUEST_CHANNEL
from faultlab.raft.node import RAFT_CHANNEL

if TYPE_CHECKING:
    from .machine import Machine, Process
    from .network import Channel
    from .world import SimWorld


class SimLink:
    """From one process to one member; `raft/host.py`'s Link."""

    __slots__ = ("_transport", "channel", "machine", "process", "target")

    def __init__(self, transport: "Transport", process: "Process", target: str) -> None:
        self._transport = transport
        self.process = process
        self.target = target
        """An id."""
        self.machine: Machine = transport.machine_of(target)
        """Where that member is, if it is anywhere."""
        self.channel: Channel = transport.channel_between(process.machine, self.machine)

    @property
    def connected(self) -> bool:
        """A connection that is cut shows so only by its silence."""
        return True

    def send_urgent(self, channel: int, payload: bytes) -> None:
        """As Link.send_urgent."""
        self._transport.send(self, channel, payload)

    send_bulk = send_urgent

    def send_request(self, channel: int, payload: bytes) -> bool:
        """As Link.send_request: it may be lost on the way, but it was sent."""
        self._transport.send(self, channel, payload)
        return not self.process.ended


class SimPeers:
    """The links of one process; `raft/host.py`'s Peers."""

    def __init__(self, transport: "Transport", process: "Process") -> None:
        self._transport = transport
        self._process = process
        self.links: dict[str, SimLink] = {}

    def update_peers(self, peers: Mapping[str, tuple[str, int]]) -> None:
        """Links to these and no other."""
        for gone in [member for member in self.links if member not in peers]:
            del self.links[gone]
        for member in peers:
            self.heard_from(member)

    def heard_from(self, member: str) -> None:
        """Whoever is heard can be answered."""
        if member not in self.links:
            self.links[member] = SimLink(self._transport, self._process, member)


class Transport:
    """All connections of one world."""

    def __init__(self, world: "SimWorld") -> None:
        self._world = world
        self._loop = world.loop
        self._network = world.network
        self._recorder = world.recorder
        self._frames = 0

    def machine_of(self, member_id: str) -> "Machine":
        """The machine that a member runs on."""
        return self._world.machines[name_of(member_id)]

    def channel_between(self, source: "Machine", target: "Machine") -> "Channel":
        """The network's link."""
        return self._network.channel(source.name, target.name)

    def send(self, link: SimLink, channel: int, payload: bytes) -> None:
        """A frame sets out."""
        process = link.process
        if process.ended:
            return
        self._frames += 1
        number = self._frames
        self._recorder.frame("sent", process.machine.name, link.machine.name, number, channel, payload)
        repeatable = channel == RAFT_CHANNEL
        if channel == REQUEST_CHANNEL:
            self._world.marks.reach("request forwarded")
        arrivals = self._network.arrivals(link.channel, repeatable)
        if not arrivals:
            self._drop(link, number, channel)
        receiver = link.machine.process
        life = 0 if receiver is None else receiver.life
        for when in arrivals:
            self._loop.at(when, self._arrive, link, life, number, channel, payload)

    def _drop(self, link: SimLink, number: int, channel: int) -> None:
        source, target = link.process.machine.name, link.machine.name
        self._recorder.frame("dropped", source, target, number, channel, b"")

    def _arrive(self, link: SimLink, life: int, number: int, channel: int, payload: bytes) -> None:
        sender = link.process
        receiver = link.machine.process
        if (
            receiver is None
            or receiver.id != link.target
            or link.channel.cuts
            # Only Raft's messages survive the connection that they were sent on.
            or (channel != RAFT_CHANNEL and (receiver.life != life or sender.ended))
            or not (self._still_connected(sender, receiver) or self._introduced(sender, receiver))
        ):
            self._drop(link, number, channel)
            return
        self._recorder.frame("received", sender.machine.name, link.machine.name, number, channel, b"")
        receiver.enter(receiver.node.received, sender.id, channel, payload)

    def _still_connected(self, sender: "Process", receiver: "Process") -> bool:
        """Who is connected can be answered, also once it is in no configuration that the receiver knows."""
        if sender not in receiver.met:
            return False
        receiver.peers.heard_from(sender.id)
        return True

    def _introduced(self, sender: "Process", receiver: "Process") -> bool:
        """The handshake: an id's data under another uuid than before is refused."""
        known = receiver.known.setdefault(sender.id, sender.uuid)
        if known != sender.uuid:
            # As raft/member.py: reviveEmpty switches the whole guard off.
            if self._world.break_rule != "reviveEmpty":
                self._loop.after(1, self._world.refused_by_peer, sender)
                return False
            self._world.safety.revived(sender.id)
        receiver.met[sender] = None
        receiver.peers.heard_from(sender.id)
        receiver.learned(sender.id, sender.uuid)
        return True
