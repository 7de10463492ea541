"""Raft's promises (paper, figure 3) under random faults: each seed is one cluster's life.

Losses, reordering, cuts of any shape, slow disks, crashes that lose what was not synced. The harness
checks election safety, leader completeness, state machine safety and read indexes all the time, log
matching at the end; then everything heals and the cluster must go on.
"""

import random

import pytest

from .harness import Cluster


def live(seed: int, steps: int = 150) -> Cluster:
    """A cluster of random settings through random faults, healed at the end."""
    rng = random.Random(f"faults {seed}")
    cluster = Cluster(
        rng.choice([1, 3, 3, 5]),
        seed,
        drop=rng.choice([0, 0.02, 0.1]),
        delay_ms=rng.choice([(0.5, 2), (0.5, 30)]),
        sync_ms=rng.choice([(0.1, 1), (1, 20)]),
        pre_vote=rng.random() < 0.5,
        check_quorum=rng.random() < 0.5,
        max_inflight_messages=rng.choice([1, 3, 16]),
        max_entries_bytes_per_message=rng.choice([24, 10_000]),
        election_ticks=rng.choice([10, 20]),
        heartbeat_ticks=2,
    )
    for step in range(steps):
        cluster.run(rng.uniform(1, 40))
        for host in cluster.hosts.values():
            if host.up and host.raft.role == "leader":
                cluster.propose(host, *(b"%d.%d" % (step, i) for i in range(rng.choice([1, 1, 5]))))
                cluster.read(host)
        disturb(cluster, rng)
    cluster.heal()
    cluster.drop = 0
    for host in cluster.hosts.values():
        if not host.up:
            host.start()
    return cluster


def disturb(cluster: Cluster, rng: random.Random) -> None:
    """In some steps one fault, in some a cure."""
    dice = rng.random()
    if dice < 0.02:
        names = rng.sample(cluster.names, len(cluster.names))
        split = rng.randrange(len(names) + 1)
        cluster.partition(names[:split], names[split:])
    elif dice < 0.03:
        cluster.majorities_ring()
    elif dice < 0.04:
        cluster.cut = {(a, b) for a in cluster.names for b in cluster.names if rng.random() < 0.3}
    elif dice < 0.07:
        cluster.heal()
    elif dice < 0.10:
        victim = cluster.hosts[rng.choice(cluster.names)]
        if victim.up:
            victim.crash()
    elif dice < 0.14:
        for host in cluster.hosts.values():
            if not host.up:
                host.start()


def reach_all(cluster: Cluster, payload: bytes) -> None:
    """Proposes until every member has applied it: a leader may still lose its office, and the entry."""

    def applied_by_all() -> bool:
        return all(any(e.data == payload for e in host.applied) for host in cluster.hosts.values())

    for _ in range(20):
        cluster.propose(cluster.elect(), payload)
        cluster.run(500)
        if applied_by_all():
            return
    pytest.fail(f"seed {cluster.seed}: the healed cluster makes no progress: {cluster.describe()}")


@pytest.mark.parametrize("seed", range(100))
def test_figure_3_every_promise_holds_and_the_healed_cluster_goes_on(seed: int) -> None:
    cluster = live(seed)
    reach_all(cluster, b"after the heal")
    cluster.check_logs()
    assert not cluster.violations, f"seed {seed}"
    assert not cluster.reported(""), f"seed {seed}"
    assert len(cluster.chosen) > 20, f"seed {seed} did next to nothing"
