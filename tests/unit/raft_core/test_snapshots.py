"""Snapshots and compaction: thesis, chapter 5. Sent in parts, resumed, installed over a log that is wrong."""

import random

import pytest

from faultlab.raft.checksum import crc32c
from faultlab.raft.config import CoreConfig
from faultlab.raft.configuration import Configuration
from faultlab.raft.core import Raft
from faultlab.raft.errors import BadState, MalformedMessage
from faultlab.raft.messages import (
    Append,
    AppendResponse,
    Entry,
    HardState,
    HeartbeatResponse,
    InstallSnapshot,
    SnapshotMeta,
    SnapshotResponse,
)
from faultlab.raft.ready import Ready, SnapshotChunkRequest

from .harness import Cluster
from .single import Clock, accept, append, lead, make, sent, sync, terms

VOTERS = ("a", "b", "c")
DATA = b"0123456789"
META = SnapshotMeta(5, 2, Configuration(("a", "b", "c", "d")), 10, crc32c(DATA))


def part(offset: int, data: bytes, meta: SnapshotMeta = META, term: int = 3) -> InstallSnapshot:
    return InstallSnapshot("b", "a", term, meta, offset, data)


def answers(ready: Ready) -> list[tuple[int, bool]]:
    return [(m.offset, m.rejected) for m in ready.after_persist if isinstance(m, SnapshotResponse)]


def restarted(
    meta: SnapshotMeta, first: int, *at: int, commit: int = 0, term: int = 9, **settings: object
) -> Raft:
    """Member `a` with this snapshot and entries of these terms from `first` on its disk."""
    config = CoreConfig(id="a", election_ticks=10, heartbeat_ticks=1, **settings)  # type: ignore[arg-type]
    entries = [Entry(index, t, b"%d" % index) for index, t in enumerate(at, start=first)]
    return Raft(config, HardState(term, None, commit), meta, entries, random.Random(0), Clock())


# Compaction (5.1).


def compacted(index: int = 4, tail: int = 1, **settings: object) -> Raft:
    """A leader whose log of 6 entries is in a snapshot of 10 bytes up to `index`, but for a tail."""
    raft = make(voters=VOTERS, log=(1, 1, 1, 1, 1), commit=5, **settings)
    lead(raft)
    accept(raft, "b", 6)
    while raft.has_ready():
        sync(raft)
    configuration = raft.configuration_at(index)
    raft.compact(SnapshotMeta(index, 1, configuration, 10, 77), index - tail)
    return raft


def test_5_1_compaction_forgets_the_entries_up_to_the_snapshot_but_for_the_tail() -> None:
    raft = compacted(4, tail=1)
    assert (raft.first_index, raft.last_index, raft.snapshot.index) == (4, 6, 4)
    assert terms(raft) == [1, 1, 2]
    raft.propose([b"x"])
    assert [entry.index for entry in sync(raft).entries] == [7]


def test_5_1_what_was_not_applied_is_not_compacted_and_an_older_snapshot_is_ignored() -> None:
    raft = compacted(4)
    with pytest.raises(ValueError, match="entries up to 6 were applied"):
        raft.compact(SnapshotMeta(7, 2, Configuration(VOTERS)), 7)
    raft.compact(SnapshotMeta(3, 1, Configuration(VOTERS)), 3)
    assert (raft.first_index, raft.snapshot.index) == (4, 4)


def test_5_1_a_follower_within_the_tail_gets_entries_and_one_before_it_the_snapshot() -> None:
    raft = compacted(4, tail=1)
    raft.step(AppendResponse("c", "a", 2, 5, True, 3, 1))
    (message,) = [m for m in sync(raft).messages if isinstance(m, Append)]
    assert (message.prev_index, [entry.index for entry in message.entries]) == (3, [4, 5, 6])
    raft = compacted(4, tail=1)
    raft.step(AppendResponse("c", "a", 2, 5, True, 2, 1))
    ready = sync(raft)
    assert not [m for m in ready.messages if isinstance(m, Append)]
    assert [(c.to, c.offset, c.length) for c in ready.chunks] == [("c", 0, 10)]
    assert raft.progress["c"].state == "snapshot"


def test_5_1_the_configuration_in_a_snapshot_is_the_one_at_its_index() -> None:
    for rule, expected in ((None, ("d",)), ("snapshotWithoutConfiguration", ())):
        raft = make(voters=VOTERS, break_rule=rule)
        lead(raft)
        raft.propose_configuration(Configuration(VOTERS, (), ("d",)))
        sync(raft)
        accept(raft, "b", 2)
        sync(raft)
        raft.propose_configuration(Configuration(VOTERS, (), ("d", "e")))
        assert raft.configuration_at(1).learners == ()
        assert raft.configuration_at(2).learners == expected


def test_5_1_the_configuration_is_known_after_its_entry_was_compacted() -> None:
    raft = make(voters=VOTERS)
    lead(raft)
    raft.propose_configuration(Configuration(VOTERS, (), ("d",)))
    sync(raft)
    accept(raft, "b", 2)
    sync(raft)
    raft.compact(SnapshotMeta(2, 1, raft.configuration_at(2), 1, 1), 2)
    assert raft.configuration.learners == ("d",)
    with pytest.raises(ValueError, match="compacted"):
        raft.configuration_at(1)


# A member comes back from its disk.


def test_a_restarted_member_goes_on_behind_its_snapshot() -> None:
    raft = restarted(META, 6, 2, 3, commit=7)
    assert (raft.commit, raft.first_index, raft.last_index) == (7, 6, 7)
    assert raft.configuration == META.configuration
    assert [entry.index for entry in raft.ready().committed] == [6, 7]


def test_a_restarted_member_keeps_the_tail_that_its_log_holds() -> None:
    raft = restarted(META, 3, 1, 2, 2, 2, commit=5)
    assert (raft.commit, raft.first_index, raft.last_index) == (5, 4, 6)
    assert not raft.ready().committed


@pytest.mark.parametrize("at", [(1, 1), (1, 1, 1), (1, 1, 1, 1, 1)])
def test_a_log_that_ends_before_the_snapshot_or_contradicts_it_is_dropped(at: tuple[int, ...]) -> None:
    raft = restarted(META, 3, *at)
    assert (raft.commit, raft.first_index, raft.last_index) == (5, 6, 5)


def test_a_log_that_begins_behind_a_gap_is_refused() -> None:
    with pytest.raises(BadState, match="begins with entry 7"):
        restarted(META, 7, 2)


def test_a_snapshot_of_a_later_term_than_the_hard_state_brings_that_term_and_no_vote() -> None:
    raft = restarted(META, 6, term=1)
    assert raft.term == 2
    hard_state = raft.ready().hard_state
    assert hard_state is not None
    assert (hard_state.term, hard_state.vote) == (2, None)


# How a follower takes one in (5.3).


def test_5_3_a_complete_snapshot_replaces_a_log_that_contradicts_it() -> None:
    raft = make(voters=VOTERS, log=(1, 1, 1, 1, 1, 1, 1), commit=2)
    sync(raft)
    raft.step(part(0, b"0123456"))
    ready = sync(raft)
    assert [(c.offset, c.data) for c in ready.received] == [(0, b"0123456")]
    assert ready.must_sync
    assert (ready.snapshot, answers(ready)) == (None, [(7, False)])
    raft.step(part(7, b"789"))
    ready = sync(raft)
    assert [c.offset for c in ready.received] == [7]
    assert ready.snapshot == META
    assert AppendResponse("a", "b", 3, 5, False, 0, 0) in ready.after_persist
    assert (raft.commit, raft.first_index, raft.last_index, raft.snapshot) == (5, 6, 5, META)
    assert raft.configuration == META.configuration
    assert {event.type for event in ready.events} >= {"SnapshotInstalled", "ConfigurationChanged"}


def test_5_3_entries_behind_an_installed_snapshot_are_taken_and_applied_behind_it() -> None:
    raft = make(voters=VOTERS)
    raft.step(part(0, b"0123456789"))
    raft.step(append(3, (5, 2), (3, 3), commit=6))
    ready = sync(raft)
    assert ready.snapshot == META
    assert [entry.index for entry in ready.entries] == [6, 7]
    assert [entry.index for entry in ready.committed] == [6]


def test_5_3_install_keeps_log_leaves_entries_that_contradict_the_leader() -> None:
    raft = make(voters=VOTERS, log=(1, 1, 1, 1, 1, 1, 1), commit=2, break_rule="installKeepsLog")
    raft.step(part(0, b"0123456789"))
    assert raft.last_index == 7


def test_5_3_a_log_that_holds_the_snapshots_last_entry_is_kept_and_nothing_is_written() -> None:
    raft = make(voters=VOTERS, log=(1, 1, 2, 2, 2, 2), commit=1)
    sync(raft)
    raft.step(part(0, b"0123456789"))
    ready = sync(raft)
    assert (ready.snapshot, ready.received) == (None, [])
    assert AppendResponse("a", "b", 3, 5, False, 0, 0) in ready.after_persist
    assert (raft.commit, raft.last_index) == (5, 6)
    assert [entry.index for entry in ready.committed] == [2, 3, 4, 5]


def test_5_3_a_snapshot_older_than_what_is_committed_is_answered_with_that_it_is_there() -> None:
    raft = make(voters=VOTERS, log=(1, 1, 2, 2, 2, 2), commit=6)
    raft.step(part(3, b"3"))
    assert AppendResponse("a", "b", 3, 5, False, 0, 0) in sync(raft).after_persist
    assert raft.last_index == 6


def test_5_3_repeated_parts_are_not_written_again_and_gaps_are_told() -> None:
    raft = make(voters=VOTERS)
    raft.step(part(0, b"012"))
    raft.step(part(0, b"012"))
    raft.step(part(6, b"678"))
    ready = sync(raft)
    assert [c.offset for c in ready.received] == [0]
    assert answers(ready) == [(3, False), (3, True), (3, True)]


def test_5_3_another_leader_with_the_same_snapshot_goes_on_where_the_one_before_was() -> None:
    raft = make(voters=VOTERS)
    raft.step(part(0, b"0123456"))
    sync(raft)
    again = SnapshotMeta(5, 2, META.configuration, 10, META.checksum)
    raft.step(InstallSnapshot("c", "a", 4, again, 0, b"012"))
    assert answers(sync(raft)) == [(7, True)]
    raft.step(InstallSnapshot("c", "a", 4, again, 7, b"789"))
    assert sync(raft).snapshot == META


@pytest.mark.parametrize(("index", "checksum"), [(6, META.checksum), (5, 78), (4, META.checksum)])
def test_5_3_another_snapshot_of_a_later_leader_begins_anew(index: int, checksum: int) -> None:
    raft = make(voters=VOTERS)
    raft.step(part(0, b"0123456"))
    sync(raft)
    other = SnapshotMeta(index, 2, META.configuration, 10, checksum)
    raft.step(part(7, b"789", other, term=4))
    assert answers(sync(raft)) == [(0, True)]


def test_5_3_a_late_part_of_the_same_leaders_older_snapshot_is_ignored() -> None:
    raft = make(voters=VOTERS)
    raft.step(part(0, b"0123456"))
    sync(raft)
    raft.step(part(0, b"012", SnapshotMeta(4, 2, META.configuration, 10, 1)))
    assert not sent(sync(raft))
    raft.step(part(7, b"789"))
    assert sync(raft).snapshot == META


@pytest.mark.parametrize(
    "message",
    [
        part(-1, b"0"),
        part(8, b"8901"),
        part(0, b"0", SnapshotMeta(0, 0, META.configuration, 10, 1)),
        part(0, b"0", SnapshotMeta(5, 4, META.configuration, 10, 1)),
    ],
)
def test_a_part_that_no_correct_leader_sends_is_refused(message: InstallSnapshot) -> None:
    raft = make(voters=VOTERS)
    with pytest.raises(MalformedMessage):
        raft.step(message)


FLIPPED = b"0123456788"


def test_a_snapshot_that_is_not_what_was_announced_replaces_nothing_and_is_asked_for_again() -> None:
    raft = make(voters=VOTERS, log=(1, 1, 1, 1, 1, 1, 1), commit=2)
    sync(raft)
    raft.step(part(0, FLIPPED[:7]))
    sync(raft)
    raft.step(part(7, FLIPPED[7:]))
    ready = sync(raft)
    assert (ready.received, ready.snapshot) == ([], None)
    assert answers(ready) == [(0, True)]
    assert not [m for m in ready.after_persist if isinstance(m, AppendResponse)]
    (event,) = [event for event in ready.events if event.type == "SnapshotRefused"]
    assert (event.leader, event.index) == ("b", 5)
    assert (raft.commit, raft.last_index, raft.snapshots_refused) == (2, 7, 1)
    raft.step(part(0, DATA))
    ready = sync(raft)
    assert [(c.offset, c.data) for c in ready.received] == [(0, DATA)]
    assert (ready.snapshot, raft.commit) == (META, 5)


def test_a_snapshot_that_is_always_damaged_is_tried_ever_more_rarely() -> None:
    raft = make(voters=VOTERS)
    tries = []
    for number in range(3000):
        raft.step(part(0, FLIPPED))
        if [event for event in sync(raft).events if event.type == "SnapshotRefused"]:
            tries.append(number)
    assert tries == [0, 1, 18, 83, 340, 1365, 2390]
    assert raft.snapshots_refused == len(tries)


@pytest.mark.parametrize("other", ["leader", "snapshot"])
def test_another_leader_or_another_snapshot_is_tried_at_once_after_damaged_ones(other: str) -> None:
    raft = make(voters=VOTERS)
    for _ in range(5):
        raft.step(part(0, FLIPPED))
    if other == "leader":
        raft.step(InstallSnapshot("c", "a", 4, META, 0, DATA))
    else:
        raft.step(part(0, DATA, SnapshotMeta(6, 2, META.configuration, 10, META.checksum)))
    ready = sync(raft)
    assert ready.snapshot is not None
    assert ready.received[-1].data == DATA


def test_5_3_a_leader_that_sends_a_snapshot_is_heard() -> None:
    raft = make(voters=VOTERS)
    for _ in range(60):
        raft.step(part(0, b"0"))
        raft.tick()
    assert (raft.role, raft.leader) == ("follower", "b")


# How a leader sends one.


def sending(**settings: object) -> tuple[Raft, list[SnapshotChunkRequest]]:
    """A leader that has begun to send its snapshot of 10 bytes to `c`, and its first requests."""
    raft = compacted(4, tail=0, snapshot_chunk_bytes=2, max_inflight_chunks=3, **settings)
    raft.step(AppendResponse("c", "a", 2, 5, True, 0, 0))
    return raft, sync(raft).chunks


def offsets(raft: Raft) -> list[int]:
    return [request.offset for request in sync(raft).chunks]


def wants(raft: Raft, offset: int, rejected: bool = False) -> None:
    raft.step(SnapshotResponse("c", "a", 2, 4, offset, rejected))


def nudge(raft: Raft, times: int = 5) -> None:
    """So many regular heartbeats are answered."""
    for _ in range(times):
        raft.tick()
        sync(raft)
        raft.step(HeartbeatResponse("c", "a", 2, 0))


def test_the_first_part_goes_alone_and_then_a_few_are_in_flight() -> None:
    raft, requests = sending()
    assert [(r.to, r.meta.index, r.offset, r.length) for r in requests] == [("c", 4, 0, 2)]
    assert requests[0].message(b"01") == InstallSnapshot("a", "c", 2, requests[0].meta, 0, b"01")
    wants(raft, 2)
    assert offsets(raft) == [2, 4, 6]
    assert raft.progress["c"].in_flight == 3
    wants(raft, 4)
    wants(raft, 6)
    assert offsets(raft) == [8]
    wants(raft, 10)
    assert offsets(raft) == []


def test_a_follower_that_has_a_part_already_is_sent_the_rest() -> None:
    raft, _ = sending()
    wants(raft, 6, rejected=True)
    assert offsets(raft) == [6, 8]


def test_after_a_lost_part_all_go_again_from_there_and_once() -> None:
    raft, _ = sending()
    wants(raft, 2)
    assert offsets(raft) == [2, 4, 6]
    for _ in range(2):
        wants(raft, 2, rejected=True)
    assert offsets(raft) == [2, 4, 6]
    wants(raft, 4)
    assert offsets(raft) == [8]


def test_parts_or_answers_that_were_all_lost_are_asked_for_after_a_few_heartbeats() -> None:
    raft, _ = sending()
    wants(raft, 2)
    assert offsets(raft) == [2, 4, 6]
    nudge(raft)
    assert offsets(raft) == [2], "one alone, to learn where the follower is"
    wants(raft, 8, rejected=True)
    assert offsets(raft) == [8]


def test_a_lost_answer_to_the_last_part_is_asked_for_without_sending_it_again() -> None:
    raft, _ = sending()
    wants(raft, 10, rejected=True)
    assert offsets(raft) == []
    nudge(raft)
    assert [(r.offset, r.length) for r in sync(raft).chunks] == [(10, 0)]


def test_appends_wait_for_the_snapshot_and_go_on_behind_it() -> None:
    raft, _ = sending()
    raft.propose([b"x"])
    assert not [m for m in sync(raft).messages if isinstance(m, Append) and m.to == "c"]
    accept(raft, "c", 4)
    (message,) = [m for m in sync(raft).messages if isinstance(m, Append) and m.to == "c"]
    assert (message.prev_index, [entry.index for entry in message.entries]) == (4, [5, 6, 7])
    assert raft.progress["c"].state == "replicate"


def test_what_follows_a_snapshot_under_way_is_kept_and_a_third_one_takes_its_place() -> None:
    raft, _ = sending()
    wants(raft, 2)
    assert offsets(raft) == [2, 4, 6]
    raft.compact(SnapshotMeta(5, 1, Configuration(VOTERS), 12, 78), 5)
    assert raft.first_index == 5, "entry 5 follows the snapshot that c is being sent"
    wants(raft, 4)
    assert offsets(raft) == [8], "the one before the latest is still there"
    raft.compact(SnapshotMeta(6, 2, Configuration(VOTERS), 14, 79), 6)
    wants(raft, 6)
    assert [(r.meta.index, r.offset) for r in sync(raft).chunks] == [(6, 0)]


def test_a_leader_says_that_it_is_sending_a_snapshot_to_somebody_who_answers() -> None:
    raft, _ = sending()
    assert not raft.sending_snapshot, "who is away holds up nothing"
    wants(raft, 2)
    assert raft.sending_snapshot
    nudge(raft)
    assert not raft.sending_snapshot, "it has got no further"
    wants(raft, 4)
    assert raft.sending_snapshot
    accept(raft, "c", 4)
    assert not raft.sending_snapshot


def test_a_follower_that_got_it_damaged_is_sent_all_of_it_again() -> None:
    raft, _ = sending()
    for offset in (2, 4, 6, 8):
        wants(raft, offset)
        offsets(raft)
    wants(raft, 0, rejected=True)
    assert offsets(raft) == [0, 2, 4]


def test_a_follower_that_wants_more_than_there_is_is_refused() -> None:
    raft, _ = sending()
    with pytest.raises(MalformedMessage, match="byte 11"):
        wants(raft, 11)


# All of it together.


@pytest.mark.parametrize("seed", range(12))
def test_a_member_that_was_away_for_long_gets_the_snapshot_while_writes_go_on(seed: int) -> None:
    cluster = Cluster(
        3,
        seed,
        drop=0.1,
        duplicate=0.1,
        delay_ms=(0.5, 10),
        snapshot_chunk_bytes=200,
        max_inflight_chunks=3,
    )
    leader = cluster.elect()
    away = next(host for host in cluster.hosts.values() if host is not leader)
    away.crash()
    for number in range(60):
        cluster.propose(leader, *(b"%d.%d" % (number, i) for i in range(5)))
        cluster.run(5)
    leader.take_snapshot()
    assert leader.raft.first_index > 100
    away.start()
    for number in range(200):
        cluster.propose(cluster.elect(), b"meanwhile %d" % number)
        cluster.run(5)
    cluster.drop = 0
    cluster.run_until(lambda: away.raft.commit == cluster.elect().raft.last_index, within_ms=4000)
    assert [e.index for e in away.applied] == list(range(1, away.raft.commit + 1))
    assert [e for _, name, e in cluster.events if e.type == "SnapshotInstalled" and name == away.name]
    assert not cluster.violations, f"seed {seed}"
    assert not cluster.reported(""), f"seed {seed}"


@pytest.mark.parametrize("seed", range(8))
def test_a_snapshot_that_its_sender_did_not_finish_is_finished_by_the_next_leader(seed: int) -> None:
    cluster = Cluster(3, seed, snapshot_chunk_bytes=100, max_inflight_chunks=2, delay_ms=(1, 3))
    leader = cluster.elect()
    away = next(host for host in cluster.hosts.values() if host is not leader)
    away.crash()
    for number in range(100):
        cluster.propose(leader, b"%d" % number)
        cluster.run(3)
    cluster.run(100)
    for host in cluster.hosts.values():
        host.take_snapshot()
    away.start()
    cluster.run_until(lambda: len(away.incoming) > 500)
    reached = len(away.incoming)
    leader.crash()
    cluster.run_until(lambda: bool(away.raft.snapshot.index))
    assert len(away.incoming) > reached
    offsets = [m.offset for m in cluster.sent if isinstance(m, InstallSnapshot)]
    assert not cluster.violations, f"seed {seed}"
    assert offsets.count(0) <= 3
