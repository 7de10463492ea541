"""Histories made up by a simulated store that is linearizable by construction, for tests and benchmarks.

Each operation takes effect at one moment between its invocation and its completion. Everything follows
from the seed. Breaking such a history on purpose is the tests' business.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faultlab.history.events import Event

Apply = Callable[[Any, str, Any], tuple[Any, Any, bool]]
"""(state, f, argument) -> state after, answer, whether it happened (else it is a `fail`)."""


def register(state: Any, f: str, argument: Any) -> tuple[Any, Any, bool]:
    """A register with read, write and cas, null at first."""
    if f == "read":
        return state, state, True
    if f == "write":
        return argument, argument, True
    return (argument[1], argument, True) if state == argument[0] else (state, argument, False)


def string(state: Any, f: str, argument: Any) -> tuple[Any, Any, bool]:
    """A string with get, put and append, empty at first."""
    state = state or ""
    if f == "get":
        return state, state, True
    return (argument if f == "put" else state + argument), argument, True


def counter(state: Any, f: str, argument: Any) -> tuple[Any, Any, bool]:
    """A key of the Raft KV with get, set, incr and del."""
    if f == "get":
        return state, state, True
    if f == "set":
        return str(argument), "OK", True
    if f == "del":
        return None, int(state is not None), True
    after = int(state or "0") + 1
    return str(after), after, True


@dataclass(frozen=True)
class Workload:
    """How a made-up history looks. Times are simulated nanoseconds."""

    operations: int = 1000
    processes: int = 20
    keys: int = 10
    hot: float = 0.0
    """Share of all operations that go to the key `k0`, beside its part of the rest."""
    info: float = 0.01
    """Share of operations whose completion nobody saw; half of them never take effect."""
    weights: dict[str, float] = field(default_factory=lambda: {"read": 50, "write": 35, "cas": 15})
    values: int | None = None
    """Written values are drawn from so many; None: each is written once."""
    apply: Apply = register
    duration_ns: int = 1_000_000
    """The mean time from invocation to completion."""
    pause_ns: int = 200_000
    """The mean time between a process's operations."""


def generate(workload: Workload, seed: int) -> list[Event]:
    """The events, by time. The last operations may stay open."""
    return _Simulation(workload, random.Random(seed)).run()


class _Simulation:
    def __init__(self, workload: Workload, rng: random.Random) -> None:
        self._workload = workload
        self._rng = rng
        self._store: dict[str, Any] = {}
        self._written = 0
        self._events: list[Event] = []
        self._agenda: list[tuple[int, int, Callable[[int], None]]] = []
        self._sequence = 0
        self._left = workload.operations
        self._next_process = workload.processes

    def run(self) -> list[Event]:
        for process in range(self._workload.processes):
            self._at(self._pause(), lambda now, process=process: self._invoke(now, process))  # type: ignore[misc]
        while self._agenda:
            now, _, action = heapq.heappop(self._agenda)
            action(now)
        return self._events

    def _at(self, when: int, action: Callable[[int], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._agenda, (when, self._sequence, action))

    def _pause(self) -> int:
        return int(self._rng.expovariate(1 / max(1, self._workload.pause_ns)))

    def _argument(self, f: str, key: str) -> Any:
        if f in ("read", "get", "incr", "del"):
            return None
        if f == "cas":
            return [self._store.get(key), self._value()]
        if f == "append":
            return f"{self._value()},"
        return self._value()

    def _value(self) -> int | str:
        self._written += 1
        limit = self._workload.values
        number = self._written if limit is None else self._rng.randrange(limit)
        return str(number) if self._workload.apply is string else number

    def _invoke(self, now: int, process: int) -> None:
        if self._left <= 0:
            return
        self._left -= 1
        workload, rng = self._workload, self._rng
        key = "k0" if rng.random() < workload.hot else f"k{rng.randrange(workload.keys)}"
        f = rng.choices(list(workload.weights), list(workload.weights.values()))[0]
        argument = self._argument(f, key)
        self._events.append(Event(process, "invoke", f, key, argument, now))
        end = now + 1 + int(rng.expovariate(1 / workload.duration_ns))
        lost = rng.random() < workload.info
        moment = rng.randint(now, end)
        if lost:
            moment += rng.choice((0, 20 * workload.duration_ns))
        if not lost or rng.random() < 0.5:
            self._at(moment, lambda _: self._effect(process, f, key, argument, None if lost else end))
        if lost:
            self._at(end, lambda when: self._lose(when, process, f, key, argument))

    def _effect(self, process: int, f: str, key: str, argument: Any, end: int | None) -> None:
        state, answer, happened = self._workload.apply(self._store.get(key), f, argument)
        self._store[key] = state
        if end is not None:
            outcome = Event(process, "ok" if happened else "fail", f, key, answer, end)
            self._at(end, lambda when: self._complete(when, process, outcome))

    def _complete(self, now: int, process: int, outcome: Event) -> None:
        self._events.append(outcome)
        self._at(now + self._pause(), lambda when: self._invoke(when, process))

    def _lose(self, now: int, process: int, f: str, key: str, argument: Any) -> None:
        self._events.append(Event(process, "info", f, key, argument, now, error="timeout"))
        fresh = self._next_process
        self._next_process += 1
        self._at(now + self._pause(), lambda when: self._invoke(when, fresh))
