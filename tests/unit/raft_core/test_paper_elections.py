"""Leader election as the paper has it: sections 5.1, 5.2 and 5.4.1."""

import pytest

from faultlab.raft.messages import (
    Append,
    HardState,
    Heartbeat,
    HeartbeatResponse,
    VoteRequest,
    VoteResponse,
)

from .harness import Cluster
from .single import (
    ELECTION_TICKS,
    VOTERS,
    append,
    lead,
    make,
    sent,
    sync,
    time_out,
    vote_request,
)


@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
def test_5_1_a_later_term_is_entered_and_makes_any_role_a_follower(role: str) -> None:
    raft = make(term=1)
    if role == "candidate":
        time_out(raft)
    elif role == "leader":
        lead(raft)
    raft.step(append(9, (0, 0)))
    assert (raft.role, raft.term, raft.leader) == ("follower", 9, "b")


@pytest.mark.parametrize("message", [append(1, (0, 0)), Heartbeat("b", "a", 1, 0, 0), vote_request(1)])
def test_5_1_a_message_of_an_earlier_term_changes_nothing_and_is_answered_with_the_term(
    message: Append | Heartbeat | VoteRequest,
) -> None:
    raft = make(term=3)
    raft.step(message)
    ready = raft.ready()
    (answer,) = sent(ready)
    assert answer.term == 3  # type: ignore[attr-defined]
    assert isinstance(answer, HeartbeatResponse | VoteResponse)
    assert ready.hard_state is None
    assert raft.leader is None


def test_5_2_a_member_starts_as_follower() -> None:
    raft = make()
    assert (raft.role, raft.term, raft.leader) == ("follower", 0, None)
    assert not raft.has_ready()


def test_5_2_a_leader_sends_heartbeats_every_interval() -> None:
    raft = make(heartbeat_ticks=3)
    lead(raft)
    counts = []
    for _ in range(6):
        raft.tick()
        counts.append(sum(isinstance(message, Heartbeat) for message in sync(raft).messages))
    assert counts == [0, 0, 4, 0, 0, 4]


def test_5_2_a_follower_campaigns_when_it_hears_nobody() -> None:
    raft = make(term=1)
    ready = time_out(raft)
    assert (raft.role, raft.term, raft.leader) == ("candidate", 2, None)
    assert ready.hard_state is not None
    assert ready.hard_state.vote == "a"
    assert ready.must_sync
    assert {message.to for message in ready.after_persist} == {"b", "c", "d", "e"}
    assert not ready.messages, "its own vote must be synced before it asks for others"


def test_5_2_a_candidate_starts_another_election_when_none_wins() -> None:
    raft = make()
    time_out(raft)
    time_out_again = raft.term
    for _ in range(2 * ELECTION_TICKS):
        raft.tick()
    assert raft.role == "candidate"
    assert raft.term > time_out_again


def test_5_2_timeouts_are_random_between_one_and_two_election_timeouts() -> None:
    seen = set()
    for seed in range(300):
        raft = make(seed=seed)
        count = 0
        while raft.role == "follower":
            raft.tick()
            count += 1
        seen.add(count)
    assert seen == set(range(ELECTION_TICKS, 2 * ELECTION_TICKS))


@pytest.mark.parametrize(
    ("size", "grants", "refusals", "role"),
    [
        (1, 0, 0, "leader"),
        (3, 1, 0, "leader"),
        (3, 0, 1, "candidate"),
        (3, 0, 2, "follower"),
        (5, 2, 2, "leader"),
        (5, 1, 2, "candidate"),
        (5, 1, 3, "follower"),
        (4, 1, 1, "candidate"),
        (4, 2, 0, "leader"),
        (4, 1, 2, "follower"),
    ],
)
def test_5_2_a_majority_of_votes_wins_a_majority_of_refusals_loses(
    size: int, grants: int, refusals: int, role: str
) -> None:
    raft = make(voters=VOTERS[:size])
    time_out(raft)
    for number, peer in enumerate(VOTERS[1 : 1 + grants + refusals]):
        raft.step(VoteResponse(peer, "a", 1, number < grants, False))
    assert raft.role == role


def test_5_2_a_vote_counts_once_however_often_it_comes() -> None:
    raft = make()
    time_out(raft)
    for _ in range(5):
        raft.step(VoteResponse("b", "a", 1, True, False))
    assert raft.role == "candidate"


@pytest.mark.parametrize(
    ("vote", "asks", "granted"), [(None, "b", True), ("b", "b", True), ("c", "b", False), ("a", "b", False)]
)
def test_5_2_a_member_votes_once_a_term(vote: str | None, asks: str, granted: bool) -> None:
    raft = make(term=1, vote=vote)
    raft.step(vote_request(1, sender=asks))
    (answer,) = sent(raft.ready())
    assert isinstance(answer, VoteResponse)
    assert answer.granted is granted


def test_5_2_a_grant_waits_for_the_sync_of_the_vote() -> None:
    raft = make()
    raft.step(vote_request(1))
    ready = raft.ready()
    assert not ready.messages
    assert [message.to for message in ready.after_persist] == ["b"]
    assert ready.hard_state is not None
    assert (ready.hard_state.term, ready.hard_state.vote) == (1, "b")
    assert ready.must_sync


def test_5_2_a_vote_survives_a_restart() -> None:
    raft = make()
    raft.step(vote_request(1))
    kept = raft.ready().hard_state
    assert kept is not None
    again = make(term=kept.term, vote=kept.vote)
    again.step(vote_request(1, sender="c"))
    (answer,) = sent(again.ready())
    assert isinstance(answer, VoteResponse)
    assert not answer.granted


@pytest.mark.parametrize("term", [1, 2])
def test_5_2_a_candidate_yields_to_the_leader_of_its_term_or_a_later(term: int) -> None:
    raft = make()
    time_out(raft)
    raft.step(append(term, (0, 0)))
    assert (raft.role, raft.term, raft.leader) == ("follower", term, "b")


def test_5_2_hearing_a_refused_candidate_does_not_put_off_the_own_campaign() -> None:
    raft = make(log=(1, 1))
    for _ in range(2 * ELECTION_TICKS):
        raft.tick()
        if raft.role == "candidate":
            break
        raft.step(vote_request(raft.term + 1, (1, 1)))
        raft.ready()
    else:
        pytest.fail("a candidate that cannot win kept one that can from campaigning")


@pytest.mark.parametrize(
    ("mine", "theirs", "granted"),
    [
        ((1,), (1, 1), True),
        ((1,), (2, 1), True),
        ((1, 1), (1, 1), False),
        ((1,), (1, 2), True),
        ((1, 1), (1, 2), True),
        ((1, 2), (2, 1), False),
        ((1, 2), (3, 1), False),
        ((1, 1, 1), (2, 1), False),
        ((), (0, 0), True),
    ],
)
def test_5_4_1_a_vote_goes_only_to_a_log_at_least_as_up_to_date(
    mine: tuple[int, ...], theirs: tuple[int, int], granted: bool
) -> None:
    raft = make(log=mine)
    raft.step(vote_request(5, theirs))
    (answer,) = sent(raft.ready())
    assert isinstance(answer, VoteResponse)
    assert answer.granted is granted


def test_5_4_1_a_candidate_says_how_its_log_ends() -> None:
    ready = time_out(make(log=(1, 1, 2)))
    assert all(isinstance(message, VoteRequest) for message in ready.after_persist)
    assert {(m.last_index, m.last_term) for m in ready.after_persist if isinstance(m, VoteRequest)} == {
        (3, 2)
    }


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 9])
def test_5_2_a_cluster_of_any_size_elects_one_leader_that_all_follow(size: int) -> None:
    cluster = Cluster(size, seed=size)
    leader = cluster.elect()
    cluster.run(200)
    assert {host.raft.leader for host in cluster.hosts.values()} == {leader.name}
    assert not cluster.violations


@pytest.mark.parametrize("seed", range(20))
def test_5_2_a_lost_leader_is_replaced_within_three_election_timeouts(seed: int) -> None:
    cluster = Cluster(5, seed)
    old = cluster.elect()
    lost_at = cluster.now
    old.crash()
    cluster.elect()
    assert cluster.now - lost_at < 3 * 500, f"seed {seed}"


@pytest.mark.parametrize("pre_vote", [True, False])
def test_5_4_1_elect_stale_grants_a_vote_to_a_log_that_lacks_entries(pre_vote: bool) -> None:
    for rule, granted in ((None, False), ("electStale", True)):
        raft = make(log=(1, 2), break_rule=rule)
        raft.step(vote_request(5, (1, 1), pre_vote=pre_vote))
        (answer,) = sent(raft.ready())
        assert isinstance(answer, VoteResponse)
        assert answer.granted is granted


def test_a_sole_voter_leads_only_once_its_own_vote_is_on_disk() -> None:
    # Else a crash takes the vote back, and its next life leads the same term with other entries, some of
    # which a learner may have got from the first.
    raft = make(voters=("a",))
    for _ in range(2 * ELECTION_TICKS):
        raft.tick()
    asking = raft.ready()

    assert raft.role == "candidate"
    assert not asking.entries
    assert asking.hard_state == HardState(1, "a", 0)
    (own,) = asking.after_persist
    raft.step(own)
    assert raft.role == "leader"
