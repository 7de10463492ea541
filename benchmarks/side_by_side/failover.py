"""How long a cluster cannot write: when its leader is killed, cut off, or hands over.

A round begins with every member up and following one leader, and writes going through. The time of a
failover counts from the fault to the first acknowledgement of a write that was sent after it.
"""

import asyncio
import random
import time
from collections.abc import Callable

import msgspec

from .cluster import Cluster
from .prober import Prober, in_thread
from .processes import BenchmarkError

_FAILOVER_TIMEOUT_S = 20.0
_AFTER_TRANSFER_S = 0.5
_BACK_TIMEOUT_S = 30.0
_TRANSFER_TRIES = 20


class Times(msgspec.Struct, frozen=True, rename="camel"):
    """What the rounds took, in milliseconds."""

    rounds: list[float]

    @property
    def p50(self) -> float:
        return sorted(self.rounds)[len(self.rounds) // 2]

    @property
    def max(self) -> float:
        return max(self.rounds)


Say = Callable[[str], None]


def after_kill(cluster: Cluster, rounds: int, rng: random.Random, say: Say) -> Times:
    """SIGKILL of the leader, again and again; it is started anew each time."""

    def fault(leader: int) -> float:
        return cluster.kill(leader)

    def repair(leader: int) -> None:
        cluster.start(leader)

    return _failovers(cluster, rounds, rng, fault, repair, say)


def after_cut(
    cluster: Cluster,
    rounds: int,
    rng: random.Random,
    cut: Callable[[int], float],
    heal: Callable[[int], None],
    say: Say,
) -> Times:
    """The leader loses its network, which comes back once another one leads."""
    return _failovers(cluster, rounds, rng, cut, heal, say)


def _failovers(
    cluster: Cluster,
    rounds: int,
    rng: random.Random,
    fault: Callable[[int], float],
    repair: Callable[[int], None],
    say: Say,
) -> Times:
    taken = []
    for number in range(rounds):
        leader = cluster.await_leader(timeout_s=_BACK_TIMEOUT_S)
        taken.append(asyncio.run(_failover(cluster, leader, rng.uniform(0.0, 0.2), fault)) * 1000)
        repair(leader)
        say(f"{cluster.system} round {number + 1}: {taken[-1]:.0f} ms")
    cluster.await_leader(timeout_s=_BACK_TIMEOUT_S)
    return Times(taken)


async def _failover(cluster: Cluster, leader: int, delay_s: float, fault: Callable[[int], float]) -> float:
    async with Prober(cluster, range(len(cluster.places))) as prober:
        await prober.steady()
        await asyncio.sleep(delay_s)  # the fault hits any moment between two heartbeats
        at_s = await in_thread(lambda: fault(leader))
        return (await prober.first_after(at_s, _FAILOVER_TIMEOUT_S)).done_s - at_s


def at_transfer(cluster: Cluster, rounds: int, say: Say) -> Times:
    """The longest time without an acknowledgement around a hand-over to another member."""
    taken = []
    for number in range(rounds):
        leader = cluster.await_leader()
        to = (leader + 1) % len(cluster.places)
        taken.append(asyncio.run(_transfer(cluster, leader, to)) * 1000)
        say(f"{cluster.system} round {number + 1}: {taken[-1]:.0f} ms")
    return Times(taken)


async def _transfer(cluster: Cluster, leader: int, to: int) -> float:
    def ask() -> float:
        at_s = time.monotonic()
        cluster.transfer(leader, to)
        return at_s

    async with Prober(cluster, range(len(cluster.places))) as prober:
        await prober.steady()
        at_s = await in_thread(ask)
        for _ in range(_TRANSFER_TRIES):
            await asyncio.sleep(_AFTER_TRANSFER_S / 2)
            view = await in_thread(lambda: float((cluster.leader_and_term(to) or (-1, 0))[0] == to))
            if view:
                break
        else:
            raise BenchmarkError(f"{cluster.system}: member {to} does not lead though {leader} handed over")
        await asyncio.sleep(_AFTER_TRANSFER_S)
        return prober.longest_gap_s(at_s)
