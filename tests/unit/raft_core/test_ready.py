"""What `Ready` and `persisted` promise the host, and how a member comes back from its disk."""

import random

import pytest

from faultlab.raft.config import CoreConfig
from faultlab.raft.configuration import Address, Configuration
from faultlab.raft.core import Raft
from faultlab.raft.errors import BadState, MalformedMessage
from faultlab.raft.messages import (
    Append,
    AppendResponse,
    Entry,
    HardState,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    Message,
    ReadIndexRequest,
    ReadIndexResponse,
    SnapshotMeta,
    SnapshotResponse,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
    decode,
    encode,
)

from .harness import Cluster
from .single import Clock, accept, append, lead, make, sync, vote_request


def test_nothing_is_handed_out_twice() -> None:
    raft = make()
    raft.step(append(1, (0, 0), (1, 1), commit=1))
    assert raft.has_ready()
    first = raft.ready()
    assert first.entries
    assert first.committed
    assert first.hard_state == HardState(1, None, 1)
    assert not raft.has_ready()
    again = raft.ready()
    assert not any([again.entries, again.committed, again.messages, again.after_persist, again.events])
    assert again.hard_state is None
    assert not again.must_sync


def test_a_moved_commit_index_alone_asks_for_no_sync() -> None:
    raft = make()
    raft.step(append(1, (0, 0), (1, 1)))
    sync(raft)
    raft.step(append(1, (2, 1), commit=2))
    ready = raft.ready()
    assert ready.hard_state == HardState(1, None, 2)
    assert not ready.must_sync


def test_a_write_that_was_truncated_before_its_sync_counts_for_nothing() -> None:
    raft = make(voters=("a", "b", "c"))
    raft.step(append(1, (0, 0), (1, 1, 1)))
    raft.ready()
    raft.step(append(2, (1, 1), (2,)))
    raft.ready()
    raft.persisted(3, 1)
    assert raft._log.synced == 1
    raft.persisted(2, 2)
    assert raft._log.synced == 2


def test_an_entry_written_again_counts_only_with_its_second_write() -> None:
    raft = make(voters=("a", "b", "c"))
    raft.step(append(1, (0, 0), (1, 1)))
    raft.ready()
    raft.step(append(2, (0, 0), (2,)))
    raft.ready()
    raft.step(append(3, (0, 0), (1, 1)))
    raft.ready()
    raft.persisted(2, 1)
    assert raft._log.synced == 0, "the disk will hold term 2's entry before it holds these again"
    raft.persisted(1, 2)
    raft.persisted(2, 1)
    assert raft._log.synced == 2


def test_one_sync_may_cover_several_readys_and_an_unknown_one_is_ignored() -> None:
    raft = make(voters=("a", "b", "c"))
    lead(raft)
    for payload in (b"x", b"y", b"z"):
        raft.propose([payload])
        raft.ready()
    raft.persisted(9, 9)
    assert raft._log.synced == 1
    raft.persisted(4, 1)
    accept(raft, "b", 4)
    assert raft.commit == 4


def test_a_restarted_member_hands_out_all_committed_entries_again() -> None:
    raft = make(log=(1, 1, 2), commit=2, term=3, vote="c")
    assert (raft.role, raft.term, raft.commit, raft.last_index) == ("follower", 3, 2, 3)
    ready = raft.ready()
    assert [entry.index for entry in ready.committed] == [1, 2]
    assert ready.hard_state is None
    assert not ready.entries


@pytest.mark.parametrize(
    ("hard_state", "indexes", "message"),
    [
        (HardState(1, None, 3), [1, 2], "log ends at 2"),
        (HardState(1, None, 0), [1, 3], "no gap"),
        (HardState(0, None, 0), [1], "knows only term 0"),
    ],
)
def test_a_disk_that_contradicts_itself_is_refused(
    hard_state: HardState, indexes: list[int], message: str
) -> None:
    config = CoreConfig(id="a", election_ticks=10, heartbeat_ticks=1)
    entries = [Entry(index, 1, b"x") for index in indexes]
    with pytest.raises(BadState, match=message):
        Raft(config, hard_state, SnapshotMeta(), entries, random.Random(0), Clock())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lease": True, "check_quorum": False}, "needs check_quorum"),
        ({"max_clock_drift_percent": 100}, "must be in"),
        ({"heartbeat_ticks": 10}, "less than"),
        ({"heartbeat_ticks": 0}, "at least 1"),
        ({"max_inflight_messages": 0}, "max_inflight_messages 0"),
    ],
)
def test_bad_settings_are_refused_with_what_was_expected(changed: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {
        "id": "a",
        "election_ticks": 10,
        "heartbeat_ticks": 1,
    }
    with pytest.raises(ValueError, match=message):
        CoreConfig(**(settings | changed))  # type: ignore[arg-type]


def test_the_same_calls_give_the_same_readys() -> None:
    def life() -> list[str]:
        cluster = Cluster(5, seed=11, drop=0.05)
        for number in range(40):
            cluster.run(50)
            leader = cluster.leader()
            if leader is not None:
                cluster.propose(leader, b"%d" % number)
        return [f"{at} {name} {event}" for at, name, event in cluster.events] + [cluster.describe()]

    assert life() == life()


def test_role_changes_and_elections_are_told_as_events() -> None:
    raft = make()
    types = [event.type for event in lead(raft).events]
    assert types == ["RoleChanged", "LeaderElected"]
    raft.step(append(5, (0, 0)))
    assert [(event.type, event.role, event.leader) for event in sync(raft).events] == [
        ("RoleChanged", "follower", None),
        ("LeaderKnown", None, "b"),
    ]


def test_progress_is_known_to_leaders_only() -> None:
    raft = make()
    assert not raft.progress
    lead(raft)
    assert set(raft.progress) == set("bcde")
    raft.step(append(5, (0, 0)))
    assert not raft.progress


META = SnapshotMeta(7, 2, Configuration(("a",), ("a", "b"), ("c#9",), {"a": Address("h", 1, 2, 3)}), 9, 77)

MESSAGES: list[Message] = [
    VoteRequest("b", "a", 3, 7, 2, True),
    VoteResponse("b", "a", 3, False, True),
    Append("b", "a", 3, 6, 2, 5, [Entry(7, 3, b""), Entry(8, 3, b"\x00\xff", 1)]),
    AppendResponse("b", "a", 3, 8, True, 4, 1),
    Heartbeat("b", "a", 3, 5, 12),
    HeartbeatResponse("b", "a", 3, 12),
    TimeoutNow("b", "a", 3),
    InstallSnapshot("b", "a", 3, META, 0, b"\x00\xff"),
    SnapshotResponse("b", "a", 3, 7, 2, True),
    ReadIndexRequest("b", "a", 3, 1 << 61),
    ReadIndexResponse("b", "a", 3, 1 << 61, 8),
]


def test_messages_survive_the_wire() -> None:
    assert decode(encode(MESSAGES)) == MESSAGES
    assert decode(encode([])) == []


@pytest.mark.parametrize("wire", [b"", b"\xc1", b"\x91\x92\x63\x01", encode(MESSAGES)[:-1], b"\x81\x01\x02"])
def test_garbage_on_the_wire_is_one_kind_of_error(wire: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(wire)


def test_random_bytes_never_escape_as_another_error() -> None:
    rng = random.Random(5)
    wire = encode(MESSAGES)
    for _ in range(3000):
        broken = bytearray(wire)
        for _ in range(rng.randrange(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            messages = decode(bytes(broken))
        except MalformedMessage:
            continue
        for message in messages:
            raft = make(log=(1, 1, 2), term=3)
            try:
                raft.step(message)
            except (MalformedMessage, BadState):
                continue
            while raft.has_ready():
                raft.ready()


def test_a_vote_request_leaves_the_voters_leader_alone_in_the_same_term() -> None:
    raft = make()
    raft.step(append(1, (0, 0)))
    raft.step(vote_request(1, sender="c"))
    assert raft.leader == "b"
