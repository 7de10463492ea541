"""What windows rest on: no cut turns a history that has an order into one that has none.

On histories of a simulated linearizable store, so that the whole certainly has an order.
"""

import math
import random
from dataclasses import replace
from typing import Any

import pytest

from faultlab.checker import MODELS
from faultlab.checker.partition import partition
from faultlab.checker.window import since, until
from faultlab.history import Operation, pair_events
from faultlab.history.synthetic import Apply, Workload, counter, generate, register, string


def listed(state: Any, f: str, argument: Any) -> tuple[Any, Any, bool]:
    """A list as the lab's load records it."""
    return string(state, "get" if f == "read" else f, argument)


def counted(state: Any, f: str, argument: Any) -> tuple[Any, Any, bool]:
    """A counter as the lab's load records it."""
    return counter(state, "get" if f == "read" else f, argument)


BASE = Workload(operations=40, processes=5, keys=1, info=0.15)
KINDS: dict[str, tuple[str, Apply, int | None, dict[str, float]]] = {
    "each value once": ("cas-register", register, None, {"read": 50, "write": 30, "cas": 20}),
    "few values": ("cas-register", register, 3, {"read": 40, "write": 30, "cas": 30}),
    "strings": ("append", string, None, {"get": 45, "append": 40, "put": 15}),
    "strings of few letters": ("append", string, 2, {"get": 45, "append": 40, "put": 15}),
    "commands": ("kv", counter, None, {"get": 40, "set": 30, "incr": 20, "del": 10}),
    "commands with few values": ("kv", counter, 3, {"get": 30, "set": 20, "incr": 30, "del": 20}),
    "lists": ("mixed", listed, None, {"read": 45, "append": 55}),
    "counters": ("mixed", counted, None, {"read": 45, "incr": 55}),
    "register commands": ("kv", counter, 3, {"get": 50, "set": 50}),
}


def valid_part(kind: str, seed: int) -> tuple[str, list[Operation]]:
    model, apply, values, weights = KINDS[kind]
    events = generate(replace(BASE, apply=apply, values=values, weights=weights), seed)
    ((_, part),) = partition(pair_events(events), MODELS[model])
    return model, part


@pytest.mark.parametrize("kind", KINDS)
def test_every_prefix_keeps_its_order(kind: str) -> None:
    for seed in range(10):
        model, part = valid_part(kind, seed)
        for end in sorted(operation.end for operation in part if operation.end is not None):
            found = MODELS[model].search(until(MODELS[model], part, end)).run(100_000, math.inf)
            assert found is True, f"seed {seed}, until {end}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_tail_keeps_an_order_from_some_state(kind: str) -> None:
    for seed in range(10):
        model, part = valid_part(kind, seed)
        for end in sorted(operation.end for operation in part if operation.end is not None):
            searches = MODELS[model].searches_from_any(since(MODELS[model], part, end))
            assert searches is not None
            found = any(search.run(100_000, math.inf) for search in searches)
            assert found, f"seed {seed}, since {end}"


@pytest.mark.parametrize("kind", KINDS)
def test_leaving_out_what_nobody_left_sees_keeps_the_order(kind: str) -> None:
    for seed in range(30):
        model, part = valid_part(kind, seed)
        rng = random.Random(seed)
        for _ in range(10):
            kept = {place for place in range(len(part)) if rng.random() < 0.3}
            kept |= MODELS[model].unseen(part, kept)
            rest = [part[place] for place in sorted(kept)]
            assert MODELS[model].search(rest).run(100_000, math.inf) is True, f"seed {seed}, {sorted(kept)}"
