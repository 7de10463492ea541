"""Each break rule does its damage, and the same seed without it does none.

These are the settings that make the damage certain; the scenarios in tests/e2e/broken use the same.
"""

import pytest

from .harness import Cluster

SEEDS = range(12)


def minority_keeps_the_leader(rule: str | None, seed: int) -> Cluster:
    """A leader without check-quorum is cut off with one follower, under load from clients of both sides."""
    cluster = Cluster(5, seed, break_rule=rule, check_quorum=False)
    leader = cluster.elect()
    others = [name for name in cluster.names if name != leader.name]
    cluster.partition([leader.name, others[0]], others[1:])
    load(cluster, 5000)
    cluster.heal()
    cluster.run(2000)
    cluster.check_logs()
    return cluster


def ring(rule: str | None, seed: int) -> Cluster:
    """Every member hears a majority, no two the same one; neither pre-vote nor check-quorum."""
    cluster = Cluster(5, seed, break_rule=rule, check_quorum=False, pre_vote=False)
    cluster.elect()
    cluster.majorities_ring()
    load(cluster, 20_000, until_two_leaders=True)
    cluster.heal()
    cluster.run(1000)
    return cluster


def load(cluster: Cluster, ms: float, until_two_leaders: bool = False) -> None:
    end = cluster.now + ms
    while cluster.now < end:
        for host in cluster.hosts.values():
            if host.raft.role == "leader":
                cluster.propose(host, b"%s at %d" % (host.name.encode(), cluster.now))
                cluster.read(host)
        cluster.run(20)
        if until_two_leaders and any(len(leaders) > 1 for leaders in cluster.leaders.values()):
            end = min(end, cluster.now + 500)
            until_two_leaders = False


def broken(cluster: Cluster) -> set[str]:
    """The promises that the harness, which sees everything, found broken."""
    return {violation.split(": ")[1] for violation in cluster.violations}


@pytest.mark.parametrize("seed", SEEDS)
def test_stale_reads_answers_a_deposed_leaders_clients_from_the_past(seed: int) -> None:
    assert broken(minority_keeps_the_leader("staleReads", seed)) == {"stale read"}
    assert not minority_keeps_the_leader(None, seed).violations


@pytest.mark.parametrize("seed", SEEDS)
def test_commit_without_majority_loses_what_it_called_committed_and_the_member_says_so(seed: int) -> None:
    cluster = minority_keeps_the_leader("commitWithoutMajority", seed)
    assert {"leader completeness", "state machine safety"} <= broken(cluster)
    reported = cluster.reported("leader completeness")
    assert reported
    assert all(event.index is not None for event in reported)


@pytest.mark.parametrize("seed", SEEDS)
def test_forget_vote_gives_a_term_two_leaders_and_the_members_say_so(seed: int) -> None:
    cluster = ring("forgetVote", seed)
    assert "election safety" in broken(cluster)
    assert cluster.reported("election safety")
    sound = ring(None, seed)
    assert not sound.violations
    assert not sound.reported("")


def test_a_member_reports_each_broken_promise_once_a_term() -> None:
    cluster = ring("forgetVote", seed=1)
    for name in cluster.names:
        reports = [
            ((event.detail or "").split(":")[0], event.term)
            for _, member, event in cluster.events
            if member == name and event.type == "InvariantViolated"
        ]
        assert len(reports) == len(set(reports))
