"""How one run is set up, all of it drawn from the seed: the cluster, its settings, its network, its clients.

Times are chosen around the election timeout, which is what matters to the protocol: a network is quick or
slow, a fault short or long in its terms.
"""

from random import Random
from typing import Literal

import msgspec

from faultlab.contract.member import ReadMode

from .loop import MS

FaultKind = Literal[
    "crash",
    "power",
    "powerAll",
    "pause",
    "cut",
    "clog",
    "loss",
    "slow",
    "drift",
    "jump",
    "slowDisk",
    "full",
    "eio",
    "fsync",
    "damage",
    "wipe",
    "transfer",
    "members",
    "load",
]

MAX_MEMBERS = 7


class NetworkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The links' habits when nothing is wrong."""

    delay_ns: int = 500_000
    """The mean of one direction."""
    asymmetry: float = 1.5
    """Each direction's mean lies between the mean divided by this and the mean times this."""
    loss: float = 0.0
    duplicate: float = 0.0
    """The share of frames that arrive twice."""
    reorder: float = 0.0
    """The share of frames that take up to eleven times as long and are overtaken."""


class DiskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The disks' habits."""

    latency_ns: int = 300_000
    """The mean of one job."""
    segment_bytes: int = 16 * 1024
    """Of the write-ahead log."""


class ClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what."""

    count: int = 5
    operations: int = 200
    """Of all clients together."""
    keys: int = 3
    value_bytes: int = 16
    sessions: float = 0.8
    """The share of clients that use a session, and so may send a write again."""
    session_ttl_ms: int = 60_000
    reads: float = 0.4
    """The share of operations that only read."""
    patience_ns: int = 400 * MS
    """How long a client waits for one answer before it asks somebody else."""
    wander: float = 0.2
    """How often it asks anybody, though it knows who answered last."""
    attempts: int = 6
    """How often it asks for the same thing."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that makes one run differ from another, besides its plan of faults."""

    members: int = 5
    prefix: str = "m"
    """Machines are called by this and a number."""
    spares: int = 2
    """Machines beside the first members', which may join them."""
    election_ns: int = 150 * MS
    """A follower campaigns after this to twice this."""
    election_ticks: int = 10
    heartbeat_ticks: int = 2
    pre_vote: bool = True
    check_quorum: bool = True
    reads: ReadMode = "linearizable"
    forward: bool = True
    """Followers pass requests on; else they tell where the leader is."""
    priorities: dict[str, int] = {}
    max_clock_drift_percent: int = 10
    drift: float = 0.02
    """Clocks run faster or slower by up to this share."""
    turn_ns: int = 0
    """How long a member gathers what arrives before it acts on it; 0: at once."""
    snapshot_log_bytes: int = 8 * 1024
    snapshot_chunk_bytes: int = 512
    max_inflight_messages: int = 16
    max_entries_bytes_per_message: int = 4 * 1024
    max_uncommitted_bytes: int = 64 * 1024
    max_committed_per_ready: int = 64
    network: NetworkOptions = NetworkOptions()
    disk: DiskOptions = DiskOptions()
    clients: ClientOptions = ClientOptions()
    chaos_ns: int = 5_000 * MS
    """How long faults are started."""
    recovery_ns: int = 6_000 * MS
    """How long after that the cluster may take until it has made progress."""
    faults: dict[FaultKind, float] = {}
    """How many of each kind are to be expected in the run."""

    @property
    def tick_ns(self) -> int:
        """One tick, on a member's own clock."""
        return self.election_ns // self.election_ticks

    @property
    def names(self) -> tuple[str, ...]:
        """The machines that are members at the beginning."""
        return tuple(f"{self.prefix}{number}" for number in range(self.members))

    @property
    def machines(self) -> tuple[str, ...]:
        """All machines: some wait to become members."""
        return tuple(f"{self.prefix}{number}" for number in range(self.members + self.spares))


_FAULTS: dict[FaultKind, float] = {
    "crash": 4,
    "power": 3,
    "powerAll": 0.4,
    "pause": 3,
    "cut": 5,
    "clog": 2,
    "loss": 1,
    "slow": 1,
    "drift": 1,
    "jump": 1,
    "slowDisk": 1,
    "full": 0.5,
    "eio": 0.5,
    "fsync": 1,
    "damage": 0.8,
    "wipe": 0.5,
    "transfer": 2,
    "members": 2,
    "load": 0.7,
}
"""The mean number in a run of middling intensity."""


def draw_options(rng: Random) -> Options:
    """The options of a seed, from its stream `options`."""
    members = rng.choices((1, 2, 3, 4, 5, 6, 7), (4, 4, 32, 8, 36, 6, 10))[0]
    election_ns = rng.choice((60, 100, 150, 250)) * MS
    election_ticks = rng.randint(7, 11)
    check_quorum = rng.random() < 0.8
    pre_vote = rng.random() < 0.85
    # A lease needs leaders that step down and followers that stay faithful while they hear theirs.
    reads: ReadMode = rng.choices(("linearizable", "lease", "follower"), (50, 25, 25))[0]
    if reads == "lease":
        check_quorum = True
    chaos_ns = int(election_ns * rng.uniform(25, 45))
    turn_ns = rng.choice((0, 0, election_ns // 200, election_ns // 40))
    network = _draw_network(rng, election_ns)
    disk = DiskOptions(
        latency_ns=int(election_ns * rng.choice((0.001, 0.01, 0.05))),
        segment_bytes=rng.choice((2, 4, 16)) * 1024,
    )
    # Clients that give up before any answer could have come would learn nothing.
    slowest_ns = int(10 * network.delay_ns * network.asymmetry + 6 * disk.latency_ns + 8 * turn_ns)
    clients = _draw_clients(rng, election_ns, slowest_ns)
    return Options(
        members=members,
        spares=min(2, MAX_MEMBERS - members),
        election_ns=election_ns,
        election_ticks=election_ticks,
        heartbeat_ticks=rng.randint(1, 2),
        pre_vote=pre_vote,
        check_quorum=check_quorum,
        reads=reads,
        # A lease is worth a try where clients stay with the leader that they know.
        forward=rng.random() < (0.2 if reads == "lease" else 0.6),
        priorities={f"m{rng.randrange(members)}": 1} if rng.random() < 0.2 else {},
        drift=rng.choice((0.0, 0.01, 0.045)),
        turn_ns=turn_ns,
        snapshot_log_bytes=rng.choice((3, 6, 12, 48)) * 1024,
        # A snapshot has some tens of values, and is to arrive in tens of parts, not hundreds.
        snapshot_chunk_bytes=max(rng.choice((128, 512, 4096)), 8 * clients.value_bytes),
        max_inflight_messages=rng.choice((1, 4, 16)),
        max_entries_bytes_per_message=rng.choice((64, 512, 8192)),
        max_uncommitted_bytes=rng.choice((512, 4096, 65536)),
        max_committed_per_ready=rng.choice((2, 16, 256)),
        network=network,
        disk=disk,
        clients=clients,
        chaos_ns=chaos_ns,
        recovery_ns=election_ns * 60,
        faults=_draw_faults(rng),
    )


def _draw_network(rng: Random, election_ns: int) -> NetworkOptions:
    return NetworkOptions(
        delay_ns=int(election_ns * rng.choice((0.002, 0.01, 0.04))),
        asymmetry=rng.choice((1.0, 1.5, 3.0)),
        loss=rng.choice((0.0, 0.0, 0.01, 0.05)),
        duplicate=rng.choice((0.0, 0.02, 0.1)),
        reorder=rng.choice((0.0, 0.02, 0.2)),
    )


def _draw_clients(rng: Random, election_ns: int, slowest_ns: int) -> ClientOptions:
    return ClientOptions(
        count=rng.randint(2, 7),
        keys=rng.randint(1, 3),
        wander=rng.choice((0.1, 0.4)),
        value_bytes=rng.choice((8, 16, 64, 700)),
        sessions=rng.choice((0.5, 1.0)),
        session_ttl_ms=int(election_ns / MS * rng.choice((4, 40, 400))),
        reads=rng.choice((0.2, 0.4, 0.6)),
        patience_ns=max(int(election_ns * rng.choice((0.3, 1.0, 3.0))), slowest_ns),
        attempts=rng.randint(3, 10),
    )


def _draw_faults(rng: Random) -> dict[FaultKind, float]:
    """Half of the kinds, so that each is also seen alone; some runs are rough and some nearly calm."""
    intensity = rng.choice((0.3, 1.0, 1.0, 2.0))
    return {kind: mean * intensity for kind, mean in _FAULTS.items() if rng.random() < 0.6}
