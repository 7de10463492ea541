"""Pre-vote and check-quorum: thesis, sections 4.2.3, 6.2 and 9.6."""

import pytest

from faultlab.raft.messages import Heartbeat, HeartbeatResponse, VoteRequest, VoteResponse

from .harness import TICK_MS, Cluster
from .single import ELECTION_TICKS, append, lead, make, sent, sync, time_out, vote_request


def test_9_6_a_pre_vote_raises_no_term_and_needs_no_sync() -> None:
    raft = make(term=3, pre_vote=True)
    ready = time_out(raft)
    assert (raft.role, raft.term) == ("preCandidate", 3)
    assert ready.hard_state is None
    assert {(m.term, m.pre_vote) for m in ready.messages if isinstance(m, VoteRequest)} == {(4, True)}


def test_9_6_a_majority_of_pre_votes_starts_the_election() -> None:
    raft = make(term=3, pre_vote=True)
    time_out(raft)
    raft.step(VoteResponse("b", "a", 4, True, True))
    raft.step(VoteResponse("c", "a", 4, True, True))
    assert (raft.role, raft.term) == ("candidate", 4)
    ready = sync(raft)
    assert {(m.term, m.pre_vote) for m in ready.after_persist if isinstance(m, VoteRequest)} == {(4, False)}


def test_9_6_pre_votes_of_an_earlier_campaign_do_not_count() -> None:
    raft = make(term=3, pre_vote=True)
    time_out(raft)
    for peer in "bcde":
        raft.step(VoteResponse(peer, "a", 3, True, True))
    assert raft.role == "preCandidate"


def test_9_6_giving_a_pre_vote_changes_nothing_in_the_voter() -> None:
    raft = make(term=3)
    raft.step(vote_request(4, pre_vote=True))
    ready = raft.ready()
    assert sent(ready) == [VoteResponse("a", "b", 4, True, True)]
    assert ready.hard_state is None
    assert raft.term == 3


def test_9_6_a_pre_vote_for_a_term_that_has_begun_is_refused_with_the_term() -> None:
    raft = make(term=4)
    raft.step(vote_request(4, pre_vote=True))
    assert sent(raft.ready()) == [VoteResponse("a", "b", 4, False, True)]


@pytest.mark.parametrize("setting", ["pre_vote", "check_quorum"])
@pytest.mark.parametrize("pre_vote", [True, False])
def test_4_2_3_campaigns_are_ignored_while_the_leader_is_heard(setting: str, pre_vote: bool) -> None:
    raft = make(**{setting: True})
    raft.step(append(1, (0, 0)))
    sync(raft)
    for _ in range(ELECTION_TICKS - 1):
        raft.tick()
    raft.step(vote_request(9, sender="c", pre_vote=pre_vote))
    assert raft.term == 1
    assert not sent(raft.ready())


@pytest.mark.parametrize("pre_vote", [True, False])
def test_4_2_3_a_leader_ignores_campaigns_too(pre_vote: bool) -> None:
    raft = make(check_quorum=True)
    lead(raft)
    raft.step(vote_request(9, pre_vote=pre_vote))
    assert (raft.role, raft.term) == ("leader", 1)


def test_4_2_3_campaigns_are_heard_once_the_leader_was_silent_for_an_election_timeout() -> None:
    for seed in range(100):
        raft = make(check_quorum=True, seed=seed)
        raft.step(append(1, (0, 0)))
        sync(raft)
        for _ in range(ELECTION_TICKS):
            raft.tick()
        if raft.role != "follower":
            continue
        raft.step(vote_request(9, sender="c"))
        assert raft.term == 9
        return
    pytest.fail("no seed waits longer than one election timeout")


def test_6_2_a_leader_without_a_majority_steps_down_after_exactly_one_election_timeout() -> None:
    raft = make(check_quorum=True)
    lead(raft)
    for _ in range(3 * ELECTION_TICKS):
        raft.tick()
        for peer in "bc":
            raft.step(HeartbeatResponse(peer, "a", 1, 0))
    assert raft.role == "leader"
    for _ in range(ELECTION_TICKS - 1):
        raft.tick()
        raft.step(HeartbeatResponse("d", "a", 1, 0))
    assert raft.role == "leader"
    raft.tick()
    assert (raft.role, raft.term, raft.leader) == ("follower", 1, None)
    (lost,) = [event for event in raft.ready().events if event.type == "LeaderLost"]
    assert "no majority" in (lost.detail or "")


def test_6_2_without_check_quorum_a_leader_cut_off_leads_on() -> None:
    raft = make()
    lead(raft)
    for _ in range(10 * ELECTION_TICKS):
        raft.tick()
    assert raft.role == "leader"


@pytest.mark.parametrize("seed", range(10))
def test_9_6_a_member_that_was_cut_off_disturbs_nobody_when_it_comes_back(seed: int) -> None:
    cluster = Cluster(5, seed)
    leader = cluster.elect()
    away = next(name for name in cluster.names if name != leader.name)
    cluster.partition([away], [name for name in cluster.names if name != away])
    cluster.run(5000)
    cluster.heal()
    cluster.run(2000)
    assert cluster.leader() is leader, f"seed {seed}"
    assert leader.raft.term == cluster.hosts[away].raft.term
    assert len(cluster.leaders) == 1


@pytest.mark.parametrize("seed", range(10))
def test_without_pre_vote_a_member_that_comes_back_with_a_later_term_is_taken_in(seed: int) -> None:
    cluster = Cluster(3, seed, pre_vote=False)
    leader = cluster.elect()
    away = next(name for name in cluster.names if name != leader.name)
    cluster.partition([away], [name for name in cluster.names if name != away])
    cluster.run(5000)
    cluster.heal()
    cluster.run_until(lambda: len({host.raft.leader for host in cluster.hosts.values()} - {None}) == 1)
    new = cluster.elect()
    place = cluster.propose(new, b"x")
    assert place is not None
    cluster.run_until(lambda: all(host.raft.commit >= place[0] for host in cluster.hosts.values()))
    assert not cluster.violations


def test_a_steady_cluster_holds_no_second_election() -> None:
    cluster = Cluster(5, seed=1, delay_ms=(0.5, 20), sync_ms=(1, 30))
    leader = cluster.elect()
    for number in range(1200):
        cluster.propose(leader, b"%d" % number)
        cluster.run(10 * TICK_MS)
    assert len(cluster.leaders) == 1
    assert not [event for _, _, event in cluster.events if event.type == "LeaderLost"]


def test_a_heartbeat_of_a_later_term_makes_its_sender_the_leader() -> None:
    raft = make(pre_vote=True)
    time_out(raft)
    raft.step(Heartbeat("b", "a", 2, 0, 4))
    assert (raft.role, raft.term, raft.leader) == ("follower", 2, "b")
    assert HeartbeatResponse("a", "b", 2, 4) in sync(raft).messages
