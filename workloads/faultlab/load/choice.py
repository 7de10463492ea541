"""What the next operation is: its kind by the mix, its key by the distribution, its value unique."""

import random
from collections import Counter
from itertools import accumulate
from typing import Literal, NamedTuple

from faultlab.contract.load import Keys, Mix

Kind = Literal["read", "write", "cas", "append", "incr"]
Type = Literal["register", "list", "counter"]

ANSWERED_BY_VALUE: tuple[Kind, ...] = ("read", "incr")
"""Kinds whose answer is more than a yes."""

LIST_LENGTH = 64
"""Appends that a process offers to one list before it goes on to the next, so that reads stay short."""

_TYPES: dict[Kind, Type] = {"write": "register", "cas": "register", "append": "list", "incr": "counter"}


class Operation(NamedTuple):
    """One operation as it will be offered."""

    f: Kind
    key: str
    value: str | list[str] | None
    """None for a read or an incr, the new value for a write or an append, `[expected, new]` for a cas."""
    type: Type = "register"
    """Of the key."""

    def command(self) -> tuple[str, ...]:
        """The one RESP command that carries it."""
        if self.f == "read":
            return ("LRANGE", self.key, "0", "-1") if self.type == "list" else ("GET", self.key)
        if self.f == "incr":
            return ("INCR", self.key)
        if isinstance(self.value, list):
            return ("CAS", self.key, *self.value)
        return ("SET" if self.f == "write" else "RPUSH", self.key, str(self.value))


class Chooser:
    """Draws operations from one seeded generator; values never repeat within a run.

    A cas expects the value that this process saw last for the key, which makes many of them
    succeed; where nothing was seen yet, a write is offered in its place. What is appended ends with a
    comma, so that a list's values, written one after the other, can be told apart.
    """

    def __init__(self, mix: Mix, keys: Keys, *, seed: int, worker: int, prefix: str = "") -> None:
        self._random = random.Random(seed * 1_000_003 + worker)
        self._kinds: tuple[Kind, ...] = ("read", "write", "cas", "append", "incr")
        self._kind_weights = list(accumulate((mix.read, mix.write, mix.cas, mix.append, mix.incr)))
        weights: dict[Type, int] = {
            "register": mix.write + mix.cas,
            "list": mix.append,
            "counter": mix.incr,
        }
        self._types = [name for name, weight in weights.items() if weight] or ["register"]
        self._type_weights = [weights[name] or 1 for name in self._types]
        self._count = keys.count
        self._key_weights = list(accumulate(_weight(keys, rank) for rank in range(keys.count)))
        self._prefix = prefix
        self._appended: Counter[int] = Counter()
        self._last_seen: dict[str, str] = {}
        self._worker = worker
        self._written = 0

    def next(self) -> Operation:
        """The next operation. Deterministic in the seed and in what `saw` was told."""
        kind = self._random.choices(self._kinds, cum_weights=self._kind_weights)[0]
        number = self._random.choices(range(self._count), cum_weights=self._key_weights)[0]
        if kind == "read":
            drawn = self._types[0] if len(self._types) == 1 else self._draw_type()
            return Operation("read", self._key(drawn, number), None, drawn)
        if kind == "incr":
            return Operation("incr", self._key("counter", number), None, "counter")
        self._written += 1
        value = f"{self._worker}-{self._written}"
        if kind == "append":
            key = self._key("list", number)
            self._appended[number] += 1
            return Operation("append", key, f"{value},", "list")
        key = self._key("register", number)
        expected = self._last_seen.get(key)
        if kind == "write" or expected is None:
            return Operation("write", key, value)
        return Operation("cas", key, [expected, value])

    def saw(self, key: str, value: str | None) -> None:
        """Some client learned that `key` held `value`."""
        if value is None:
            self._last_seen.pop(key, None)
        else:
            self._last_seen[key] = value

    def reads(self) -> list[Operation]:
        """A read of each key that was offered or may have been, by other processes too."""
        keys: list[tuple[Type, str]] = []
        for name in self._types:
            for number in range(self._count):
                if name != "list":
                    keys.append((name, self._key(name, number)))
                    continue
                reached = self._appended[number] // LIST_LENGTH
                keys += [(name, self._list_key(number, part)) for part in range(reached + 2)]
        return [Operation("read", key, None, name) for name, key in keys]

    def _draw_type(self) -> Type:
        return self._random.choices(self._types, self._type_weights)[0]

    def _key(self, name: Type, number: int) -> str:
        if name == "list":
            return self._list_key(number, self._appended[number] // LIST_LENGTH)
        return f"{self._prefix}{'k' if name == 'register' else 'c'}{number}"

    def _list_key(self, number: int, part: int) -> str:
        return f"{self._prefix}l{number}.{part}"


def _weight(keys: Keys, rank: int) -> float:
    """Zipf's law: the key of rank r is chosen in proportion to 1 / (r + 1) ** exponent."""
    return 1.0 if keys.distribution == "uniform" else float((rank + 1) ** -keys.exponent)
