"""Checkpoints by which members can be compared, however fast the log grows."""

from faultlab.contract.member import MemberEvent
from faultlab.raft.kv import KeyValueStore
from faultlab.raft.messages import Entry
from faultlab.raft.ready import CoreEvent
from faultlab.raft.watch import MIN_STRIDE, Watch


class FakeClock:
    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ms(self) -> int:
        return 0

    def wall_time(self) -> str:
        return "2026-01-01T00:00:00.000000Z"


def apply_at_rate(entries_per_second: float, count: int) -> list[MemberEvent]:
    clock = FakeClock()
    watch, store = Watch("demo-0", clock, 0.01, "a"), KeyValueStore()
    for index in range(1, count + 1):
        clock.now_ns += int(1e9 / entries_per_second)
        store.apply(Entry(index, 1, b""))
        if index % watch.stride == 0:
            watch.checkpoint(store)
    return list(watch.events)


def test_a_slow_log_is_told_at_every_multiple_of_64() -> None:
    assert [event.index for event in apply_at_rate(400, 640)] == list(range(64, 641, MIN_STRIDE))


def test_a_fast_log_is_told_about_20_times_a_second_at_most() -> None:
    events = apply_at_rate(20_000, 100_000)
    assert 5 * 5 <= len(events) <= 5 * 20 + 10


def test_members_of_different_speed_share_checkpoints_with_equal_digests() -> None:
    slow = {event.index: event.digest for event in apply_at_rate(500, 50_000)}
    fast = {event.index: event.digest for event in apply_at_rate(50_000, 50_000)}
    shared = slow.keys() & fast.keys()
    assert len(shared) >= 10
    assert all(slow[index] == fast[index] for index in shared)


def test_a_cores_event_is_passed_on_whole_and_numbered() -> None:
    watch = Watch("demo-0", FakeClock(), 0.01, "a")
    watch.started(3, "log of 0 entries")
    watch.core(CoreEvent(type="InvariantViolated", term=4, index=9, detail="log matching"))
    started, violated = watch.events
    assert (started.id, started.type, started.term) == (1, "Started", 3)
    assert (violated.id, violated.type, violated.index, violated.detail) == (
        2,
        "InvariantViolated",
        9,
        "log matching",
    )
    assert started.incarnation == violated.incarnation == "a"


def test_how_long_a_leader_was_not_heard_is_told_in_milliseconds() -> None:
    watch = Watch("demo-0", FakeClock(), 0.01, "a")
    watch.core(CoreEvent(type="LeaderLost", term=3, leader="demo-1", detail="demo-1 was not heard", ticks=64))
    (lost,) = watch.events
    assert lost.detail == "demo-1 was not heard for 640 ms"
