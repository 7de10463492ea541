"""The network between machines: each direction of each pair a link with habits of its own.

A link delays by a distribution, loses, repeats and overtakes; it can be clogged (nothing arrives until
it is free again) and cut. A cut is a grudge: who does not hear whom; frames are dropped when they
arrive, as the lab's agents do it. Only Raft's own messages are repeated and outlive the processes at
either end: they must bear it, while requests and answers ride on connections that cannot do that.
"""

from collections.abc import Iterable, Mapping
from random import Random

from .loop import Loop
from .options import NetworkOptions


class Channel:
    """One direction between two machines."""

    __slots__ = ("clogged_until", "cuts", "delay_ns", "last_arrival", "slowed")

    def __init__(self, delay_ns: float) -> None:
        self.delay_ns = delay_ns
        """The mean."""
        self.cuts = 0
        """Grudges in force that drop what goes this way."""
        self.clogged_until = 0
        self.last_arrival = 0
        self.slowed = 1.0
        """By how much the delay is multiplied at the moment."""


class Network:
    """All links of one run."""

    def __init__(self, loop: Loop, rng: Random, options: NetworkOptions) -> None:
        self._loop = loop
        self._rng = rng
        self._options = options
        self._channels: dict[tuple[str, str], Channel] = {}
        self.loss = options.loss
        """The share of frames lost at the moment."""
        self._orderly = not options.reorder and not options.duplicate

    def channel(self, source: str, target: str) -> Channel:
        """The link from one machine to another; its mean delay is drawn when it is first asked for."""
        channel = self._channels.get((source, target))
        if channel is None:
            spread = self._options.asymmetry
            delay_ns = self._options.delay_ns * self._rng.uniform(1 / spread, spread)
            channel = self._channels[(source, target)] = Channel(delay_ns)
        return channel

    def arrivals(self, channel: Channel, repeatable: bool) -> tuple[int, ...]:
        """When a frame sent now arrives: never, once, or (if it may be repeated) twice."""
        random = self._rng.random
        delay = channel.delay_ns * channel.slowed
        share = random()
        arrival = self._loop.now + int(delay * (0.5 + share))
        if self._orderly:
            if arrival <= channel.last_arrival:
                arrival = channel.last_arrival + 1
            if arrival < channel.clogged_until:
                arrival = channel.clogged_until
            channel.last_arrival = arrival
            return () if self.loss and random() < self.loss else (arrival,)
        return self._unorderly(channel, arrival, delay, repeatable)

    def _unorderly(self, channel: Channel, arrival: int, delay: float, repeatable: bool) -> tuple[int, ...]:
        options, random = self._options, self._rng.random
        if random() < self.loss:
            return ()
        if random() < options.reorder:
            # Takes a long way round, and neither waits for those before nor holds up those behind.
            arrival += int(delay * 10 * random())
        else:
            arrival = max(arrival, channel.last_arrival + 1, channel.clogged_until)
            channel.last_arrival = arrival
        if repeatable and random() < options.duplicate:
            return (arrival, arrival + int(options.delay_ns * 8 * random()))
        return (arrival,)

    def hears(self, target: str, source: str) -> bool:
        """Whether frames from `source` get through to `target` at the moment."""
        channel = self._channels.get((source, target))
        return channel is None or not channel.cuts

    def cut(self, grudge: Mapping[str, Iterable[str]]) -> None:
        """Nobody named hears those it has a grudge against, until `mend` is called with the same."""
        for target in sorted(grudge):
            for source in sorted(grudge[target]):
                self.channel(source, target).cuts += 1

    def mend(self, grudge: Mapping[str, Iterable[str]]) -> None:
        """Takes a cut back."""
        for target in sorted(grudge):
            for source in sorted(grudge[target]):
                self.channel(source, target).cuts -= 1

    def channels_of(self, machine: str) -> list[Channel]:
        """The links to and from a machine that have been used."""
        return [channel for ends, channel in self._channels.items() if machine in ends]

    def delay_ns(self, source: str, target: str) -> int:
        """How long the next packet takes, if it gets through."""
        return int(self.channel(source, target).delay_ns * self._rng.uniform(0.5, 1.5))

    def lose_as_usual(self) -> None:
        """The end of a time of greater loss."""
        self.loss = self._options.loss

    def heal(self) -> None:
        """All links are free, quick and lose what they lose by nature."""
        self.lose_as_usual()
        for channel in self._channels.values():
            channel.cuts = 0
            channel.clogged_until = 0
            channel.slowed = 1.0
