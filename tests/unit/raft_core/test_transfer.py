"""Leadership transfer (thesis, 3.10), leaders by priority, and the fast campaign after a leader's end."""

import pytest

from faultlab.raft.configuration import Configuration
from faultlab.raft.core import Raft
from faultlab.raft.errors import Busy, NotLeader, UnsuitableTarget
from faultlab.raft.messages import Heartbeat, HeartbeatResponse, TimeoutNow, VoteRequest, VoteResponse

from .harness import TICK_MS, Cluster, Host
from .single import ELECTION_TICKS, accept, append, lead, make, sent, sync, vote_request


def leader(**settings: object) -> Raft:
    """A leader of five whose no-op all followers have, with nothing left to hand out."""
    raft = make(**settings)
    lead(raft)
    for peer in "bcde":
        accept(raft, peer, 1)
    while raft.has_ready():
        sync(raft)
    return raft


def told(raft: Raft) -> list[tuple[str | None, str | None]]:
    """What the next Ready's events tell of hand-overs: to whom, and what."""
    return [(e.leader, e.detail) for e in sync(raft).events if e.type == "LeadershipTransfer"]


# 3.10


def test_3_10_a_target_that_has_the_whole_log_is_asked_to_campaign_at_once() -> None:
    raft = leader()
    raft.transfer("c")
    ready = sync(raft)
    assert [m for m in ready.messages if isinstance(m, TimeoutNow)] == [TimeoutNow("a", "c", 1)]
    assert [(e.leader, e.detail) for e in ready.events] == [("c", "begun")]
    sync(raft)
    raft.step(HeartbeatResponse("c", "a", 1, 0))
    assert not [m for m in sync(raft).messages if isinstance(m, TimeoutNow)], "once is enough"


def test_3_10_a_target_that_lacks_entries_gets_them_first() -> None:
    raft = leader()
    raft.propose([b"x"])
    raft.transfer("c")
    assert not [m for m in sync(raft).messages if isinstance(m, TimeoutNow)]
    accept(raft, "b", 2)
    assert not [m for m in sync(raft).messages if isinstance(m, TimeoutNow)]
    accept(raft, "c", 2)
    assert [m for m in sync(raft).messages if isinstance(m, TimeoutNow)]


def test_3_10_nothing_is_proposed_while_the_leadership_is_handed_over() -> None:
    raft = leader()
    raft.transfer("c")
    assert raft.transferring
    with pytest.raises(Busy, match="handed over to c"):
        raft.propose([b"x"])
    with pytest.raises(Busy, match="handed over to c"):
        raft.propose_configuration(Configuration(("a", "b", "c")))
    with pytest.raises(Busy, match="handed over to c"):
        raft.transfer("b")
    raft.transfer("c")
    assert raft.last_index == 1
    assert told(raft) == [("c", "begun")]


def test_3_10_a_transfer_is_given_up_after_an_election_timeout_and_proposals_go_on() -> None:
    raft = leader()
    raft.transfer("c")
    for _ in range(ELECTION_TICKS - 1):
        raft.tick()
    assert raft.transferring
    raft.tick()
    assert not raft.transferring
    assert told(raft) == [("c", "begun"), ("c", "given up")]
    assert raft.propose([b"x"]) == (2, 1)


@pytest.mark.parametrize("to", ["a", "x", "l"])
def test_3_10_only_another_voter_can_take_over(to: str) -> None:
    raft = make(learners=("l",))
    lead(raft)
    with pytest.raises(UnsuitableTarget, match=to):
        raft.transfer(to)
    assert not raft.transferring


def test_3_10_only_a_leader_hands_over() -> None:
    with pytest.raises(NotLeader):
        make().transfer("b")


def test_3_10_a_joint_configuration_is_left_after_the_hand_over_not_during_it() -> None:
    raft = leader()
    raft.propose_configuration(Configuration(("a", "b", "c", "d")))
    sync(raft)
    raft.transfer("d")
    for peer in "bcde":
        accept(raft, peer, 2)
    sync(raft)
    assert raft.configuration.joint, "the second step waits for the hand-over"
    for _ in range(ELECTION_TICKS):
        raft.tick()
    sync(raft)
    assert not raft.configuration.joint


def test_3_10_who_is_asked_campaigns_without_a_pre_vote_and_says_that_it_was_asked() -> None:
    raft = make(pre_vote=True)
    raft.step(append(1, (0, 0)))
    sync(raft)
    raft.step(TimeoutNow("b", "a", 1))
    assert (raft.role, raft.term) == ("candidate", 2)
    requests = [m for m in sync(raft).after_persist if isinstance(m, VoteRequest)]
    assert {(m.term, m.pre_vote, m.transfer) for m in requests} == {(2, False, True)}


def test_3_10_a_late_request_to_campaign_does_nothing() -> None:
    raft = make()
    raft.step(append(3, (0, 0)))
    raft.step(TimeoutNow("c", "a", 2))
    assert (raft.role, raft.term) == ("follower", 3)
    first = leader()
    first.step(TimeoutNow("b", "a", 1))
    assert first.role == "leader"


def test_3_10_a_member_that_hears_its_leader_votes_for_who_was_asked_by_it() -> None:
    raft = make(pre_vote=True, check_quorum=True)
    raft.step(append(1, (0, 0)))
    sync(raft)
    raft.step(vote_request(2, sender="c"))
    assert not sent(sync(raft))
    raft.step(VoteRequest("c", "a", 2, 0, 0, False, True))
    assert sync(raft).after_persist == [VoteResponse("a", "c", 2, True, False)]


@pytest.mark.parametrize("seed", range(20))
def test_3_10_a_transfer_takes_a_few_round_trips_and_loses_nothing(seed: int) -> None:
    cluster = Cluster(5, seed)
    old = cluster.elect()
    cluster.run(200)
    cluster.propose(old, *(b"%d" % i for i in range(20)))
    to = next(host for host in cluster.hosts.values() if host is not old)
    begun = cluster.now
    old.raft.transfer(to.name)
    old.work()
    cluster.run_until(lambda: to.raft.role == "leader")
    assert cluster.now - begun < 40, f"seed {seed}"
    assert cluster.elect() is to
    assert old.raft.role == "follower"
    assert [e.data for e in to.applied if e.data] == [b"%d" % i for i in range(20)]
    assert not cluster.violations


def test_3_10_a_transfer_to_a_member_that_is_down_costs_an_election_timeout_and_not_the_leader() -> None:
    cluster = Cluster(3, seed=5)
    old = cluster.elect()
    to = next(host for host in cluster.hosts.values() if host is not old)
    to.crash()
    old.raft.transfer(to.name)
    old.work()
    cluster.run(40 * TICK_MS)
    assert cluster.propose(old, b"x") is None
    cluster.run(15 * TICK_MS)
    assert cluster.propose(old, b"x") is not None
    assert cluster.leader() is old


# Priority.


def preferred(cluster: Cluster) -> Host:
    return cluster.hosts["m2"]


@pytest.mark.parametrize("seed", range(10))
def test_the_leader_hands_over_to_a_member_of_higher_priority_once_that_has_the_log(seed: int) -> None:
    cluster = Cluster(3, seed, priorities={"m2": 5, "m1": 1})
    first = preferred(cluster)
    first.crash()
    cluster.elect()
    for number in range(20):
        cluster.propose(cluster.elect(), b"%d" % number)
    cluster.run(2000)
    leader = cluster.elect()
    assert leader.name == "m1"
    first.start()
    cluster.run_until(lambda: first.raft.role == "leader", within_ms=3000)
    cluster.run(5000)
    assert cluster.leader() is first, "and stays it"
    assert not cluster.violations


def test_a_member_of_lower_priority_lets_the_others_campaign_first() -> None:
    winners = []
    for seed in range(30):
        cluster = Cluster(3, seed, priorities={"m2": 5})
        winners.append(cluster.elect().name)
    assert winners.count("m2") >= 28


def test_the_priority_of_the_leader_that_was_lost_is_not_waited_for() -> None:
    for seed in range(10):
        cluster = Cluster(3, seed, priorities={"m2": 5, "m1": 1})
        cluster.run_until(lambda cluster=cluster: preferred(cluster).raft.role == "leader", within_ms=9000)
        cluster.run(200)
        preferred(cluster).crash()
        lost_at = cluster.now
        cluster.elect()
        assert cluster.now - lost_at < 2 * 500 + 100, f"seed {seed}"


def test_without_priorities_nobody_hands_over() -> None:
    cluster = Cluster(3, seed=1)
    leader = cluster.elect()
    cluster.run(20_000)
    assert cluster.leader() is leader
    assert not [e for _, _, e in cluster.events if e.type == "LeadershipTransfer"]


# The leader's process has ended.


@pytest.mark.parametrize("seed", range(20))
def test_who_sees_the_leaders_process_end_replaces_it_within_a_fraction_of_the_timeout(seed: int) -> None:
    cluster = Cluster(5, seed)
    old = cluster.elect()
    cluster.run(300)
    old.crash()
    lost_at = cluster.now
    for host in cluster.hosts.values():
        cluster.after(cluster.rng.uniform(0, 5), host.raft.leader_gone)
    cluster.run_until(lambda: cluster.leader() is not None)
    assert cluster.now - lost_at < 300, f"seed {seed}"
    assert not cluster.violations


@pytest.mark.parametrize("seed", range(20))
def test_a_follower_that_falsely_believes_its_leader_gone_deposes_nobody(seed: int) -> None:
    cluster = Cluster(5, seed)
    leader = cluster.elect()
    cluster.run(300)
    term = leader.raft.term
    doubter = next(host for host in cluster.hosts.values() if host is not leader)
    for _ in range(20):
        doubter.raft.leader_gone()
        cluster.run(100)
    cluster.run(1000)
    assert cluster.leader() is leader, f"seed {seed}"
    assert {host.raft.term for host in cluster.hosts.values()} == {term}
    assert doubter.raft.leader == leader.name


@pytest.mark.parametrize("settings", [{"pre_vote": False}, {"lease": True, "pre_vote": True}])
def test_without_pre_vote_or_with_leases_a_leaders_end_hurries_nobody(settings: dict[str, bool]) -> None:
    raft = make(check_quorum=True, **settings)
    raft.step(append(1, (0, 0)))
    sync(raft)
    raft.leader_gone()
    for _ in range(ELECTION_TICKS - 1):
        raft.tick()
    assert (raft.role, raft.leader) == ("follower", "b")


def test_a_member_in_a_hurry_calms_down_when_it_hears_a_leader() -> None:
    raft = make(pre_vote=True)
    raft.step(append(1, (0, 0)))
    sync(raft)
    raft.leader_gone()
    (lost,) = [e for e in sync(raft).events if e.type == "LeaderLost"]
    assert (lost.leader, lost.detail) == ("b", "b has closed its connection")
    raft.step(Heartbeat("b", "a", 1, 0, 1))
    for _ in range(ELECTION_TICKS - 1):
        raft.tick()
    assert (raft.role, raft.leader) == ("follower", "b")
