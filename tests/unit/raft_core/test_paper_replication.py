"""Log replication and commitment as the paper has them: sections 5.3 and 5.4.2."""

import pytest

from faultlab.raft.errors import Busy, MalformedMessage, NotLeader
from faultlab.raft.log import ENTRY_OVERHEAD_BYTES
from faultlab.raft.messages import Append, AppendResponse, Entry, Heartbeat, HeartbeatResponse

from .harness import Cluster
from .single import accept, append, lead, make, sent, sync, terms


def test_5_3_a_proposal_is_appended_and_sent_to_all_in_one_message_each() -> None:
    raft = make()
    lead(raft)
    for peer in "bcde":
        accept(raft, peer, 1)
    sync(raft)
    assert raft.propose([b"x", b"y"]) == (2, 1)
    assert raft.propose([b"z"]) == (4, 1)
    ready = raft.ready()
    assert ready.entries == [Entry(2, 1, b"x"), Entry(3, 1, b"y"), Entry(4, 1, b"z")]
    appends = [message for message in ready.messages if isinstance(message, Append)]
    assert [message.to for message in appends] == ["b", "c", "d", "e"]
    assert all(message.entries == ready.entries and message.prev_index == 1 for message in appends)


def test_5_3_only_a_leader_takes_proposals_and_others_name_it() -> None:
    raft = make()
    with pytest.raises(NotLeader) as unknown:
        raft.propose([b"x"])
    assert unknown.value.leader is None
    raft.step(append(1, (0, 0)))
    with pytest.raises(NotLeader) as known:
        raft.propose([b"x"])
    assert known.value.leader == "b"


@pytest.mark.parametrize("payloads", [[], [b""], [b"x", b""]])
def test_an_empty_payload_is_refused_for_it_would_read_as_a_no_op(payloads: list[bytes]) -> None:
    raft = make()
    lead(raft)
    with pytest.raises(ValueError, match="no-op"):
        raft.propose(payloads)


@pytest.mark.parametrize(
    ("size", "acks", "committed"), [(1, 0, True), (3, 0, False), (3, 1, True), (5, 1, False), (5, 2, True)]
)
def test_5_3_an_entry_is_committed_when_a_majority_has_synced_it(
    size: int, acks: int, committed: bool
) -> None:
    cluster_of = ("a", "b", "c", "d", "e")[:size]
    raft = make(voters=cluster_of)
    if size == 1:
        for _ in range(20):
            raft.tick()
        sync(raft)
    else:
        lead(raft)
    sync(raft)
    for peer in cluster_of[1 : 1 + acks]:
        accept(raft, peer, 1)
    assert (raft.commit == 1) is committed


def test_the_leaders_own_copy_counts_only_once_it_is_synced() -> None:
    raft = make(voters=("a", "b", "c"))
    lead(raft)
    accept(raft, "b", 1)
    raft.propose([b"x"])
    raft.ready()
    accept(raft, "b", 2)
    assert raft.commit == 1
    raft.persisted(2, 1)
    assert raft.commit == 2


def test_a_majority_of_followers_commits_before_the_leader_has_synced() -> None:
    raft = make(voters=("a", "b", "c"))
    lead(raft)
    raft.propose([b"x"])
    raft.ready()
    accept(raft, "b", 2)
    accept(raft, "c", 2)
    assert raft.commit == 2


def test_committed_entries_are_handed_out_in_order_and_once() -> None:
    raft = make(max_committed_per_ready=2)
    lead(raft)
    raft.propose([b"1", b"2", b"3", b"4"])
    sync(raft)
    for peer in "bc":
        accept(raft, peer, 5)
    batches = []
    while raft.has_ready():
        batches.append([entry.index for entry in raft.ready().committed])
    assert batches == [[1, 2], [3, 4], [5]]


def test_5_3_a_follower_learns_the_commit_index_with_appends_and_heartbeats() -> None:
    raft = make()
    raft.step(append(1, (0, 0), (1, 1, 1), commit=2))
    assert [entry.index for entry in sync(raft).committed] == [1, 2]
    raft.step(Heartbeat("b", "a", 1, 3, 0))
    assert [entry.index for entry in sync(raft).committed] == [3]


def test_5_3_commit_never_runs_beyond_what_the_append_has_proven() -> None:
    raft = make(log=(1, 1, 1))
    raft.step(append(2, (1, 1), (), commit=3))
    assert raft.commit == 1


def test_5_3_an_append_is_acknowledged_only_after_its_sync() -> None:
    raft = make()
    raft.step(append(1, (0, 0), (1, 1)))
    ready = raft.ready()
    assert not ready.messages
    assert ready.must_sync
    assert ready.after_persist == [AppendResponse("a", "b", 1, 2, False, 0, 0)]


@pytest.mark.parametrize(
    ("log", "prev", "hint"),
    [
        ((), (3, 2), (0, 0)),
        ((1,), (3, 2), (1, 1)),
        ((1, 1, 1, 3), (4, 2), (3, 1)),
        ((1, 3, 3), (3, 2), (1, 1)),
    ],
)
def test_5_3_an_append_that_does_not_fit_is_rejected_with_where_the_logs_may_agree(
    log: tuple[int, ...], prev: tuple[int, int], hint: tuple[int, int]
) -> None:
    raft = make(log=log)
    raft.step(append(5, prev, (5,)))
    assert sent(raft.ready()) == [AppendResponse("a", "b", 5, prev[0], True, *hint)]


@pytest.mark.parametrize(
    ("log", "prev", "new", "result", "first_written"),
    [
        ((1, 1), (2, 1), (2,), (1, 1, 2), 3),
        ((1, 1, 1), (1, 1), (2, 2), (1, 2, 2), 2),
        ((1, 1, 1), (0, 0), (1, 1), (1, 1, 1), None),
        ((1, 2, 2, 2), (1, 1), (2, 3), (1, 2, 3), 3),
        ((1, 1), (0, 0), (1, 1, 2), (1, 1, 2), 3),
    ],
)
def test_5_3_a_follower_replaces_only_what_contradicts_its_leader(
    log: tuple[int, ...],
    prev: tuple[int, int],
    new: tuple[int, ...],
    result: tuple[int, ...],
    first_written: int | None,
) -> None:
    raft = make(log=log)
    raft.step(append(3, prev, new))
    assert tuple(terms(raft)) == result
    entries = raft.ready().entries
    assert (entries[0].index if entries else None) == first_written
    assert not [event for event in raft.ready().events if event.type == "InvariantViolated"]


FIGURE_7 = [
    (1, 1, 1, 4, 4, 5, 5, 6, 6),
    (1, 1, 1, 4),
    (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    (1, 1, 1, 4, 4, 4, 4),
    (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
]


@pytest.mark.parametrize("log", FIGURE_7)
def test_5_3_figure_7_a_leader_brings_every_such_follower_in_line_in_few_round_trips(
    log: tuple[int, ...],
) -> None:
    leader = make(log=(1, 1, 1, 4, 4, 5, 5, 6, 6, 6), term=7)
    follower = make(log=log, term=7)
    ready = lead(leader)
    trips = 0
    while terms(follower) != terms(leader):
        trips += 1
        assert trips <= 4
        (message,) = [m for m in ready.messages if isinstance(m, Append) and m.to == "b"]
        follower.step(
            Append("b", "a", message.term, message.prev_index, message.prev_term, 0, message.entries)
        )
        for answer in sync(follower).after_persist:
            assert isinstance(answer, AppendResponse)
            leader.step(
                AppendResponse(
                    "b", "a", answer.term, *(getattr(answer, f) for f in answer.__struct_fields__[3:])
                )
            )
        ready = sync(leader)
    assert leader.progress["b"].match_index == 11


def test_5_3_a_new_leader_probes_with_one_message_until_the_logs_agree_then_pipelines() -> None:
    raft = make()
    lead(raft)
    raft.propose([b"x"])
    assert not [m for m in sync(raft).messages if isinstance(m, Append)]
    assert raft.progress["b"].state == "probe"
    accept(raft, "b", 1)
    assert raft.progress["b"].state == "replicate"
    for number in range(3):
        raft.propose([b"%d" % number])
        assert [m.to for m in sync(raft).messages if isinstance(m, Append)] == ["b"]
    assert raft.progress["b"].in_flight == 3


def test_the_pipeline_is_bounded_and_opens_with_acknowledgements() -> None:
    raft = make(max_inflight_messages=2, max_entries_bytes_per_message=3)
    lead(raft)
    accept(raft, "b", 1)
    sync(raft)
    raft.propose([b"aa", b"bb", b"cc", b"dd"])
    appends = [m for m in sync(raft).messages if isinstance(m, Append) and m.to == "b"]
    assert [[e.data for e in m.entries] for m in appends] == [[b"aa"], [b"bb"]]
    accept(raft, "b", 2)
    appends = [m for m in sync(raft).messages if isinstance(m, Append)]
    assert [[e.data for e in m.entries] for m in appends] == [[b"cc"]]


def test_lost_appends_are_found_by_heartbeats_and_sent_again() -> None:
    raft = make()
    lead(raft)
    accept(raft, "b", 1)
    sync(raft)
    raft.propose([b"lost"])
    sync(raft)
    inquiries: list[Append] = []
    for _ in range(2):
        raft.tick()
        sync(raft)
        raft.step(HeartbeatResponse("b", "a", 1, 0))
        inquiries += [m for m in sync(raft).messages if isinstance(m, Append)]
    assert [(m.prev_index, m.entries) for m in inquiries] == [(2, [])]
    raft.step(AppendResponse("b", "a", 1, 2, True, 1, 1))
    (again,) = [m for m in sync(raft).messages if isinstance(m, Append)]
    assert [entry.data for entry in again.entries] == [b"lost"]


def test_proposals_beyond_the_uncommitted_bound_are_busy_and_leave_nothing() -> None:
    raft = make(max_uncommitted_bytes=10)
    lead(raft)
    for peer in "bc":
        accept(raft, peer, 1)
    raft.propose([b"0123456789abcdef"])
    with pytest.raises(Busy, match="at most 10 bytes"):
        raft.propose([b"x"])
    assert raft.last_index == 2
    sync(raft)
    for peer in "bc":
        accept(raft, peer, 2)
    assert raft.propose([b"x"]) == (3, 1)


def test_small_entries_count_towards_the_uncommitted_bound_with_what_they_take_in_memory() -> None:
    raft = make(max_uncommitted_bytes=100 * (ENTRY_OVERHEAD_BYTES + 1))
    lead(raft)  # whose first entry, without payload, counts too
    for _ in range(99):
        raft.propose([b"x"])
    with pytest.raises(Busy):
        raft.propose([b"x"])


@pytest.mark.parametrize("acked", [1, 2])
def test_5_4_2_entries_of_earlier_terms_are_not_committed_by_counting(acked: int) -> None:
    raft = make(log=(1, 2), term=2)
    lead(raft)
    for peer in "bc":
        accept(raft, peer, acked)
    assert raft.commit == 0
    for peer in "bc":
        accept(raft, peer, 3)
    assert raft.commit == 3, "they are committed under the first entry of the new term"


def test_a_heartbeat_carries_no_commit_index_beyond_what_its_receiver_has() -> None:
    raft = make()
    lead(raft)
    for peer in "bc":
        accept(raft, peer, 1)
    sync(raft)
    raft.tick()
    beats = {m.to: m.commit for m in sync(raft).messages if isinstance(m, Heartbeat)}
    assert beats == {"b": 1, "c": 1, "d": 0, "e": 0}


@pytest.mark.parametrize(
    "message",
    [
        Append("b", "x", 1, 0, 0, 0, []),
        Append("a", "a", 1, 0, 0, 0, []),
        Append("b", "a", 1, -1, 0, 0, []),
        Append("b", "a", 1, 0, 0, 0, [Entry(2, 1, b"x")]),
        Append("b", "a", 1, 0, 0, 0, [Entry(1, 2, b"x")]),
        Append("b", "a", 1, 0, 0, 0, [Entry(1, 1, b"x", 1)]),
        Append("b", "a", 1, 0, 0, 0, [Entry(1, 1, b"x", 2)]),
    ],
)
def test_a_message_that_no_correct_member_sends_is_refused_and_the_log_untouched(message: Append) -> None:
    raft = make()
    with pytest.raises(MalformedMessage):
        raft.step(message)
    assert raft.last_index == 0


def test_an_answer_for_entries_that_the_leader_never_had_is_refused() -> None:
    raft = make()
    lead(raft)
    with pytest.raises(MalformedMessage, match="ends at 1"):
        accept(raft, "b", 2)


def test_5_3_a_follower_that_was_away_catches_up() -> None:
    cluster = Cluster(5, seed=4, max_entries_bytes_per_message=64, max_inflight_messages=4)
    leader = cluster.elect()
    away = next(host for host in cluster.hosts.values() if host is not leader)
    away.crash()
    for number in range(50):
        cluster.propose(leader, *(b"%d.%d" % (number, i) for i in range(20)))
        cluster.run(5)
    away.start()
    cluster.run_until(lambda: away.raft.commit == leader.raft.last_index, within_ms=3000)
    assert [entry.index for entry in away.applied] == list(range(1, leader.raft.last_index + 1))
    assert not cluster.violations


def test_payload_bytes_in_flight_are_bounded_too_but_one_append_goes_always() -> None:
    raft = make(max_inflight_bytes=5, max_entries_bytes_per_message=3)
    lead(raft)
    accept(raft, "b", 1)
    sync(raft)
    raft.propose([b"aaa", b"bbb", b"ccc", b"dddddddddd"])

    def sent_to_b() -> list[list[int]]:
        appends = [m for m in sync(raft).messages if isinstance(m, Append) and m.to == "b"]
        return [[entry.index for entry in m.entries] for m in appends]

    assert sent_to_b() == [[2], [3]]
    accept(raft, "b", 2)
    assert sent_to_b() == [[4]]
    accept(raft, "b", 3)
    assert sent_to_b() == [[5]], "3 of 5 bytes were in flight"
    raft.propose([b"e"])
    accept(raft, "b", 4)
    assert sent_to_b() == []
    accept(raft, "b", 5)
    assert sent_to_b() == [[6]]


def test_5_3_append_anywhere_takes_entries_behind_one_that_contradicts_the_leader() -> None:
    for rule, expected in ((None, [1]), ("appendAnywhere", [1, 3])):
        raft = make(log=(1,), break_rule=rule)
        raft.step(append(3, (1, 2), (3,)))
        assert terms(raft) == expected
        assert raft.ready().after_persist == [AppendResponse("a", "b", 3, 2, False, 0, 0)] or rule is None


def test_5_4_2_commit_old_terms_counts_entries_of_earlier_terms() -> None:
    raft = make(log=(1, 2), term=2, break_rule="commitOldTerms")
    lead(raft)
    for peer in "bc":
        accept(raft, peer, 2)
    assert raft.commit == 2
