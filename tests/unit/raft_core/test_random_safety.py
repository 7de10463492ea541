"""Random faults, five promises: figure 3 of the paper, held at every step over many seeds.

Loss, repetition, delay beyond the election timeout, partitions of every shape, crashes and restarts, slow
disks, all settings drawn from the seed; the cluster that is healed at the end must go on. In the second test
the members change too, snapshots are taken and sent, and the leadership is handed over at any time.
"""

import random
from collections import Counter

import pytest

from faultlab.raft.errors import RaftError

from .harness import Cluster, Host

JOINERS = ("x0", "x1", "x2")


def settings(rng: random.Random) -> dict[str, object]:
    return {
        "drop": rng.choice([0, 0.02, 0.1]),
        "duplicate": rng.choice([0, 0.05]),
        "delay_ms": rng.choice([(0.5, 2), (0.5, 30)]),
        "sync_ms": rng.choice([(0.1, 1), (1, 20)]),
        "max_inflight_messages": rng.choice([1, 3, 16]),
        "max_inflight_bytes": rng.choice([30, 10_000]),
        "max_entries_bytes_per_message": rng.choice([24, 10_000]),
        "snapshot_chunk_bytes": rng.choice([100, 2_000]),
        "max_inflight_chunks": rng.choice([1, 3]),
        "election_ticks": rng.choice([10, 20]),
        "heartbeat_ticks": 2,
    }


def live(seed: int, steps: int = 150) -> Cluster:
    """A cluster of random settings through random faults, healed at the end."""
    rng = random.Random(f"faults {seed}")
    cluster = Cluster(
        rng.choice([1, 3, 3, 5]),
        seed,
        pre_vote=rng.random() < 0.5,
        check_quorum=rng.random() < 0.5,
        **settings(rng),  # type: ignore[arg-type]
    )
    for step in range(steps):
        work(cluster, rng, step)
        disturb(cluster, rng)
    heal(cluster)
    return cluster


def live_with_changes(seed: int, steps: int = 200) -> Cluster:
    """As `live`, and whoever leads is asked for other members, snapshots and successors."""
    rng = random.Random(f"changes {seed}")
    lease = rng.random() < 0.3
    cluster = Cluster(
        rng.choice([1, 3, 3, 5]),
        seed,
        pre_vote=True,
        check_quorum=lease or rng.random() < 0.5,
        lease=lease,
        priorities=rng.choice([{}, {}, {"m0": 2, "x0": 1}]),
        **settings(rng),  # type: ignore[arg-type]
    )
    for name in JOINERS:
        cluster.add_host(name)
    for step in range(steps):
        work(cluster, rng, step)
        disturb(cluster, rng)
        change(cluster, rng)
    heal(cluster)
    return cluster


def work(cluster: Cluster, rng: random.Random, step: int) -> None:
    """Some time passes; whoever leads gets writes, and everybody reads."""
    cluster.run(rng.uniform(1, 40))
    for host in cluster.hosts.values():
        if host.up:
            cluster.read(host)
            if host.raft.role == "leader":
                cluster.propose(host, *(b"%d.%d" % (step, i) for i in range(rng.choice([1, 1, 5]))))


def disturb(cluster: Cluster, rng: random.Random) -> None:
    """In some steps one fault, in some a cure."""
    dice = rng.random()
    names = list(cluster.hosts)
    if dice < 0.02:
        rng.shuffle(names)
        split = rng.randrange(len(names) + 1)
        cluster.partition(names[:split], names[split:])
    elif dice < 0.03:
        cluster.majorities_ring()
    elif dice < 0.04:
        cluster.cut = {(a, b) for a in names for b in names if rng.random() < 0.3}
    elif dice < 0.07:
        cluster.heal()
    elif dice < 0.10:
        victim = cluster.hosts[rng.choice(names)]
        if victim.up:
            victim.crash()
    elif dice < 0.14:
        start_all(cluster)


def change(cluster: Cluster, rng: random.Random) -> None:
    """In some steps a snapshot, other members, another leader, or a false alarm."""
    dice = rng.random()
    names = list(cluster.hosts)
    host = cluster.hosts[rng.choice(names)]
    leader = cluster.leader()
    if not host.up:
        return
    if dice < 0.10:
        host.take_snapshot(tail=rng.randrange(8))
    elif dice < 0.12:
        host.raft.leader_gone()
        host.work()
    elif leader is None:
        return
    elif dice < 0.20:
        rng.shuffle(names)
        voters = rng.randint(1, 5)
        cluster.change(leader, names[:voters], _new(leader, names[voters : voters + rng.randrange(3)]))
    elif dice < 0.24:
        hand_over(leader, host)


def _new(leader: Host, names: list[str]) -> list[str]:
    """Those of `names` that have no vote now: a voter is removed before it may learn."""
    return [name for name in names if not leader.raft.configuration.has_vote(name)]


def hand_over(leader: Host, to: Host) -> None:
    try:
        leader.raft.transfer(to.name)
    except RaftError:
        return
    leader.work()


def start_all(cluster: Cluster) -> None:
    for host in cluster.hosts.values():
        if not host.up:
            host.start()


def heal(cluster: Cluster) -> None:
    cluster.heal()
    cluster.drop = 0
    start_all(cluster)


def reach_all(cluster: Cluster, payload: bytes) -> None:
    """Proposes until every member has applied it: a leader may still lose its office, and the entry."""

    def applied_by_all(leader: Host) -> bool:
        members = [cluster.hosts[node] for node in leader.raft.configuration.members]
        return all(any(e.data == payload for e in host.applied) for host in members)

    for _ in range(30):
        leader = cluster.elect()
        cluster.propose(leader, payload)
        cluster.run(500)
        if applied_by_all(leader) and not leader.raft.configuration.joint:
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


@pytest.mark.parametrize("seed", range(50))
def test_figure_3_holds_through_changes_of_members_snapshots_and_transfers(seed: int) -> None:
    cluster = live_with_changes(seed)
    reach_all(cluster, b"after the heal")
    cluster.check_logs()
    assert not cluster.violations, f"seed {seed}"
    assert not cluster.reported(""), f"seed {seed}"
    assert len(cluster.chosen) > 20, f"seed {seed} did next to nothing"


def test_the_seeds_reach_what_they_are_for() -> None:
    seen: Counter[str] = Counter()
    for seed in range(10):
        cluster = live_with_changes(seed)
        for _, _, event in cluster.events:
            seen[f"{event.type} {event.detail if event.type == 'LeadershipTransfer' else ''}".strip()] += 1
            if event.configuration is not None and event.configuration.joint:
                seen["joint"] += 1
    wanted = {
        "joint",
        "ConfigurationChanged",
        "SnapshotInstalled",
        "LeadershipTransfer begun",
        "LeadershipTransfer given up",
    }
    assert wanted <= seen.keys(), dict(seen)
