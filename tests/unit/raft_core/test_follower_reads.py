"""Reads answered by followers and learners: thesis, section 6.4."""

import pytest

from faultlab.raft.core import Raft
from faultlab.raft.messages import (
    Heartbeat,
    HeartbeatResponse,
    ReadIndexRequest,
    ReadIndexResponse,
)

from .harness import Cluster
from .single import (
    ELECTION_TICKS,
    TICK_NS,
    Clock,
    accept,
    append,
    lead,
    make,
    sync,
)

LEASE = {"lease": True, "check_quorum": True, "pre_vote": True}
PROMISE_NS = ELECTION_TICKS * TICK_NS


def test_6_4_a_follower_asks_its_leader_and_answers_at_the_index_it_is_told() -> None:
    raft = make()
    raft.step(append(1, (0, 0), (1,), commit=1))
    sync(raft)
    for context in (1, 2):
        raft.read_index(context)
    (request,) = sync(raft).messages
    assert isinstance(request, ReadIndexRequest)
    assert request.to == "b"
    raft.read_index(3)
    assert not sync(raft).messages, "one request at a time"
    raft.step(ReadIndexResponse("b", "a", 1, request.number, 9))
    ready = sync(raft)
    assert ready.read_states == [(1, 9), (2, 9)]
    (again,) = ready.messages
    assert isinstance(again, ReadIndexRequest)
    assert again.number != request.number


def test_6_4_a_leader_answers_a_follower_when_a_majority_has_confirmed_it_since() -> None:
    raft = make()
    lead(raft)
    for peer in "bc":
        accept(raft, peer, 1)
    sync(raft)
    raft.step(ReadIndexRequest("b", "a", 1, 77))
    beats = [m for m in sync(raft).messages if isinstance(m, Heartbeat)]
    raft.step(HeartbeatResponse("b", "a", 1, beats[0].round))
    assert not sync(raft).messages
    raft.step(HeartbeatResponse("c", "a", 1, beats[0].round))
    ready = sync(raft)
    assert ready.messages == [ReadIndexResponse("a", "b", 1, 77, 1)]
    assert not ready.read_states


def test_6_4_a_follower_asks_again_for_what_was_not_answered() -> None:
    raft = make(heartbeat_ticks=3)
    raft.step(append(1, (0, 0)))
    raft.read_index(1)
    requests = [m for m in sync(raft).messages if isinstance(m, ReadIndexRequest)]
    for _ in range(3):
        raft.tick()
    again = [m for m in sync(raft).messages if isinstance(m, ReadIndexRequest)]
    assert again == requests
    raft.step(ReadIndexResponse("b", "a", 1, requests[0].number, 4))
    raft.step(ReadIndexResponse("b", "a", 1, requests[0].number, 5))
    assert sync(raft).read_states == [(1, 4)]


def test_6_4_reads_of_a_follower_are_lost_with_its_leader() -> None:
    raft = make()
    raft.step(append(1, (0, 0)))
    raft.read_index(1)
    (request,) = [m for m in sync(raft).messages if isinstance(m, ReadIndexRequest)]
    raft.read_index(2)
    raft.step(append(2, (0, 0), sender="c"))
    raft.step(ReadIndexResponse("b", "a", 1, request.number, 4))
    ready = sync(raft)
    assert (ready.lost_reads, ready.read_states) == ([1, 2], [])


def test_6_4_an_answer_to_a_members_life_before_answers_nothing_after_it() -> None:
    clock = Clock()

    def asks() -> tuple[Raft, ReadIndexRequest]:
        raft = make(clock=clock, seed=4)
        raft.step(append(1, (0, 0)))
        raft.read_index(1)
        (request,) = [m for m in sync(raft).messages if isinstance(m, ReadIndexRequest)]
        return raft, request

    _, before = asks()
    clock.pass_ticks(1)
    raft, after = asks()
    assert before.number != after.number, "the same seed, and yet another number"
    raft.step(ReadIndexResponse("b", "a", 1, before.number, 1))
    assert not sync(raft).read_states


def test_6_4_read_at_own_commit_asks_nobody() -> None:
    raft = make(break_rule="readAtOwnCommit")
    raft.step(append(1, (0, 0), (1, 1), commit=1))
    raft.read_index(5)
    ready = sync(raft)
    assert ready.read_states == [(5, 1)]
    assert not [m for m in ready.messages if isinstance(m, ReadIndexRequest)]


def test_6_4_read_before_own_term_answers_a_new_leaders_reads_at_an_old_index() -> None:
    raft = make(log=(1, 1), commit=1, break_rule="readBeforeOwnTerm")
    lead(raft)
    raft.read_index(5)
    (beat_, *_) = [m for m in sync(raft).messages if isinstance(m, Heartbeat)]
    for peer in "bc":
        raft.step(HeartbeatResponse(peer, "a", 2, beat_.round))
    assert sync(raft).read_states == [(5, 1)]


@pytest.mark.parametrize("seed", range(5))
def test_6_4_followers_and_learners_reads_are_answered_under_loss(seed: int) -> None:
    cluster = Cluster(3, seed, drop=0.1)
    cluster.add_host("l")
    leader = cluster.elect()
    assert cluster.change(leader, cluster.names, ["l"])
    cluster.run_until(lambda: cluster.hosts["l"].raft.leader is not None)
    asked = []
    for _ in range(50):
        cluster.propose(leader, b"x")
        asked += [cluster.read(host) for host in cluster.hosts.values() if host.raft.leader is not None]
        cluster.run(10)
    cluster.run(500)
    assert {context for context in asked if context is not None} == cluster.answers.keys() | cluster.lost
    assert len(cluster.answers) > 100
    assert not cluster.violations
