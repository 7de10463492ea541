"""Reads by the leader's lease: thesis, section 6.4.1."""

import pytest

from faultlab.raft.core import Raft
from faultlab.raft.messages import (
    HardState,
    Heartbeat,
    HeartbeatResponse,
    VoteRequest,
    VoteResponse,
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
    sent,
    sync,
    time_out,
    vote_request,
)

LEASE = {"lease": True, "check_quorum": True, "pre_vote": True}
PROMISE_NS = ELECTION_TICKS * TICK_NS


def pass_ticks(raft: Raft, clock: Clock, count: float) -> None:
    """Time passes for the clock and the core alike."""
    for _ in range(int(count)):
        clock.pass_ticks(1)
        raft.tick()


def leader(**settings: object) -> tuple[Raft, Clock]:
    """A leader of five with its no-op committed, and nothing left to hand out."""
    clock = Clock()
    raft = make(clock=clock, **{**LEASE, "pre_vote": False, **settings})
    clock.pass_ticks(ELECTION_TICKS)
    lead(raft)
    for peer in "bc":
        accept(raft, peer, 1)
    while raft.has_ready():
        sync(raft)
    return raft, clock


def beat(raft: Raft, *peers: str) -> int:
    """A heartbeat goes out, and these answer it; its number."""
    raft.tick()
    number = next(m.round for m in sync(raft).messages if isinstance(m, Heartbeat))
    for peer in peers:
        raft.step(HeartbeatResponse(peer, "a", raft.term, number, PROMISE_NS))
    return number


def reads_at_once(raft: Raft) -> bool:
    raft.read_index(7)
    return sync(raft).read_states == [(7, 1)]


def test_6_4_1_a_majority_that_answers_a_heartbeat_gives_a_lease() -> None:
    raft, _ = leader()
    assert not raft.lease_valid()
    beat(raft, "b")
    assert not raft.lease_valid()
    beat(raft, "b", "c")
    assert raft.lease_valid()
    assert reads_at_once(raft)


def test_6_4_1_a_lease_counts_from_when_the_heartbeat_went_out_and_lasts_less_than_a_timeout() -> None:
    raft, clock = leader()
    number = beat(raft)
    clock.pass_ticks(5)
    for peer in "bc":
        raft.step(HeartbeatResponse(peer, "a", 1, number, PROMISE_NS))
    clock.pass_ticks(3.9)
    assert raft.lease_valid()
    clock.pass_ticks(0.2)
    assert not raft.lease_valid(), "10 ticks less 10 percent since it went out"
    assert not reads_at_once(raft)


def test_6_4_1_lease_forever_does_not_end() -> None:
    raft, clock = leader(break_rule="leaseForever")
    beat(raft, "b", "c")
    clock.pass_ticks(1000)
    assert raft.lease_valid()


def test_6_4_1_without_the_setting_there_is_no_lease() -> None:
    raft, _ = leader(lease=False)
    beat(raft, "b", "c")
    assert not raft.lease_valid()


def test_6_4_1_a_lease_serves_nothing_before_an_entry_of_its_term_is_committed() -> None:
    clock = Clock()
    raft = make(clock=clock, log=(1, 1), commit=1, **{**LEASE, "pre_vote": False})
    clock.pass_ticks(ELECTION_TICKS)
    lead(raft)
    beat(raft, "b", "c")
    assert not raft.lease_valid()
    raft.read_index(7)
    assert not sync(raft).read_states
    for peer in "bc":
        accept(raft, peer, 3)
    assert raft.lease_valid()
    assert sync(raft).read_states == [(7, 3)]


def test_6_4_1_a_transfer_ends_the_lease_for_the_rest_of_the_term() -> None:
    raft, clock = leader()
    beat(raft, "b", "c")
    raft.transfer("b")
    sync(raft)
    assert not raft.lease_valid()
    for _ in range(ELECTION_TICKS + 1):
        clock.pass_ticks(1)
        beat(raft, "b", "c", "d")
    assert not raft.transferring
    assert not raft.lease_valid(), "b may still campaign, and those who hear this leader would vote for it"
    assert not reads_at_once(raft)


def test_6_4_1_a_transfer_that_asked_nobody_yet_leaves_the_lease() -> None:
    raft, _ = leader()
    beat(raft, "b", "c")
    raft.transfer("e")
    sync(raft)
    assert raft.lease_valid()


def test_6_4_1_a_leader_by_itself_has_its_lease() -> None:
    cluster = Cluster(1, lease=True)
    alone = cluster.elect()
    cluster.run(100)
    assert alone.raft.lease_valid()


def test_6_4_1_other_voters_must_answer_anew() -> None:
    raft, _ = leader()
    beat(raft, "b", "c")
    configuration = raft.configuration
    raft.propose_configuration(type(configuration)(("a", "x", "y", "z"), (), ()))
    assert not raft.lease_valid()
    beat(raft, "b", "c", "x")
    assert not raft.lease_valid()
    beat(raft, "b", "c", "x", "y")
    assert raft.lease_valid()


def test_a_lease_is_as_long_as_a_majority_has_promised() -> None:
    raft, clock = leader()
    number = beat(raft)
    for peer, ticks in (("b", 10), ("c", 4), ("d", 2)):
        raft.step(HeartbeatResponse(peer, "a", 1, number, ticks * TICK_NS))
    clock.pass_ticks(3.5)
    assert raft.lease_valid(), "a, b and c are silent for 4 ticks less 10 percent"
    clock.pass_ticks(0.2)
    assert not raft.lease_valid()


def test_a_promise_longer_than_the_leaders_own_timeout_counts_as_that() -> None:
    raft, clock = leader()
    number = beat(raft)
    for peer in "bc":
        raft.step(HeartbeatResponse(peer, "a", 1, number, 2**62))
    clock.pass_ticks(8.9)
    assert raft.lease_valid()
    clock.pass_ticks(0.2)
    assert not raft.lease_valid()


def test_answers_to_different_heartbeats_count_from_the_one_that_each_answers() -> None:
    raft, clock = leader()
    beat(raft, "b")
    clock.pass_ticks(5)
    beat(raft, "c")
    clock.pass_ticks(3.9)
    assert raft.lease_valid()
    clock.pass_ticks(0.2)
    assert not raft.lease_valid(), "b has answered the first one only"


def test_voters_that_promise_nothing_give_no_lease() -> None:
    raft, _ = leader()
    number = beat(raft, "b")
    for peer in "cde":
        raft.step(HeartbeatResponse(peer, "a", 1, number))
    assert not raft.lease_valid()


def test_an_answer_to_a_heartbeat_that_never_went_out_gives_no_lease() -> None:
    raft, _ = leader()
    number = beat(raft)
    for peer in "bc":
        raft.step(HeartbeatResponse(peer, "a", 1, number + 5, PROMISE_NS))
    assert not raft.lease_valid()


# What the voters do for it.


def follower(clock: Clock, **settings: object) -> Raft:
    """A member that hears leader `b` of term 1 now, and has been up for long."""
    raft = make(clock=clock, **{**LEASE, **settings})
    clock.pass_ticks(100)
    raft.step(append(1, (0, 0)))
    sync(raft)
    return raft


@pytest.mark.parametrize("pre_vote", [True, False])
def test_a_voter_counts_on_its_clock_not_in_ticks(pre_vote: bool) -> None:
    clock = Clock()
    raft = follower(clock)
    for _ in range(ELECTION_TICKS + 5):
        raft.tick()
    assert raft.role == "follower", "ticks that came in a burst are no time"
    raft.step(vote_request(2, sender="c", pre_vote=pre_vote))
    assert not [m for m in sent(sync(raft)) if isinstance(m, VoteResponse) and m.granted]
    clock.pass_ticks(ELECTION_TICKS)
    raft.step(vote_request(2, sender="c", pre_vote=pre_vote))
    assert [m for m in sent(sync(raft)) if isinstance(m, VoteResponse) and m.granted]


def test_a_voter_that_has_come_into_a_later_term_keeps_its_promise_too() -> None:
    clock = Clock()
    raft = follower(clock)
    raft.step(HeartbeatResponse("c", "a", 2, 0))
    assert raft.term == 2
    sync(raft)
    raft.step(vote_request(2, sender="c"))
    assert sent(sync(raft)) == [VoteResponse("a", "c", 2, False, False)]


def test_a_member_that_has_just_started_votes_for_nobody_for_an_election_timeout() -> None:
    clock = Clock()
    raft = make(clock=clock, term=1, **LEASE)
    clock.pass_ticks(ELECTION_TICKS - 1)
    raft.step(vote_request(2, sender="c"))
    assert not sent(sync(raft))
    clock.pass_ticks(1)
    raft.step(vote_request(2, sender="c"))
    assert sync(raft).after_persist == [VoteResponse("a", "c", 2, True, False)]


def heartbeat(number: int) -> Heartbeat:
    return Heartbeat("b", "a", 1, 0, number)


def test_a_voter_says_how_long_it_is_silent_once_that_is_on_its_disk() -> None:
    raft = make(term=1, **LEASE)
    raft.step(heartbeat(1))
    ready = raft.ready()
    answer = HeartbeatResponse("a", "b", 1, 1, PROMISE_NS)
    assert ready.must_sync
    assert ready.hard_state == HardState(1, None, 0, PROMISE_NS)
    assert (ready.messages, ready.after_persist) == ([], [answer])
    again = make(term=1, promise_ns=PROMISE_NS, **LEASE)
    again.step(heartbeat(1))
    ready = again.ready()
    assert ready.hard_state is None
    assert ready.messages == [answer], "it has been on the disk since before"


def test_a_voter_without_leases_promises_nothing() -> None:
    raft = make(term=1)
    raft.step(heartbeat(1))
    ready = raft.ready()
    assert ready.hard_state is None
    assert ready.messages == [HeartbeatResponse("a", "b", 1, 1, 0)]


@pytest.mark.parametrize("settings", [{}, {**LEASE, "election_ticks": 5}, LEASE])
def test_what_was_promised_before_a_start_with_other_settings_binds_after_it(
    settings: dict[str, object],
) -> None:
    clock = Clock()
    before = 3 * PROMISE_NS
    raft = make(term=1, promise_ns=before, clock=clock, **settings)
    clock.pass_ticks(3 * ELECTION_TICKS - 1)
    raft.step(vote_request(2, sender="c"))
    for _ in range(5 * ELECTION_TICKS):
        raft.tick()
    assert raft.role == "follower"
    ready = sync(raft)
    assert not [m for m in sent(ready) if isinstance(m, VoteResponse) and m.granted]
    assert ready.hard_state is None, "should it end now, the next life has to wait as long"
    clock.pass_ticks(1)
    raft.step(vote_request(2, sender="c"))
    assert [m for m in sent(sync(raft)) if isinstance(m, VoteResponse) and m.granted]


def test_a_promise_of_a_life_before_is_forgotten_once_it_is_over() -> None:
    clock = Clock()
    raft = make(term=1, promise_ns=3 * PROMISE_NS, clock=clock, **LEASE)
    clock.pass_ticks(3 * ELECTION_TICKS)
    raft.step(heartbeat(1))
    raft.tick()
    assert raft.ready().hard_state == HardState(1, None, 0, PROMISE_NS)


def test_a_voter_follows_a_transfer_at_once_for_the_leader_has_given_its_lease_away() -> None:
    clock = Clock()
    raft = follower(clock)
    raft.step(VoteRequest("c", "a", 2, 0, 0, False, True))
    assert sync(raft).after_persist == [VoteResponse("a", "c", 2, True, False)]


def test_a_member_whose_clock_has_not_moved_does_not_campaign() -> None:
    clock = Clock()
    raft = follower(clock)
    for _ in range(5 * ELECTION_TICKS):
        raft.tick()
    assert raft.role == "follower"
    clock.pass_ticks(ELECTION_TICKS)
    time_out(raft)


@pytest.mark.parametrize("seed", range(10))
def test_reads_by_lease_are_never_stale_through_leaders_cut_off_and_crashed(seed: int) -> None:
    cluster = Cluster(5, seed, lease=True, delay_ms=(0.5, 20))
    for round_number in range(12):
        old = cluster.elect()
        names = [name for name in cluster.names if name != old.name]
        if round_number % 3 == 2:
            old.crash()
        else:
            cluster.partition([old.name, names[0]], names[1:])
        for _ in range(100):
            for host in cluster.hosts.values():
                if host.up:
                    cluster.read(host)
                    cluster.propose(host, b"x")
            cluster.run(10)
        cluster.heal()
        for host in cluster.hosts.values():
            if not host.up:
                host.start()
    assert len(cluster.answers) > 500
    assert not cluster.violations, f"seed {seed}"


@pytest.mark.parametrize("settings", [{"election_ticks": 15}, {"lease": False}, {"election_ticks": 80}])
@pytest.mark.parametrize("seed", range(3))
def test_reads_by_lease_are_never_stale_while_settings_change_in_one_member_after_another(
    seed: int, settings: dict[str, object]
) -> None:
    """The leader changes last, and is cut off as soon as everybody else has."""
    cluster = Cluster(3, seed, lease=True)
    old = cluster.elect()
    others = [host for host in cluster.hosts.values() if host is not old]
    for host in others:
        cluster.run(200)
        host.crash()
        host.settings = settings
        host.start()
    cluster.run(5 * (seed + 1))
    cluster.partition([old.name], [host.name for host in others])
    for _ in range(300):
        for host in cluster.hosts.values():
            cluster.propose(host, b"x")
            cluster.read(host)
        cluster.run(10)
    assert any(host.raft.role == "leader" for host in others)
    assert not cluster.violations


@pytest.mark.parametrize(("rate", "stale"), [(1.0, False), (0.4, True)])
def test_a_clock_that_is_slower_than_assumed_makes_a_deposed_leader_answer_from_the_past(
    rate: float, stale: bool
) -> None:
    """The leader's clock and ticks stand at `rate`; the others elect a new one meanwhile."""
    found = False
    for seed in range(10):
        cluster = Cluster(3, seed, lease=True, tick_ns=10_000_000)
        old = cluster.elect()
        cluster.run(100)
        cluster.slow(old, rate)
        cluster.run(300)
        cluster.partition([old.name], [name for name in cluster.names if name != old.name])
        for _ in range(300):
            for host in cluster.hosts.values():
                cluster.propose(host, b"x")
                cluster.read(host)
            cluster.run(10)
        found = found or bool(cluster.violations)
    assert found is stale
