"""The way from one set of voters to another: every step safe by itself, wherever a leader takes it up."""

import random
import re
from collections.abc import Iterable

import pytest

from faultlab.contract.member import MembershipRequest, PeerAddress, PeerProgress
from faultlab.raft.configuration import Configuration, name_of
from faultlab.raft.membership import (
    Goal,
    HandOver,
    Propose,
    Reached,
    Step,
    Wait,
    address_of,
    choose_successor,
    next_step,
)


def peer(name: str, host: str = "", **ports: int) -> PeerAddress:
    return PeerAddress(name=name, host=host or f"{name}.demo", **ports)


def goal(names: Iterable[str], replace: Iterable[str] = ()) -> Goal:
    return Goal.of(MembershipRequest(tuple(peer(name) for name in names), tuple(replace)))


def first(*names: str) -> Configuration:
    return Configuration(names, (), (), {name: address_of(peer(name)) for name in names})


class Change:
    """A cluster whose every step is committed, and whose learners catch up when told."""

    def __init__(self, configuration: Configuration, leader: str, index: int = 100) -> None:
        self.now, self.leader, self.index = configuration, leader, index
        self.caught_up: set[str] = set()
        self.cut_off: set[str] = set()
        self.seen = [configuration]
        self.handed_over: list[str] = []

    def step(self, wanted: Goal) -> Step:
        step = next_step(
            wanted,
            self.now,
            self.leader,
            pending=False,
            caught_up=self.caught_up,
            reachable=set(self.now.members) - self.cut_off,
            next_index=self.index,
        )
        if isinstance(step, Propose):
            step.configuration.check()
            for configuration in (self.now.toward(step.configuration), step.configuration):
                configuration.check()
                self.now = configuration
                self.seen.append(configuration)
                self.index += 1
        elif isinstance(step, HandOver):
            assert step.candidates
            self.handed_over.append(self.leader)
            self.leader = step.candidates[0]
        return step

    def run(self, wanted: Goal) -> Step:
        for _ in range(20):
            step = self.step(wanted)
            if isinstance(step, Wait):
                if not set(self.now.learners) - self.caught_up:
                    return step
                self.caught_up |= set(self.now.learners)
            if isinstance(step, Reached):
                return step
        raise AssertionError(f"no end: {self.seen}")


def names(ids: Iterable[str]) -> set[str]:
    return {name_of(i) for i in ids}


def test_members_are_added_as_learners_under_new_ids_and_get_votes_once_they_have_caught_up() -> None:
    change = Change(first("a", "b", "c"), "a")
    wanted = goal("abcde")
    change.step(wanted)
    assert change.now.learners == ("d#100", "e#100")
    assert change.now.voters == ("a", "b", "c")
    assert isinstance(waiting := change.step(wanted), Wait)
    assert "d#100, e#100" in waiting.reason
    change.caught_up = {"d#100"}
    assert isinstance(change.step(wanted), Wait)
    assert isinstance(change.run(wanted), Reached)
    assert set(change.now.voters) == {"a", "b", "c", "d#100", "e#100"}
    assert change.now.addresses.keys() == set(change.now.voters)


def test_members_that_are_not_wanted_lose_their_votes_in_one_joint_change() -> None:
    change = Change(first("a", "b", "c", "d", "e"), "a")
    assert isinstance(change.run(goal("abc")), Reached)
    assert change.now.voters == ("a", "b", "c")
    assert [c.joint for c in change.seen] == [False, True, False]
    assert change.now.addresses.keys() == {"a", "b", "c"}


def test_a_leader_that_is_to_be_removed_hands_over_first() -> None:
    change = Change(first("a", "b", "c"), "c")
    wanted = goal("ab")
    step = change.step(wanted)
    assert step == HandOver(("a", "b"))
    assert change.seen == [first("a", "b", "c")]
    assert isinstance(change.run(wanted), Reached)
    assert change.now.voters == ("a", "b")


def test_who_lost_its_data_is_out_before_its_name_comes_back_under_another_id() -> None:
    change = Change(first("a", "b", "c"), "a")
    wanted = goal("abc", replace=["c"])
    assert isinstance(change.run(wanted), Reached)
    assert change.now.voters == ("a", "b", "c#102")
    assert all(len(names(c.members)) == len(c.members) for c in change.seen)
    assert any(names(c.members) == {"a", "b"} for c in change.seen)


def test_repeating_a_replacement_that_is_done_does_nothing() -> None:
    change = Change(first("a", "b", "c"), "a")
    wanted = goal("abc", replace=["c"])
    change.run(wanted)
    before = len(change.seen)
    assert isinstance(change.run(wanted), Reached)
    assert len(change.seen) == before


def test_the_last_voter_is_never_removed() -> None:
    change = Change(first("a"), "a")
    assert isinstance(change.run(goal("a", replace=["a"])), Wait)
    assert change.now == first("a")


def test_nothing_is_proposed_while_a_change_is_pending_or_joint() -> None:
    joint = Configuration(("a",), ("a", "b"), (), {})
    for configuration, pending in ((joint, False), (first("a", "b"), True)):
        step = next_step(
            goal("abc"), configuration, "a", pending=pending, caught_up=(), reachable="ab", next_index=5
        )
        assert isinstance(step, Wait)


def test_a_member_that_has_moved_is_followed() -> None:
    change = Change(first("a", "b", "c"), "a")
    moved = Goal.of(MembershipRequest((peer("a"), peer("b", "10.0.0.9"), peer("c"))))
    assert isinstance(change.run(moved), Reached)
    assert change.now.addresses["b"].host == "10.0.0.9"
    assert change.now.voters == ("a", "b", "c")


def test_voters_move_one_at_a_time_and_only_while_the_others_are_a_majority_without_them() -> None:
    change = Change(first("a", "b", "c"), "a")
    nowhere = Goal.of(
        MembershipRequest((peer("a", "10.0.0.7"), peer("b", "10.0.0.8"), peer("c", "10.0.0.9")))
    )
    assert isinstance(change.step(nowhere), Propose)
    assert change.now.addresses == {**first("a", "b", "c").addresses, "a": address_of(peer("a", "10.0.0.7"))}
    change.leader, change.cut_off = "b", {"a"}  # nobody answers there
    before = change.now
    assert isinstance(waiting := change.step(nowhere), Wait)
    assert "reachable" in waiting.reason
    assert change.now == before
    assert isinstance(change.step(goal("abc")), Propose)  # and put right again, by those who are left
    assert change.now == first("a", "b", "c")


def test_a_change_of_voters_leaves_the_addresses_of_those_who_stay_alone() -> None:
    change = Change(first("a", "b", "c"), "a")
    change.cut_off = {"a", "b", "c"}
    wanted = Goal.of(MembershipRequest((peer("a", "10.0.0.7"), peer("b", "10.0.0.8"), peer("d"))))
    assert isinstance(change.run(wanted), Wait)
    assert names(change.now.voters) == {"a", "b", "d"}
    assert change.now.addresses["a"] == address_of(peer("a"))


def test_a_learner_at_a_wrong_address_can_be_put_right() -> None:
    change = Change(first("a", "b", "c"), "a")
    change.step(Goal.of(MembershipRequest((*map(peer, "abc"), peer("d", "10.0.0.9")))))
    change.step(goal("abcd"))
    assert change.now.addresses["d#100"] == address_of(peer("d"))
    assert change.now.learners == ("d#100",)


@pytest.mark.parametrize("seed", range(200))
def test_from_any_configuration_every_goal_is_reached_even_if_it_changes_on_the_way(seed: int) -> None:
    rng = random.Random(seed)
    everybody = "abcdefg"
    change = Change(first(*rng.sample(everybody, rng.randint(1, 5))), "")
    change.leader = change.now.voters[0]
    for _ in range(rng.randint(1, 4)):
        ids = change.now.members
        wanted = goal(rng.sample(everybody, rng.randint(1, 7)), rng.sample(ids, rng.randint(0, len(ids) - 1)))
        for _ in range(rng.randint(0, 4)):
            change.step(wanted)
            change.caught_up |= set(rng.sample(change.now.learners, rng.randint(0, len(change.now.learners))))
    final = goal(rng.sample(everybody, rng.randint(1, 7)))
    assert isinstance(change.run(final), Reached), change.seen
    assert names(change.now.voters) == set(final.members)
    assert change.leader in change.now.voters
    added = {i for c in change.seen for i in c.members if "#" in i}
    for member_id in added:  # once out, an id never comes back
        present = [member_id in c.members for c in change.seen]
        assert sum(a != b for a, b in zip([False, *present], [*present, False], strict=True)) <= 2


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "1 to 9"),
        (list("abcdefghij"), "1 to 9"),
        (["a", "a"], "twice"),
        (["a#5"], "not ids"),
        (["a/b"], "not ids"),
    ],
)
def test_impossible_sets_of_members_are_refused(members: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        goal(members)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (PeerAddress("b", ""), "b has the host ''"),
        (PeerAddress("b", "no such host"), "b has the host 'no such host'"),
        (peer("b", client_port=-1), "b has clientPort -1"),
        (peer("b", peer_port=0), "b has peerPort 0"),
        (peer("b", admin_port=65536), "b has adminPort 65536"),
        (peer("b", client_port=7001), "b.demo:7001 is given twice"),
        (peer("b", "a.demo"), "a.demo:7000, a.demo:7001, a.demo:7002 is given twice"),
    ],
)
def test_addresses_that_nobody_could_dial_are_refused(wrong: PeerAddress, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Goal.of(MembershipRequest((peer("a"), wrong)))


def test_the_successor_follows_closely_is_preferred_and_lacks_least() -> None:
    progress = {
        "a": PeerProgress(match_index=9, in_flight=0, state="probe"),
        "b": PeerProgress(match_index=5, in_flight=0, state="replicate"),
        "c": PeerProgress(match_index=7, in_flight=0, state="replicate"),
        "d#3": PeerProgress(match_index=8, in_flight=0, state="replicate", learner=True),
    }
    assert choose_successor(progress, progress, {}) == "c"
    assert choose_successor(progress, progress, {"b": 1}) == "b"
    assert choose_successor(["a"], progress, {}) == "a"
    assert choose_successor(["d#3", "z"], progress, {}) is None
