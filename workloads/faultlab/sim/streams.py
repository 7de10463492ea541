"""One seed, many streams of chance, so that a draw more in one does not change any other.

Python seeds `random.Random` with the bytes of a string, so the streams are the same in every process,
whatever PYTHONHASHSEED is.
"""

from random import Random


class Streams:
    """The generators of one run, by what they are for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.options = self.stream("options")
        """The settings of the run."""
        self.network = self.stream("network")
        """Delays, losses, copies."""
        self.disk = self.stream("disk")
        """Latencies, and what a power cut leaves."""
        self.clocks = self.stream("clocks")
        """Where clocks stand and how fast they run."""
        self.crashes = self.stream("crashes")
        """How a process ends."""
        self.clients = self.stream("clients")
        """What clients ask, whom and when."""
        self.membership = self.stream("membership")
        """Who joins and who leaves."""

    def stream(self, name: str) -> Random:
        """A generator of its own for `name`; the same name gives the same numbers again."""
        return Random(f"{self.seed}/{name}")
