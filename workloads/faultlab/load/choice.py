"""What the next operation is: its kind by the mix, its key by the distribution, its value unique."""

import random
from itertools import accumulate
from typing import Literal, NamedTuple

from faultlab.contract.load import Keys, Mix

Kind = Literal["read", "write", "cas"]


class Operation(NamedTuple):
    """One operation as it will be offered."""

    f: Kind
    key: str
    value: str | list[str] | None
    """None for a read, the new value for a write, `[expected, new]` for a cas."""

    def command(self) -> tuple[str, ...]:
        """The one RESP command that carries it."""
        if self.f == "read":
            return ("GET", self.key)
        if self.f == "write":
            return ("SET", self.key, str(self.value))
        assert isinstance(self.value, list)
        expected, new = self.value
        return ("CAS", self.key, expected, new)


class Chooser:
    """Draws operations from one seeded generator; values never repeat within a run.

    A cas expects the value that this process saw last for the key, which makes many of them
    succeed; where nothing was seen yet, a write is offered in its place.
    """

    def __init__(self, mix: Mix, keys: Keys, *, seed: int, worker: int, prefix: str = "") -> None:
        self._random = random.Random(seed * 1_000_003 + worker)
        self._kinds: tuple[Kind, ...] = ("read", "write", "cas")
        self._kind_weights = list(accumulate((mix.read, mix.write, mix.cas)))
        self.keys = [f"{prefix}k{number}" for number in range(keys.count)]
        self._key_weights = list(accumulate(_weight(keys, rank) for rank in range(keys.count)))
        self._last_seen: dict[str, str] = {}
        self._worker = worker
        self._written = 0

    def next(self) -> Operation:
        """The next operation. Deterministic in the seed and in what `saw` was told."""
        kind = self._random.choices(self._kinds, cum_weights=self._kind_weights)[0]
        key = self._random.choices(self.keys, cum_weights=self._key_weights)[0]
        if kind == "read":
            return Operation("read", key, None)
        self._written += 1
        value = f"{self._worker}-{self._written}"
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


def _weight(keys: Keys, rank: int) -> float:
    """Zipf's law: the key of rank r is chosen in proportion to 1 / (r + 1) ** exponent."""
    return 1.0 if keys.distribution == "uniform" else float((rank + 1) ** -keys.exponent)
