"""Values of histories as things that can be compared and counted: any JSON value, numbered."""

from collections.abc import Hashable
from typing import Any

import msgspec

_canonical = msgspec.json.Encoder(order="deterministic")


def freeze(value: Any) -> Hashable:
    """A hashable stand-in, equal exactly where the JSON values are: 1 is 1.0, but not true and not "1"."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return ("json", _canonical.encode(value))


class Values:
    """Numbers frozen values in order of appearance, null first: 1, 2, ... (0 is for the search)."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {None: 1}

    def number(self, value: Any) -> int:
        """The value's number; a new one where it is seen for the first time."""
        return self._numbers.setdefault(freeze(value), len(self._numbers) + 1)

    def __len__(self) -> int:
        return len(self._numbers)
