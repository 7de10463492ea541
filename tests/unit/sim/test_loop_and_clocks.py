"""Virtual time: what happens when, and what a machine's clocks say of it."""

import random

from faultlab.sim.clocks import MachineClock
from faultlab.sim.loop import MS, Loop
from faultlab.sim.streams import Streams


def test_things_happen_in_the_order_of_time_and_then_of_asking() -> None:
    loop, seen = Loop(), list[str]()
    loop.after(2 * MS, seen.append, "late")
    loop.after(1 * MS, seen.append, "first")
    loop.after(1 * MS, lambda: loop.after(0, seen.append, "asked for meanwhile"))
    loop.after(1 * MS, seen.append, "second")

    loop.run(3 * MS)

    assert seen == ["first", "second", "asked for meanwhile", "late"]
    assert loop.now == 3 * MS


def test_a_run_ends_right_behind_the_event_that_stops_it() -> None:
    loop, seen = Loop(), list[int]()

    def stop() -> None:
        loop.stopped = True

    loop.after(1, stop)
    loop.after(1, seen.append, 1)
    loop.run(10)

    assert seen == []
    assert loop.now == 1


def test_a_clock_never_runs_backwards_whatever_its_drift_and_jumps() -> None:
    loop, rng = Loop(), random.Random(7)
    clock = MachineClock(loop, 0.7, 5_000, 0)
    last = clock.monotonic_ns()
    for _ in range(200):
        loop.run(loop.now + rng.randrange(1000))
        if rng.random() < 0.3:
            clock.drift(rng.uniform(0.5, 1.5))
        if rng.random() < 0.3:
            clock.jump(rng.randrange(-(10**12), 10**12))
        assert clock.monotonic_ns() >= last
        last = clock.monotonic_ns()


def test_a_fast_clock_gains_what_its_rate_says_and_only_the_wall_clock_jumps() -> None:
    loop = Loop()
    clock = MachineClock(loop, 1.25, 0, 0)
    loop.run(1000 * MS)
    before_ms = clock.wall_ms()
    clock.jump(-60_000 * MS)

    assert clock.monotonic_ns() == 1250 * MS
    assert clock.world_ns(1250 * MS) == 1000 * MS
    assert clock.wall_ms() == before_ms - 60_000


def test_a_draw_more_in_one_stream_changes_no_other() -> None:
    one, other = Streams(5), Streams(5)
    one.network.random()

    assert one.disk.random() == other.disk.random()
    assert one.stream("plan").random() == other.stream("plan").random()
    assert one.network.random() != other.network.random()
