"""The log, the majority and a follower's progress, each by itself."""

import itertools

import pytest

from faultlab.raft.configuration import Configuration
from faultlab.raft.errors import BadState
from faultlab.raft.log import ENTRY_OVERHEAD_BYTES, RaftLog
from faultlab.raft.messages import Entry, SnapshotMeta
from faultlab.raft.progress import Progress
from faultlab.raft.quorum import Quorum, majority

from .single import append, make


def log_of(*terms: int, commit: int = 0) -> RaftLog:
    return RaftLog(
        SnapshotMeta(), [Entry(i, term, b"x" * i) for i, term in enumerate(terms, start=1)], commit
    )


@pytest.mark.parametrize("voters", range(1, 10))
def test_any_two_majorities_share_a_member_and_no_smaller_sets_do(voters: int) -> None:
    assert 2 * majority(voters) > voters
    assert 2 * (majority(voters) - 1) <= voters


@pytest.mark.parametrize("size", range(1, 6))
def test_reached_is_the_highest_value_that_a_majority_has(size: int) -> None:
    for values in itertools.product(range(3), repeat=size):
        expected = max(v for v in range(3) if sum(x >= v for x in values) >= majority(size))
        nodes = tuple("abcde"[:size])
        assert (
            Quorum(Configuration(nodes)).reached(dict(zip(nodes, values, strict=True)).__getitem__)
            == expected
        )


@pytest.mark.parametrize("size", range(1, 8))
def test_an_election_is_won_by_a_majority_and_lost_when_none_is_left(size: int) -> None:
    nodes = tuple("abcdefg"[:size])
    for granted in range(size + 1):
        for refused in range(size + 1 - granted):
            possible = size - refused >= majority(size)
            expected = "won" if granted >= majority(size) else "open" if possible else "lost"
            votes = {node: at < granted for at, node in enumerate(nodes[: granted + refused])}
            assert Quorum(Configuration(nodes)).outcome(votes) == expected


@pytest.mark.parametrize(
    ("index", "term", "found"),
    [(6, 9, 6), (6, 3, 5), (6, 2, 3), (4, 3, 4), (6, 0, 0), (0, 5, 0), (99, 3, 5), (2, 1, 2)],
)
def test_the_last_entry_of_no_later_term_is_found(index: int, term: int, found: int) -> None:
    assert log_of(1, 1, 2, 3, 3, 5).last_not_after(index, term) == found


@pytest.mark.parametrize(
    ("first", "max_bytes", "indexes"),
    [
        (1, 1, [1]),
        (1, 3, [1, 2]),
        (1, 5, [1, 2]),
        (1, 6, [1, 2, 3]),
        (3, 1, [3]),
        (2, 5, [2, 3]),
        (4, 99, [4]),
    ],
)
def test_a_slice_is_bounded_by_bytes_but_never_empty(first: int, max_bytes: int, indexes: list[int]) -> None:
    assert [entry.index for entry in log_of(1, 1, 1, 1).slice(first, max_bytes)] == indexes


def test_bytes_are_counted_through_appends_and_truncations() -> None:
    log = log_of(1, 1, 1)
    assert log.bytes_after(1) == 5 + 2 * ENTRY_OVERHEAD_BYTES
    assert log.bytes_between(1, 3) == 5, "what a message holds is payload alone"
    log.append([Entry(4, 1, b"abc")])
    assert log.bytes_after(3) == 3 + ENTRY_OVERHEAD_BYTES
    log.truncate(1)
    log.append([Entry(2, 2, b"")])
    assert log.bytes_after(0) == 1 + 2 * ENTRY_OVERHEAD_BYTES
    assert (log.last_index, log.last_term) == (2, 2)


def test_a_leader_that_contradicts_committed_entries_ends_the_member_before_anything_changes() -> None:
    raft = make(log=(1, 1, 1), commit=3, term=1)
    with pytest.raises(BadState, match="entry 2 of term 1 was committed, and b, leader of term 2"):
        raft.step(append(2, (1, 1), (2, 2, 2), commit=4))
    assert (raft.commit, raft.last_index) == (3, 3)


def test_other_data_under_the_same_index_and_term_ends_the_member() -> None:
    raft = make(log=(1, 1), term=1)
    message = append(1, (0, 0), (1, 1))
    message.entries[1] = Entry(2, 1, b"other")
    with pytest.raises(BadState, match="entry 2 of term 1 holds other data here than at b"):
        raft.step(message)


def test_with_a_broken_rule_truncated_committed_entries_are_reported_and_not_applied_again() -> None:
    raft = make(log=(1, 1, 1), commit=3, term=1, break_rule="electStale")
    assert len(raft.ready().committed) == 3
    raft.step(append(2, (1, 1), (2, 2, 2), commit=4))
    ready = raft.ready()
    (event,) = [event for event in ready.events if event.type == "InvariantViolated"]
    assert (event.term, event.index) == (2, 2)
    assert "entry 2 of term 1 was committed" in (event.detail or "")
    assert [entry.index for entry in ready.entries] == [2, 3, 4]
    assert [entry.index for entry in ready.committed] == [4]


def test_with_a_broken_rule_other_data_under_the_same_index_and_term_is_reported() -> None:
    raft = make(log=(1, 1), term=1, break_rule="forgetVote")
    message = append(1, (0, 0), (1, 1))
    message.entries[1] = Entry(2, 1, b"other")
    raft.step(message)
    (event,) = [event for event in raft.ready().events if event.type == "InvariantViolated"]
    assert (event.detail or "").startswith("log matching")
    assert event.index == 2


def test_a_second_leader_of_a_term_is_reported() -> None:
    raft = make()
    raft.step(append(1, (0, 0), sender="b"))
    raft.ready()
    for sender in "cbc":
        raft.step(append(1, (0, 0), sender=sender))
    events = [event for event in raft.ready().events if event.type == "InvariantViolated"]
    assert [event.detail for event in events] == ["election safety: term 1 has two leaders, b and c"]


def test_a_rejected_probe_goes_back_and_a_late_rejection_does_nothing() -> None:
    peer = Progress("b", 10)
    peer.sent(12)
    assert not peer.rejected(4, 2)
    assert peer.paused
    assert peer.rejected(9, 5)
    assert (peer.next, peer.paused) == (6, False)
    assert peer.accepted(5)
    assert not peer.rejected(5, 3), "what was acknowledged is not asked for again"
    assert peer.next == 6


def test_a_rejection_while_replicating_leads_back_to_probing_from_what_is_known() -> None:
    peer = Progress("b", 1)
    peer.accepted(3)
    peer.sent(5)
    peer.sent(8)
    assert (peer.next, peer.snapshot().in_flight, peer.snapshot().state) == (9, 2, "replicate")
    assert peer.rejected(5, 3)
    assert (peer.next, peer.snapshot().in_flight, peer.snapshot().state) == (4, 0, "probe")


def test_an_acknowledgement_frees_all_that_it_covers() -> None:
    peer = Progress("b", 1)
    peer.accepted(1)
    for last in (2, 3, 4):
        peer.sent(last)
    peer.accepted(3)
    assert peer.snapshot().in_flight == 1
    assert not peer.accepted(2)
    assert peer.match == 3
