"""The leader lock: what is decided from a record, and two operators on one Lease."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultlab_operator.core import Cache
from faultlab_operator.core.leader import DURATION_S, LONGEST_S, MARGIN_S, Election, Record
from faultlab_operator.errors import LeadershipLost
from faultlab_operator.kube.lease import GIVE_UP_S, LEASE, LeaderLock

from .lab import NAMESPACE, client, resource_of, serving

WALL = "2030-01-01T00:00:00.000000Z"


def record(holder: str, version: str = "1", duration_s: int = DURATION_S, renewed: str = WALL) -> Record:
    return Record(holder, duration_s, WALL, renewed, 3, version)


def test_no_lease_and_a_released_one_may_be_taken_at_once() -> None:
    for found in (None, record("")):
        election = Election("me")
        election.see(found, now=100.0)
        assert election.pause(100.0) == 0
        assert election.claim(WALL).holder == "me"


def test_anothers_lease_is_waited_for_from_when_it_was_seen_whatever_its_times_say() -> None:
    election = Election("me")
    election.see(record("other", renewed="1970-01-01T00:00:00Z"), now=100.0)
    assert election.pause(100.0) == DURATION_S
    election.see(record("other", renewed="1970-01-01T00:00:00Z"), now=104.0)
    assert election.pause(104.0) == DURATION_S - 4
    election.see(record("other", version="2", renewed="1970-01-01T00:00:00Z"), now=104.5)
    assert election.pause(104.5) == DURATION_S
    assert election.pause(104.5 + DURATION_S) == 0


def test_a_records_own_longer_duration_is_honoured_within_bounds() -> None:
    election = Election("me")
    election.see(record("other", duration_s=15), now=0.0)
    assert election.pause(0.0) == 15
    election.see(record("other", duration_s=10**9), now=0.0)
    assert election.pause(0.0) == LONGEST_S


def test_the_same_pods_next_container_need_not_wait_for_itself() -> None:
    election = Election("me")
    election.see(record("me"), now=0.0)
    assert election.pause(0.0) == 0
    assert election.claim("now").transitions == 3


def test_a_takeover_is_counted() -> None:
    election = Election("me")
    election.see(record("other"), now=0.0)
    claimed = election.claim(WALL)
    assert (claimed.transitions, claimed.version) == (4, "1")


def test_holding_counts_from_when_the_write_was_sent() -> None:
    election = Election("me")
    election.wrote(record("me"), sent_at=10.0, now=12.0)
    assert election.held(10.0 + DURATION_S - MARGIN_S - 0.01)
    assert not election.held(10.0 + DURATION_S - MARGIN_S)


def test_seeing_another_holder_ends_it_at_once() -> None:
    election = Election("me")
    election.wrote(record("me"), sent_at=10.0, now=10.0)
    election.see(record("other", "2"), now=10.5)
    assert not election.held(10.5)
    assert election.lost()


def test_only_the_holder_can_resign() -> None:
    election = Election("me")
    election.see(record("other"), now=0.0)
    assert election.resignation(WALL) is None
    election.wrote(record("me", "2"), sent_at=0.0, now=0.0)
    resigned = election.resignation(WALL)
    assert resigned is not None
    assert (resigned.holder, resigned.version) == ("", "2")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_never_two_hold_it_whatever_is_delayed_or_lost(data: st.DataObject) -> None:
    """Two processes with clocks of different origin on one versioned record, in steps of 0.5 s; a write
    arrives up to 2 s after it was sent, or never, and its answer may be lost."""
    stored: list[Record | None] = [None]
    parts = [(Election("a"), 1000.0), (Election("b"), -77.0)]
    flying: list[tuple[float, int, float, Record]] = []
    now = 0.0
    for _ in range(60):
        now += 0.5
        for arrival in [each for each in flying if each[0] <= now]:
            flying.remove(arrival)
            _, who, sent_at, written = arrival
            current = "" if stored[0] is None else stored[0].version
            if written.version == current:
                stored[0] = Record(
                    written.holder, written.duration_s, WALL, str(now), 0, str(int(current or 0) + 1)
                )
                if data.draw(st.booleans(), label="answer arrives"):
                    election, origin = parts[who]
                    election.wrote(stored[0], sent_at + origin, now + origin)
        for who, (election, origin) in enumerate(parts):
            if not data.draw(st.booleans(), label=f"{election.identity} runs"):
                continue
            election.see(stored[0], now + origin)
            if election.pause(now + origin) == 0:
                delay = data.draw(st.sampled_from([0.0, 0.0, 0.5, 2.0]), label="delay")
                flying.append((now + delay, who, now, election.claim(WALL)))
        assert sum(election.held(now + origin) for election, origin in parts) <= 1


class TurnedClock:
    """Both clocks go when the test says so."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)


@pytest.fixture
async def locks() -> AsyncIterator[Any]:
    """Makes locks on one API server; gives its registry too."""
    async with AsyncExitStack() as stack:
        registry, address = await stack.enter_async_context(serving())

        async def make(identity: str, clock: Any) -> LeaderLock:
            kube = await stack.enter_async_context(client(address, Cache()))
            return LeaderLock(kube, clock, NAMESPACE, identity)

        yield registry, make


def lease(registry: Any) -> dict[str, Any]:
    spec: dict[str, Any] = registry.get(resource_of("Lease"), NAMESPACE, LEASE)["spec"]
    return spec


async def test_the_second_waits_until_the_first_releases(
    locks: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    registry, make = locks
    clock = TurnedClock()
    first, second = await make("first", clock), await make("second", clock)
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(0.1)
    assert first.held
    assert not second.held
    assert "first holds it" in caplog.text
    await first.release()
    assert not first.held
    await asyncio.wait_for(waiting, 5)
    assert lease(registry)["holderIdentity"] == "second"
    assert lease(registry)["leaseTransitions"] == 1


async def test_two_at_once_and_one_has_it(locks: Any) -> None:
    _, make = locks
    clock = TurnedClock()
    both = [await make("first", clock), await make("second", clock)]
    tasks = [asyncio.create_task(lock.acquire()) for lock in both]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.1)
    assert [lock.held for lock in both].count(True) == 1
    for task in tasks:
        task.cancel()


async def test_a_silent_holders_lock_is_had_after_its_duration(locks: Any) -> None:
    registry, make = locks
    clock = TurnedClock()
    dead, successor = await make("dead", clock), await make("successor", clock)
    await dead.acquire()
    waiting = asyncio.create_task(successor.acquire())
    await asyncio.sleep(0.1)
    clock.at += DURATION_S
    await asyncio.wait_for(waiting, 5)
    assert not dead.held
    assert lease(registry)["holderIdentity"] == "successor"


async def test_renewals_go_on_and_a_deleted_lease_comes_back(locks: Any, until: Any) -> None:
    registry, make = locks
    lock = await make("only", TurnedClock())
    await lock.acquire()
    keeping = asyncio.create_task(lock.keep())
    registry.delete(resource_of("Lease"), NAMESPACE, LEASE)
    await until(lambda: registry.list(resource_of("Lease"), NAMESPACE), within_s=5)
    assert lock.held
    assert not keeping.done()
    keeping.cancel()


async def test_whoever_cannot_renew_stops_before_another_may_begin_and_ends_after_a_while() -> None:
    clock = TurnedClock()
    async with AsyncExitStack() as server:
        _, address = await server.enter_async_context(serving())
        async with client(address, Cache()) as kube:
            lock = LeaderLock(kube, clock, NAMESPACE, "cut off")
            await lock.acquire()
            await server.aclose()
            keeping = asyncio.create_task(lock.keep())
            clock.at += DURATION_S - MARGIN_S
            assert not lock.held
            await asyncio.sleep(1.5)
            assert not keeping.done(), "it may still be had back"
            clock.at += GIVE_UP_S + 0.1
            with pytest.raises(LeadershipLost, match="could not be renewed"):
                await asyncio.wait_for(keeping, 5)


async def test_a_late_renewal_is_taken_if_nobody_else_has_written_meanwhile(locks: Any, until: Any) -> None:
    _, make = locks
    clock = TurnedClock()
    lock = await make("slow", clock)
    await lock.acquire()
    clock.at += 2 * DURATION_S
    assert not lock.held
    keeping = asyncio.create_task(lock.keep())
    await until(lambda: lock.held, within_s=5)
    keeping.cancel()


async def test_a_lock_that_another_had_meanwhile_is_not_taken_back(locks: Any) -> None:
    _, make = locks
    clock = TurnedClock()
    late, quick = await make("late", clock), await make("quick", clock)
    await late.acquire()
    waiting = asyncio.create_task(quick.acquire())
    await asyncio.sleep(0.1)
    clock.at += DURATION_S
    await asyncio.wait_for(waiting, 5)
    await quick.release()
    with pytest.raises(LeadershipLost, match="has gone to nobody"):
        await asyncio.wait_for(late.keep(), 5)


async def test_whoever_sees_another_holder_ends_at_once(locks: Any) -> None:
    registry, make = locks
    lock = await make("old", TurnedClock())
    await lock.acquire()
    registry.patch(resource_of("Lease"), NAMESPACE, LEASE, {"spec": {"holderIdentity": "new"}})
    with pytest.raises(LeadershipLost, match="has gone to new"):
        await asyncio.wait_for(lock.keep(), 5)


async def test_an_api_server_that_is_away_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with client("http://127.77.0.250:1", Cache()) as kube:
        lock = LeaderLock(kube, TurnedClock(), NAMESPACE, "early")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lock.acquire(), 0.3)
    assert "cannot be had yet" in caplog.text


async def test_a_client_that_may_not_write_sends_nothing() -> None:
    async with serving() as (registry, address), client(address, Cache()) as kube:
        kube._may_write = lambda: False
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": NAMESPACE}}
        with pytest.raises(LeadershipLost, match="does not lead"):
            await kube.create(obj)
        assert not registry.list("configmaps", NAMESPACE)
        assert await kube.list("ConfigMap", NAMESPACE) == []
