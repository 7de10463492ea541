"""Membership: thesis, chapter 4. Joint consensus, learners, and who may lead while the members change."""

import pytest

from faultlab.raft.configuration import (
    Address,
    Configuration,
    decode_configuration,
    encode_configuration,
    id_at,
    name_of,
)
from faultlab.raft.core import Raft
from faultlab.raft.errors import Busy, MalformedMessage, NotLeader
from faultlab.raft.messages import (
    Append,
    AppendResponse,
    Entry,
    EntryKind,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from faultlab.raft.quorum import Quorum

from .harness import Cluster
from .single import ELECTION_TICKS, accept, append, lead, make, sent, sync, time_out, vote_request

ABC = ("a", "b", "c")


def leader_of(*voters: str, learners: tuple[str, ...] = ()) -> Raft:
    """Member `a` leads these; its no-op, entry 1, is committed, and nothing is waiting to be handed out."""
    raft = make(voters=voters, learners=learners)
    lead(raft)
    for peer in voters:
        if peer != "a":
            accept(raft, peer, 1)
    while raft.has_ready():
        sync(raft)
    return raft


def configuration_entry(index: int, term: int, configuration: Configuration) -> Entry:
    return Entry(index, term, encode_configuration(configuration), EntryKind.CONFIGURATION)


def appended(raft: Raft) -> list[Configuration]:
    """The configurations in the entries of the next Ready, which is synced at once."""
    return [decode_configuration(e.data) for e in sync(raft).entries if e.kind == EntryKind.CONFIGURATION]


def settle(raft: Raft, *peers: str) -> None:
    """These followers have all there is, and the leader has nothing left to hand out."""
    for peer in peers:
        accept(raft, peer, raft.last_index)
    while raft.has_ready():
        sync(raft)


# Joint consensus (4.3).


def test_4_3_other_voters_are_reached_through_a_joint_configuration_that_ends_by_itself() -> None:
    raft = leader_of("a", "b", "c")
    assert raft.propose_configuration(Configuration(("a", "b", "d"))) == (2, 1)
    assert raft.configuration == Configuration(("a", "b", "d"), ABC)
    assert appended(raft) == [Configuration(("a", "b", "d"), ABC)]
    settle(raft, "b")
    assert raft.commit == 2
    assert raft.configuration == Configuration(("a", "b", "d"))
    settle(raft, "b")
    assert (raft.commit, raft.configuration_index) == (3, 3)
    assert set(raft.progress) == {"b", "d"}, "who was removed is sent nothing more"


@pytest.mark.parametrize(
    ("acks", "committed"),
    [("bc", False), ("bcd", True), ("de", False), ("cde", True), ("bd", False), ("bde", True)],
)
def test_4_3_a_joint_configuration_is_committed_by_a_majority_of_each_half(
    acks: str, committed: bool
) -> None:
    raft = leader_of("a", "b", "c")
    raft.propose_configuration(Configuration(("c", "d", "e")))
    sync(raft)
    for peer in acks:
        accept(raft, peer, 2)
    assert (raft.commit == 2) is committed


@pytest.mark.parametrize(
    ("votes", "won"), [("bc", False), ("de", False), ("ce", True), ("bde", True), ("cd", True)]
)
def test_4_3_an_election_in_a_joint_configuration_takes_a_majority_of_each_half(
    votes: str, won: bool
) -> None:
    raft = make(voters=ABC)
    joint = Configuration(("c", "d", "e"), ABC)
    raft.step(Append("b", "a", 1, 0, 0, 0, [configuration_entry(1, 1, joint)]))
    sync(raft)
    asked = {m.to for m in time_out(raft).after_persist if isinstance(m, VoteRequest)}
    assert asked == {"b", "c", "d", "e"}
    for peer in votes:
        raft.step(VoteResponse(peer, "a", raft.term, True, False))
    assert (raft.role == "leader") is won


def test_4_3_a_new_leader_ends_the_joint_configuration_it_finds() -> None:
    raft = make(voters=ABC)
    joint = Configuration(("a", "b", "d"), ABC)
    raft.step(Append("b", "a", 1, 0, 0, 1, [configuration_entry(1, 1, joint)]))
    sync(raft)
    time_out(raft)
    for peer in "bcd":
        raft.step(VoteResponse(peer, "a", raft.term, True, False))
    assert raft.role == "leader"
    assert appended(raft) == [Configuration(("a", "b", "d"))]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("crash_after_ms", [0, 1, 2, 3, 4, 6, 9])
def test_4_3_a_change_survives_or_is_undone_whole_when_the_leader_crashes_in_it(
    seed: int, crash_after_ms: int
) -> None:
    cluster = Cluster(3, seed, delay_ms=(0.5, 3), sync_ms=(0.2, 2))
    for name in ("x0", "x1"):
        cluster.add_host(name)
    leader = cluster.elect()
    cluster.propose(leader, b"before")
    assert cluster.change(leader, ["m0", "x0", "x1"])
    cluster.run(crash_after_ms)
    leader.crash()

    def over() -> bool:
        host = cluster.leader()
        if host is None or host.raft.commit < host.raft.configuration_index:
            return False
        return host.raft.configuration.has_vote(host.name) and not host.raft.configuration.joint

    cluster.run_until(over)
    successor = cluster.elect()
    place = cluster.propose(successor, b"after")
    assert place is not None
    cluster.run_until(lambda: successor.raft.commit >= place[0])
    assert set(successor.raft.configuration.voters) in ({"m0", "m1", "m2"}, {"m0", "x0", "x1"})
    leader.start()
    cluster.run(2000)
    assert not cluster.violations, f"seed {seed}"
    assert not cluster.reported(""), f"seed {seed}"


@pytest.mark.parametrize("pre_vote", [True, False])
@pytest.mark.parametrize("votes_unconfigured", [True, False])
def test_who_does_not_know_who_votes_elects_nobody_where_no_such_vote_is_needed(
    votes_unconfigured: bool, pre_vote: bool
) -> None:
    raft = make(voters=(), votes_unconfigured=votes_unconfigured)
    raft.step(vote_request(1, (5, 1), pre_vote=pre_vote))
    (response,) = [m for m in sent(sync(raft)) if isinstance(m, VoteResponse)]
    assert response.granted == votes_unconfigured


def test_who_knows_who_votes_grants_a_vote_before_it_has_one_itself() -> None:
    raft = make(voters=("b", "c"), learners=("a",), votes_unconfigured=False)
    raft.step(vote_request(1, (5, 1)))
    (response,) = [m for m in sent(sync(raft)) if isinstance(m, VoteResponse)]
    assert response.granted


# The latest configuration in the log counts, committed or not (4.1).


def test_4_1_a_configuration_counts_from_when_it_is_appended() -> None:
    raft = make(voters=ABC)
    raft.step(Append("b", "a", 1, 0, 0, 0, [configuration_entry(1, 1, Configuration(("a",)))]))
    assert raft.configuration.voters == ("a",)
    (event,) = [event for event in raft.ready().events if event.type == "ConfigurationChanged"]
    assert (event.index, event.configuration, event.detail) == (1, Configuration(("a",)), "voters a")


def test_4_1_a_truncated_configuration_gives_way_to_the_one_before() -> None:
    raft = make(voters=ABC)
    first, second = Configuration(ABC, (), ("d",)), Configuration(ABC, (), ("e",))
    entries = [configuration_entry(1, 1, first), Entry(2, 1, b"x"), configuration_entry(3, 1, second)]
    raft.step(Append("b", "a", 1, 0, 0, 0, entries))
    assert (raft.configuration, raft.configuration_index) == (second, 3)
    raft.step(append(2, (2, 1), (2,)))
    assert (raft.configuration, raft.configuration_index) == (first, 1)
    raft.step(append(3, (0, 0), (3,)))
    assert (raft.configuration, raft.configuration_index) == (Configuration(ABC), 0)


def test_4_1_a_restarted_member_knows_the_configuration_of_its_log() -> None:
    cluster = Cluster(3, seed=2)
    leader = cluster.elect()
    cluster.add_host("x")
    assert cluster.change(leader, cluster.names, ["x"])
    cluster.run(200)
    follower = next(host for host in cluster.hosts.values() if host is not leader)
    follower.crash()
    follower.start()
    assert follower.raft.configuration.learners == ("x",)


def test_4_1_a_second_change_is_refused_until_the_first_is_committed_and_over() -> None:
    raft = leader_of("a", "b", "c")
    raft.propose_configuration(Configuration(ABC, (), ("d",)))
    with pytest.raises(Busy, match="under way"):
        raft.propose_configuration(Configuration(ABC))
    sync(raft)
    settle(raft, "b")
    raft.propose_configuration(Configuration((*ABC, "d")))
    with pytest.raises(Busy, match="outgoing a,b,c"):
        raft.propose_configuration(Configuration(ABC))
    sync(raft)
    accept(raft, "b", 3)
    accept(raft, "c", 3)
    sync(raft)
    with pytest.raises(Busy, match="under way"):
        raft.propose_configuration(Configuration(ABC))
    settle(raft, "b", "c")
    raft.propose_configuration(Configuration(ABC))


def test_4_1_change_while_pending_lets_a_second_change_begin() -> None:
    raft = make(voters=ABC, break_rule="changeWhilePending")
    lead(raft)
    raft.propose_configuration(Configuration(("a", "b", "d")))
    raft.propose_configuration(Configuration(("a", "d", "e")))
    assert raft.configuration == Configuration(("a", "d", "e"), ("a", "b", "d"))


def test_4_1_a_member_answers_who_is_not_in_its_configuration() -> None:
    raft = make(voters=ABC)
    raft.step(vote_request(1, sender="x"))
    (answer,) = sync(raft).after_persist
    assert answer == VoteResponse("a", "x", 1, True, False)
    raft.step(append(1, (0, 0), (1,), sender="x"))
    assert (raft.leader, raft.last_index) == ("x", 1)


# Who may be added, and how.


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Configuration(), "without voters"),
        (Configuration(("a", "a")), "twice"),
        (Configuration(("a",), (), ("a",)), "at once"),
        (Configuration(("a",), (), ("b",)), "at once"),
        (Configuration(("a", "b#7", "c")), "two ids of one name"),
        (Configuration(("a",), ("b",)), "joint"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_and_nothing_happens(
    target: Configuration, message: str
) -> None:
    raft = leader_of("a", "b", "c")
    with pytest.raises(ValueError, match=message):
        raft.propose_configuration(target)
    assert (raft.last_index, raft.configuration) == (1, Configuration(ABC))


def test_only_a_leader_changes_members() -> None:
    with pytest.raises(NotLeader):
        make().propose_configuration(Configuration(("a",)))


def test_ids_of_members_that_join_later_carry_the_index_of_their_entry() -> None:
    assert id_at("demo-3", 17) == "demo-3#17"
    assert [name_of(node) for node in ("demo-3#17", "demo-0")] == ["demo-3", "demo-0"]


def test_configurations_survive_the_log_and_garbage_is_refused() -> None:
    whole = Configuration(("a",), ("b",), ("c#3",), {"a": Address("host", 1, 2, 3)})
    assert decode_configuration(encode_configuration(whole)) == whole
    with pytest.raises(MalformedMessage):
        decode_configuration(b"\x01")


def test_leaving_a_joint_configuration_forgets_the_addresses_of_who_left() -> None:
    here = {name: Address(name, 1, 2, 3) for name in "abc"}
    joint = Configuration(("a", "b"), (), (), here).toward(Configuration(("a", "c"), (), (), here))
    assert set(joint.addresses) == set("abc")
    assert joint.left() == Configuration(("a", "c"), (), (), {n: here[n] for n in "ac"})


# Learners (4.2.1).


def test_4_2_1_a_learner_gets_the_log_and_counts_for_nothing() -> None:
    raft = leader_of("a", "b", "c", learners=("d", "e"))
    for learner in "de":
        accept(raft, learner, 1)
    raft.propose([b"x"])
    assert {m.to for m in sync(raft).messages if isinstance(m, Append)} == {"b", "c", "d", "e"}
    for learner in "de":
        accept(raft, learner, 2)
    assert raft.commit == 1
    accept(raft, "b", 2)
    assert raft.commit == 2
    assert raft.progress["d"].learner
    assert not raft.progress["b"].learner


def test_4_2_1_learners_answers_confirm_no_quorum() -> None:
    quorum = Quorum(Configuration(("a", "b", "c"), (), ("d", "e")))
    assert quorum.reached({"a": 5, "b": 0, "c": 0, "d": 5, "e": 5}.__getitem__) == 0
    assert quorum.outcome({"a": True, "d": True, "e": True}) == "open"
    broken = Quorum(Configuration(("a", "b", "c"), (), ("d", "e")), "countLearners")
    assert broken.reached({"a": 5, "b": 0, "c": 0, "d": 5, "e": 5}.__getitem__) == 5


def test_one_majority_forgets_the_outgoing_voters() -> None:
    joint = Configuration(("a", "b", "c"), ("d", "e", "f"))
    values = {"a": 5, "b": 5, "c": 0, "d": 0, "e": 0, "f": 0}.__getitem__
    assert Quorum(joint).reached(values) == 0
    assert Quorum(joint, "oneMajority").reached(values) == 5


@pytest.mark.parametrize("joins", [True, False])
def test_4_2_1_a_learner_or_a_member_that_waits_never_campaigns(joins: bool) -> None:
    raft = make(voters=() if joins else ("b", "c"), learners=() if joins else ("a",))
    for _ in range(10 * ELECTION_TICKS):
        raft.tick()
    raft.step(TimeoutNow("b", "a", 0))
    assert (raft.role, raft.term) == ("follower", 0)


def test_4_2_1_a_learner_gives_up_a_leader_that_it_does_not_hear() -> None:
    raft = make(voters=("b", "c"), learners=("a",))
    raft.step(append(1, (0, 0)))
    for _ in range(2 * ELECTION_TICKS):
        raft.tick()
    assert (raft.role, raft.leader) == ("follower", None)


def test_4_2_1_a_learner_has_caught_up_when_a_round_took_less_than_an_election_timeout() -> None:
    raft = leader_of("a", "b", "c")
    raft.propose([b"x"] * 5)
    raft.propose_configuration(Configuration(ABC, (), ("d",)))
    sync(raft)
    for _ in range(2 * ELECTION_TICKS):
        raft.tick()
    accept(raft, "d", 6)
    assert not raft.learners_caught_up, "the first round took two election timeouts"
    accept(raft, "d", 7)
    assert raft.learners_caught_up == {"d"}
    for _ in range(ELECTION_TICKS):
        raft.tick()
    assert not raft.learners_caught_up, "it was not heard for an election timeout"


@pytest.mark.parametrize("seed", range(5))
def test_a_cluster_grows_from_three_to_five_and_shrinks_again_under_load(seed: int) -> None:
    cluster = Cluster(3, seed, delay_ms=(0.5, 5))
    leader = cluster.elect()
    five = (*cluster.names, "x3", "x4")

    def loaded(condition: str, *, voters: tuple[str, ...] = (), learners: tuple[str, ...] = ()) -> None:
        assert cluster.change(leader, voters, learners), condition
        for number in range(400):
            cluster.propose(leader, b"%d" % number)
            cluster.run(5)
            configuration = leader.raft.configuration
            if (
                not configuration.joint
                and leader.raft.configuration_index <= leader.raft.commit
                and set(configuration.learners) == leader.raft.learners_caught_up
            ):
                return
        pytest.fail(f"seed {seed}: {condition} not within 2 s: {cluster.describe()}")

    for name in five[3:]:
        cluster.add_host(name)
    loaded("learners", voters=cluster.names, learners=five[3:])
    loaded("five voters", voters=five)
    keep = (leader.name, *[name for name in five if name != leader.name][-2:])
    loaded("three voters", voters=keep)
    cluster.run(300)
    assert set(leader.raft.configuration.voters) == set(keep)
    for name in keep:
        assert cluster.hosts[name].applied == leader.applied
    assert cluster.leader() is leader
    assert not cluster.violations


# A leader that is removed (4.2.2), and members that are (4.2.3).


def test_4_2_2_a_removed_leader_leads_until_its_removal_is_committed_and_does_not_count_itself() -> None:
    raft = leader_of("a", "b", "c")
    raft.propose_configuration(Configuration(("b", "c", "d")))
    sync(raft)
    for peer in "bcd":
        accept(raft, peer, 2)
    sync(raft)
    assert raft.configuration == Configuration(("b", "c", "d"))
    accept(raft, "b", 3)
    assert (raft.role, raft.commit) == ("leader", 2), "it would be a majority if it counted itself"
    accept(raft, "d", 3)
    assert (raft.role, raft.leader, raft.commit) == ("follower", None, 3)
    ready = raft.ready()
    assert [m.to for m in ready.messages if isinstance(m, TimeoutNow)] in (["b"], ["d"])
    (lost,) = [event for event in ready.events if event.type == "LeaderLost"]
    assert lost.detail == "this member was removed"


@pytest.mark.parametrize("seed", range(10))
def test_4_2_2_nobody_waits_for_an_election_timeout_when_a_removed_leader_goes(seed: int) -> None:
    cluster = Cluster(3, seed)
    leader = cluster.elect()
    cluster.run(100)
    others = [name for name in cluster.names if name != leader.name]
    assert cluster.change(leader, others)
    cluster.run_until(lambda: leader.raft.role != "leader")
    gone_at = cluster.now
    cluster.run_until(lambda: cluster.leader() is not None)
    assert cluster.now - gone_at < 50, f"seed {seed}"
    cluster.run(2000)
    assert leader.raft.role == "follower", "it is no voter and campaigns no more"
    assert len(cluster.leaders) == 2


def test_4_2_2_a_member_without_a_vote_campaigns_while_its_removal_is_not_committed() -> None:
    raft = make(voters=ABC)
    entries = [
        configuration_entry(1, 1, Configuration(("b", "c"), ABC)),
        configuration_entry(2, 1, Configuration(("b", "c"))),
    ]
    raft.step(Append("b", "a", 1, 0, 0, 1, entries))
    sync(raft)
    time_out(raft)
    raft.step(VoteResponse("b", "a", raft.term, True, False))
    assert raft.role == "candidate", "its own vote counts no more"
    raft.step(VoteResponse("c", "a", raft.term, True, False))
    assert raft.role == "leader"


def test_4_2_2_a_member_whose_removal_is_committed_campaigns_no_more() -> None:
    raft = make(voters=ABC)
    raft.step(Append("b", "a", 1, 0, 0, 1, [configuration_entry(1, 1, Configuration(("b", "c")))]))
    sync(raft)
    for _ in range(10 * ELECTION_TICKS):
        raft.tick()
    assert (raft.role, raft.term) == ("follower", 1)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("setting", ["pre_vote", "check_quorum"])
def test_4_2_3_a_removed_member_disturbs_nobody(seed: int, setting: str) -> None:
    cluster = Cluster(4, seed, **{"pre_vote": False, "check_quorum": False, setting: True})
    leader = cluster.elect()
    cluster.run(200)
    term = leader.raft.term
    away = next(name for name in cluster.names if name != leader.name)
    cluster.partition([away], [name for name in cluster.names if name != away])
    assert cluster.change(leader, [name for name in cluster.names if name != away])
    cluster.run(100)
    cluster.heal()
    cluster.run(5000)
    assert cluster.leader() is leader, f"seed {seed}"
    assert leader.raft.term == term


def test_a_message_of_a_member_that_was_removed_says_nothing_to_the_leader() -> None:
    raft = leader_of("a", "b", "c")
    raft.step(AppendResponse("x", "a", 1, 99, False, 0, 0))
    assert raft.commit == 1
