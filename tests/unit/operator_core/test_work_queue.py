"""When keys are looked at."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from faultlab_operator.core import Key, SystemClock, WorkQueue
from faultlab_operator.core.queue import BACKOFF_S, MIN_INTERVAL_S

A, B = Key("RaftCluster", "ns", "a"), Key("RaftCluster", "ns", "b")


class Recording:
    """A reconciler that does what the test says and records it."""

    def __init__(self, takes_s: float = 0.0, again_s: float | None = None) -> None:
        self.takes_s, self.again_s = takes_s, again_s
        self.looks: Counter[Key] = Counter()
        self.at: list[float] = []
        self.running: Counter[Key] = Counter()
        self.most_at_once = 0
        self.error: Exception | None = None

    async def reconcile(self, key: Key) -> float | None:
        self.looks[key] += 1
        self.at.append(asyncio.get_running_loop().time())
        self.running[key] += 1
        self.most_at_once = max(self.most_at_once, self.running[key])
        try:
            await asyncio.sleep(self.takes_s)
            if self.error is not None:
                raise self.error
            return self.again_s
        finally:
            self.running[key] -= 1


@asynccontextmanager
async def running(reconciler: Recording) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(SystemClock())
    task = asyncio.create_task(queue.run({"RaftCluster": reconciler}))
    yield queue
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not any(reconciler.running.values())


async def test_many_wakes_of_a_key_are_one_look(until: Any) -> None:
    reconciler = Recording()
    async with running(reconciler) as queue:
        for _ in range(100):
            queue.wake(A)
        await until(lambda: reconciler.looks[A])
        await asyncio.sleep(2 * MIN_INTERVAL_S)
    assert reconciler.looks[A] == 1


async def test_a_key_is_never_looked_at_twice_at_once_and_no_wake_is_lost(until: Any) -> None:
    reconciler = Recording(takes_s=0.05)
    async with running(reconciler) as queue:
        queue.wake(A)
        await until(lambda: reconciler.running[A])
        queue.wake(A)
        queue.wake(A)
        await until(lambda: reconciler.looks[A] == 2)
        await until(lambda: not reconciler.running[A])
    assert reconciler.most_at_once == 1
    assert reconciler.looks[A] == 2


async def test_a_key_that_is_woken_all_the_time_is_looked_at_at_a_bounded_rate() -> None:
    reconciler = Recording()
    async with running(reconciler) as queue:
        for _ in range(100):
            queue.wake(A)
            await asyncio.sleep(0.003)
    pauses = [later - sooner for sooner, later in zip(reconciler.at, reconciler.at[1:], strict=False)]
    assert reconciler.looks[A] >= 3
    assert min(pauses) > MIN_INTERVAL_S * 0.9


async def test_a_key_is_looked_at_again_after_the_time_that_it_asked_for(until: Any) -> None:
    reconciler = Recording(again_s=0.1)
    async with running(reconciler) as queue:
        queue.wake(A)
        await until(lambda: reconciler.looks[A] == 3)
    assert reconciler.at[2] - reconciler.at[0] >= 0.19


async def test_a_wake_comes_before_a_later_look_that_was_planned(until: Any) -> None:
    reconciler = Recording(again_s=60)
    async with running(reconciler) as queue:
        queue.wake(A)
        await until(lambda: reconciler.looks[A] == 1)
        queue.wake(A)
        await until(lambda: reconciler.looks[A] == 2, within_s=1)


async def test_a_key_that_fails_is_tried_again_after_growing_pauses_and_holds_up_no_other(until: Any) -> None:
    reconciler = Recording()
    reconciler.error = OSError("no")
    async with running(reconciler) as queue:
        queue.wake(A)
        await until(lambda: reconciler.looks[A] == 3)
        pauses = [later - sooner for sooner, later in zip(reconciler.at, reconciler.at[1:], strict=False)]
        assert pauses[0] >= BACKOFF_S[0] * 0.95
        assert pauses[1] >= BACKOFF_S[1] * 0.95
        reconciler.error = None
        queue.wake(B)
        await until(lambda: reconciler.looks[B] == 1, within_s=0.5)


async def test_nothing_to_do_costs_nothing() -> None:
    reconciler = Recording()
    async with running(reconciler) as queue:
        starts = 0
        original = queue._start_due

        def counted(reconcilers: Any) -> float | None:
            nonlocal starts
            starts += 1
            return original(reconcilers)

        queue._start_due = counted  # type: ignore[method-assign]
        await asyncio.sleep(0.3)
    assert starts <= 1


async def test_keys_of_unknown_kinds_are_passed_over(until: Any) -> None:
    reconciler = Recording()
    async with running(reconciler) as queue:
        queue.wake(Key("Other", "ns", "x"))
        queue.wake(A)
        await until(lambda: reconciler.looks[A] == 1)
    assert reconciler.looks.total() == 1
