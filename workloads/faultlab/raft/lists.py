"""Lists as values: what RPUSH, LRANGE and LLEN do, as in Redis.

A list is grown in place unless a frozen copy of the store shares it; then it is copied first, once for
each freeze, so that freezing costs nothing for each list.
"""

from collections.abc import Sequence
from itertools import count
from typing import TypeAlias

import msgspec

from faultlab.runtime.resp.encoder import Result, error_line

MAX_LIST_BYTES = 64 * 1024 * 1024
"""The values of one list, each counted with ITEM_OVERHEAD_BYTES; RPUSH beyond it is refused."""
ITEM_OVERHEAD_BYTES = 16

GENERATIONS = count(1)
"""Numbers no store of this process has had: each store draws one when it begins and at each freeze."""

WRONG_TYPE = error_line("WRONGTYPE Operation against a key holding the wrong kind of value")
_TOO_LONG = error_line(f"ERR the list would be longer than {MAX_LIST_BYTES} bytes")


class ListValue(msgspec.Struct):
    """A list, and how much it holds."""

    items: list[bytes]
    size: int
    generation: int
    """Of the freeze after which this object was made; an older one belongs to a frozen copy too."""


Value: TypeAlias = bytes | ListValue
Data: TypeAlias = dict[bytes, Value]


def size_of(items: Sequence[bytes]) -> int:
    """What values count for against MAX_LIST_BYTES."""
    return sum(map(len, items)) + ITEM_OVERHEAD_BYTES * len(items)


def push(data: Data, key: bytes, items: list[bytes], generation: int) -> Result:
    """Appends to the list at `key`, which need not be there yet; its new length."""
    value = data.get(key)
    if value is None:
        value = ListValue([], 0, generation)
    elif type(value) is not ListValue:
        return WRONG_TYPE
    elif value.generation != generation:
        value = ListValue(value.items.copy(), value.size, generation)
    added = size_of(items)
    if value.size + added > MAX_LIST_BYTES:
        return _TOO_LONG
    value.items += items
    value.size += added
    data[key] = value
    return len(value.items)


def length(data: Data, args: list[bytes]) -> Result:
    """LLEN; 0 where there is nothing."""
    value = data.get(args[1])
    if value is None:
        return 0
    return len(value.items) if type(value) is ListValue else WRONG_TYPE


def slice_of(value: Value | None, start: int, stop: int) -> list[bytes] | None:
    """What LRANGE answers: both ends included, negative ones counted from the end; None: not a list."""
    if value is None:
        return []
    if type(value) is not ListValue:
        return None
    count = len(value.items)
    first = max(start + count, 0) if start < 0 else start
    last = stop + count if stop < 0 else stop
    return value.items[first : last + 1] if last >= 0 else []
