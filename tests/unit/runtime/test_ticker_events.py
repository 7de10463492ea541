"""Ticks after a stall, and events for those who come late."""

import pytest

from faultlab.runtime.events import EventRing
from faultlab.runtime.ticker import Ticker


def make_ticker(max_catch_up: int = 5) -> Ticker:
    return Ticker(0.010, max_catch_up, lambda _count: None)


def test_a_tick_comes_for_each_interval_even_when_the_loop_is_a_little_late() -> None:
    ticker = make_ticker()
    given = sum(ticker.due(now_ms / 1000) for now_ms in range(0, 1001, 7))
    assert given in (100, 101)
    assert ticker.forgotten == 0


def test_a_long_stall_gives_at_most_the_catch_up_and_is_then_forgotten() -> None:
    ticker = make_ticker(max_catch_up=5)
    assert ticker.due(0.0) == 1
    assert ticker.due(10.0) == 5
    assert ticker.forgotten == 995
    assert ticker.due(10.005) == 0
    assert ticker.due(10.011) == 1


def test_a_ticker_that_could_never_tick_is_refused() -> None:
    with pytest.raises(ValueError, match="tick_s"):
        Ticker(0.0, 1, lambda _count: None)


def test_events_after_an_id_are_those_that_came_later_oldest_first() -> None:
    ring: EventRing[str] = EventRing(capacity=100)
    for name in "abcdef":
        ring.add(name)
    assert ring.after(0, 3) == [(1, "a"), (2, "b"), (3, "c")]
    assert ring.after(4, 10) == [(5, "e"), (6, "f")]
    assert ring.after(6, 10) == ring.after(99, 10) == []


def test_a_full_ring_drops_the_oldest_and_keeps_counting() -> None:
    ring: EventRing[int] = EventRing(capacity=3)
    for number in range(1, 11):
        ring.add(number)
    assert ring.after(0, 10) == [(8, 8), (9, 9), (10, 10)]
    assert ring.after(8, 1) == [(9, 9)]
    assert list(ring) == [8, 9, 10]


async def test_every_watcher_is_woken_by_an_event_and_leaves_nothing_behind() -> None:
    ring: EventRing[int] = EventRing()
    with ring.watch() as first, ring.watch() as second:
        ring.add(1)
        assert first.is_set()
        assert second.is_set()
    assert not ring._changed
