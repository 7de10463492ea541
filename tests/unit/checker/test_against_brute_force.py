"""The search against a checker that tries every order, on all small histories and on many random ones."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultlab.checker import check
from faultlab.history import Event, Operation, pair_events

BruteForce = Callable[[str, Sequence[Operation]], bool]
Choice = tuple[str, Any, Any, str]
"""f, value, result, outcome"""


def interval_patterns(count: int) -> Iterator[list[tuple[int, int]]]:
    """All ways in which operations, numbered by their starts, may overlap, as (start, end) of each."""

    def extend(slots: list[int], opened: int, open_now: list[int]) -> Iterator[list[int]]:
        if opened == count and not open_now:
            yield slots
            return
        if opened < count:
            yield from extend([*slots, opened], opened + 1, [*open_now, opened])
        for number in open_now:
            yield from extend([*slots, number], opened, [other for other in open_now if other != number])

    for slots in extend([], 0, []):
        yield [(slots.index(number), len(slots) - 1 - slots[::-1].index(number)) for number in range(count)]


def events_of(pattern: Sequence[tuple[int, int]], choices: Sequence[Choice]) -> list[Event]:
    timed = []
    for process, ((start, end), (f, value, result, outcome)) in enumerate(zip(pattern, choices, strict=True)):
        timed.append((start, Event(process, "invoke", f, "k", value, start)))
        if outcome == "ok":
            timed.append((end, Event(process, "ok", f, "k", result, end)))
        else:
            timed.append((end, Event(process, "info", f, "k", value, end)))
    return [event for _, event in sorted(timed, key=lambda item: item[0])]


READS: list[Choice] = [("read", None, value, "ok") for value in (None, 1, 2)]
WRITES: list[Choice] = [("write", value, value, outcome) for value in (1, 2) for outcome in ("ok", "info")]
SWAPS: list[Choice] = [
    ("cas", pair, pair, outcome) for pair in ([1, 2], [2, 1]) for outcome in ("ok", "info")
]


@pytest.mark.parametrize(
    ("count", "choices"),
    [
        (2, READS + WRITES + SWAPS),
        (3, READS + WRITES + SWAPS),
        (4, [READS[1], WRITES[0], WRITES[2], WRITES[3]]),
    ],
    ids=["two operations", "three operations", "four operations"],
)
def test_every_small_history_of_a_cas_register(
    count: int, choices: list[Choice], brute_force: BruteForce
) -> None:
    seen = {True: 0, False: 0}
    for pattern in interval_patterns(count):
        for chosen in itertools.product(choices, repeat=count):
            events = events_of(pattern, chosen)
            expected = brute_force("cas-register", pair_events(events))
            assert (check(events, "cas-register").result == "valid") is expected, events
            seen[expected] += 1
    assert min(seen.values()) > 50, "both verdicts must occur often, or this proves little"


Make = Callable[[random.Random], tuple[str, str | None, Any, Callable[[], Any]]]


def a_register(rng: random.Random) -> tuple[str, str | None, Any, Callable[[], Any]]:
    f = rng.choice(("read", "write", "cas"))
    if f == "read":
        return f, "k", None, lambda: rng.choice((None, 1, 2, 3))
    value = rng.randint(1, 3) if f == "write" else [rng.choice((None, 1, 2, 3)), rng.randint(1, 3)]
    return f, "k", value, lambda: value


def a_string(rng: random.Random) -> tuple[str, str | None, Any, Callable[[], Any]]:
    f = rng.choice(("get", "get", "append", "append", "put"))
    if f == "get":
        return f, "k", None, lambda: rng.choice((None, "", "a", "b", "ab", "ba", "aa", "aab"))
    return f, "k", rng.choice(("a", "b", "ab")), lambda: None


def a_mutex(rng: random.Random) -> tuple[str, str | None, Any, Callable[[], Any]]:
    return rng.choice(("acquire", "release")), None, None, lambda: None


def a_command(rng: random.Random) -> tuple[str, str | None, Any, Callable[[], Any]]:
    key, old = rng.choice("xxy"), (None, "1", "2")
    made = rng.choice(old[1:])
    option = rng.choice(("nx", "xx", "get"))
    return rng.choice(
        [
            ("get", key, None, lambda: rng.choice(old)),
            ("set", key, made, lambda: "OK"),
            (
                "set",
                key,
                {"value": made, option: True},
                lambda: rng.choice(old if option == "get" else ("OK", None)),
            ),
            ("cas", key, [rng.choice(old[1:]), made], lambda: rng.choice((1, 1, 0))),
            ("incr", key, None, lambda: rng.randint(1, 3)),
            ("del", key, None, lambda: rng.randint(0, 1)),
            ("exists", key, None, lambda: rng.randint(0, 1)),
            ("del", None, ["x", "y"], lambda: rng.randint(0, 2)),
            ("exists", None, ["x", "y"], lambda: rng.randint(0, 2)),
            ("mget", None, ["x", "y"], lambda: [rng.choice(old), rng.choice(old)]),
            ("mset", None, {"x": made}, lambda: "OK"),
            ("mset", None, {"x": made, "y": rng.choice(old[1:])}, lambda: "OK"),
        ]
    )


def one_key_of(make: Make) -> Make:
    def made(rng: random.Random) -> tuple[str, str | None, Any, Callable[[], Any]]:
        while (found := make(rng))[1] != "x":
            pass
        return found

    return made


def random_history(seed: int, make: Make) -> list[Event]:
    """Two to eight operations by up to four clients; a fifth end as info, some as fail, times often equal."""
    rng = random.Random(seed)
    clients = list(range(rng.randint(1, 4)))
    fresh, left, now = len(clients), rng.randint(2, 8), 0
    events: list[Event] = []
    waiting: dict[int, tuple[str, str | None, Any, Callable[[], Any]]] = {}
    while left or waiting:
        now += rng.choice((0, 1, 1))
        client = rng.choice(clients)
        if client in waiting:
            f, key, value, answer = waiting.pop(client)
            luck = rng.random()
            if luck < 0.05:
                events.append(Event(client, "fail", f, key, value, now))
            elif luck < 0.25:
                events.append(Event(client, "info", f, key, value, now))
                clients[clients.index(client)] = fresh
                fresh += 1
            else:
                events.append(Event(client, "ok", f, key, answer(), now))
        elif left:
            left -= 1
            waiting[client] = make(rng)
            events.append(Event(client, "invoke", *waiting[client][:3], now))
    return events


MAKERS: dict[str, tuple[str, Make]] = {
    "cas-register": ("cas-register", a_register),
    "append": ("append", a_string),
    "mutex": ("mutex", a_mutex),
    "kv": ("kv", a_command),
    "kv on one key": ("kv", one_key_of(a_command)),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_random_histories_and_their_windows(kind: str, brute_force: BruteForce) -> None:
    model, make = MAKERS[kind]
    for seed in range(700):
        events = random_history(seed, make)
        operations = pair_events(events)
        found = check(events, model)
        assert (found.result == "valid") is brute_force(model, operations), f"seed {seed}: {events}"
        if found.result == "invalid":
            assert not brute_force(model, found.window), f"seed {seed}: the window of {events} has an order"
            assert all(operation in operations for operation in found.window), f"seed {seed}"


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(min_value=10_000), kind=st.sampled_from(sorted(MAKERS)))
def test_whatever_the_seed(seed: int, kind: str, brute_force: BruteForce) -> None:
    model, make = MAKERS[kind]
    events = random_history(seed, make)
    assert (check(events, model).result == "valid") is brute_force(model, pair_events(events))


def naive_stale_reads(operations: Sequence[Operation], brute_force: BruteForce) -> bool:
    updates = [op for op in operations if op.f != "read"]
    offers = [
        (op.value if op.f == "write" else op.value[1], op.start) for op in updates if op.outcome != "fail"
    ]
    return brute_force("cas-register", updates) and all(
        any(value == read.result and start <= read.end for value, start in [(None, -1), *offers])
        for read in operations
        if read.f == "read" and read.outcome == "ok" and read.end is not None
    )


def test_stale_reads_are_asked_only_that_their_value_was_offered(brute_force: BruteForce) -> None:
    for seed in range(700):
        events = random_history(seed, a_register)
        expected = naive_stale_reads(pair_events(events), brute_force)
        assert (check(events, "stale-reads").result == "valid") is expected, f"seed {seed}: {events}"
