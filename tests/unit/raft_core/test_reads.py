"""Linearizable reads by ReadIndex: thesis, section 6.4."""

import pytest

from faultlab.raft.core import Raft
from faultlab.raft.errors import Busy, NotLeader
from faultlab.raft.messages import Heartbeat, HeartbeatResponse

from .harness import Cluster
from .single import accept, append, lead, make, sync


def settled() -> Raft:
    """A leader of five whose no-op is committed and handed out."""
    raft = make()
    lead(raft)
    for peer in "bc":
        accept(raft, peer, 1)
    while raft.has_ready():
        sync(raft)
    return raft


def test_a_read_is_answered_when_a_majority_has_confirmed_the_leader_since() -> None:
    raft = settled()
    raft.read_index(7)
    beats = [m for m in sync(raft).messages if isinstance(m, Heartbeat)]
    assert [m.to for m in beats] == ["b", "c"], "as many as are needed"
    raft.step(HeartbeatResponse("b", "a", 1, beats[0].round))
    assert not sync(raft).read_states
    raft.step(HeartbeatResponse("b", "a", 1, beats[0].round))
    assert not sync(raft).read_states, "one member counts once"
    raft.step(HeartbeatResponse("c", "a", 1, beats[0].round))
    assert sync(raft).read_states == [(7, 1)]


def test_an_answer_to_an_earlier_round_confirms_nothing() -> None:
    raft = settled()
    raft.read_index(1)
    early = sync(raft).messages[0].round  # type: ignore[union-attr]
    for peer in "bc":
        raft.step(HeartbeatResponse(peer, "a", 1, early))
    sync(raft)
    raft.read_index(2)
    sync(raft)
    for peer in "bcde":
        raft.step(HeartbeatResponse(peer, "a", 1, early))
    assert not sync(raft).read_states


def test_one_round_serves_all_reads_that_wait() -> None:
    raft = settled()
    for context in range(100):
        raft.read_index(context)
    assert len(sync(raft).messages) == 2
    for context in range(100, 150):
        raft.read_index(context)
    assert not sync(raft).messages, "a second round waits for the first"
    for peer in "bc":
        raft.step(HeartbeatResponse(peer, "a", 1, 1))
    ready = sync(raft)
    assert [context for context, _ in ready.read_states] == list(range(100))
    assert [m.round for m in ready.messages if isinstance(m, Heartbeat)] == [2] * 2


def test_a_lost_round_is_confirmed_by_the_next_regular_heartbeat() -> None:
    raft = settled()
    raft.read_index(7)
    sync(raft)
    raft.tick()
    (beat, *_) = [m for m in sync(raft).messages if isinstance(m, Heartbeat)]
    for peer in "bc":
        raft.step(HeartbeatResponse(peer, "a", 1, beat.round))
    assert sync(raft).read_states == [(7, 1)]


def test_who_did_not_answer_a_round_is_not_asked_in_the_next() -> None:
    raft = settled()
    raft.read_index(7)
    asked = [m.to for m in sync(raft).messages]
    assert "b" in asked
    raft.tick()
    (beat, *others) = [m for m in sync(raft).messages if isinstance(m, Heartbeat)]
    assert len(others) == 3, "a regular heartbeat goes to all"
    for peer in "de":
        raft.step(HeartbeatResponse(peer, "a", 1, beat.round))
    assert sync(raft).read_states == [(7, 1)]
    raft.read_index(8)
    assert {m.to for m in sync(raft).messages} == {"d", "e"}


def test_reads_wait_until_the_leader_has_committed_an_entry_of_its_own_term() -> None:
    raft = make(log=(1, 1), term=1, commit=1)
    lead(raft)
    raft.read_index(7)
    assert not [m for m in sync(raft).messages if isinstance(m, Heartbeat)]
    for peer in "bc":
        accept(raft, peer, 3)
    (beat, *_) = [m for m in sync(raft).messages if isinstance(m, Heartbeat)]
    for peer in "bc":
        raft.step(HeartbeatResponse(peer, "a", 2, beat.round))
    assert sync(raft).read_states == [(7, 3)]


def test_a_leader_deposed_says_which_reads_are_lost() -> None:
    raft = settled()
    raft.read_index(1)
    sync(raft)
    raft.read_index(2)
    raft.step(append(5, (0, 0)))
    ready = sync(raft)
    assert ready.lost_reads == [1, 2]
    assert not ready.read_states


def test_a_member_that_knows_no_leader_takes_no_reads() -> None:
    raft = make()
    with pytest.raises(NotLeader) as refusal:
        raft.read_index(1)
    assert refusal.value.leader is None


def test_reads_beyond_the_bound_are_busy() -> None:
    raft = make(max_waiting_reads=2)
    lead(raft)
    raft.read_index(1)
    raft.read_index(2)
    with pytest.raises(Busy):
        raft.read_index(3)


def test_a_single_member_answers_in_the_same_turn() -> None:
    cluster = Cluster(1)
    leader = cluster.elect()
    context = cluster.read(leader)
    assert context in cluster.answers


def test_a_leader_cut_off_answers_no_read_and_gives_them_back_when_it_steps_down() -> None:
    cluster = Cluster(5, seed=3)
    leader = cluster.elect()
    cluster.partition([leader.name], [name for name in cluster.names if name != leader.name])
    context = cluster.read(leader)
    cluster.run(600)
    assert context not in cluster.answers
    assert context in cluster.lost
