"""The replicated state machine: a map of byte strings, changed only by commands in log order.

Deterministic: the same commands in the same order give the same map, the same results and the same
digest on every member. Nothing here knows of time, chance or who asked.
"""

import hashlib
import struct
from collections.abc import Callable

import msgspec

from faultlab.runtime.resp.encoder import Result, error_line

from .commands import INT64_MAX, INT64_MIN, NOT_AN_INTEGER, Op, SetFlags, parse_integer
from .messages import Entry

_decode = msgspec.msgpack.Decoder(list).decode

MAX_REPLY_BYTES = 8 * 1024 * 1024
"""The values that one MGET may answer with."""

_REPLY_TOO_LONG = error_line(
    f"ERR the values are longer than {MAX_REPLY_BYTES} bytes together; ask for fewer keys"
)
_OVERFLOW = error_line("ERR increment or decrement would overflow")

_CHAIN = struct.Struct("<QQI")
_DIGEST_BYTES = 16

_NX, _XX, _GET = int(SetFlags.NX), int(SetFlags.XX), int(SetFlags.GET)


class KeyValueStore:
    """The map, and how far into the log it has come."""

    def __init__(self) -> None:
        self._data: dict[bytes, bytes] = {}
        self._chain = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self.applied_index = 0
        self.applied_term = 0

    def __len__(self) -> int:
        return len(self._data)

    def apply(self, entry: Entry) -> Result:
        """Applies the next entry of the log; a no-op answers None. Entries come in order, each once."""
        index, term, data = entry.index, entry.term, entry.data
        assert index == self.applied_index + 1, f"entry {index} applied after {self.applied_index}"
        self._chain.update(_CHAIN.pack(index, term, len(data)) + data)
        self.applied_index = index
        self.applied_term = term
        if not data:
            return None
        op, *args = _decode(data)
        return _APPLY[op](self._data, args)

    def read(self, command: bytes) -> Result:
        """Answers a reading command from the map as it is."""
        op, *args = _decode(command)
        return _READ[op](self._data, args)

    def digest(self) -> str:
        """A hash, in hex, over every entry applied so far: index, term and data."""
        return self._chain.copy().hexdigest()


def is_read(command: bytes) -> bool:
    """Whether an encoded command only reads; raises ValueError for bytes that are no command."""
    try:
        op = _decode(command)[0]
    except (msgspec.MsgspecError, IndexError) as error:
        raise ValueError(f"{len(command)} bytes are no command") from error
    if type(op) is int:
        if op in _READ:
            return True
        if op in _APPLY:
            return False
    raise ValueError(f"unknown op {op!r} in a command; all members must run the same version")


def _set(data: dict[bytes, bytes], args: list[bytes]) -> Result:
    if len(args) == 2:
        data[args[0]] = args[1]
        return "+OK"
    key, value = args[0], args[1]
    flags = int(args[2])
    old = data.get(key)
    stored = not (flags & _NX and old is not None) and not (flags & _XX and old is None)
    if stored:
        data[key] = value
    if flags & _GET:
        return old
    return "+OK" if stored else None


def _del(data: dict[bytes, bytes], keys: list[bytes]) -> Result:
    return sum(data.pop(key, None) is not None for key in keys)


def _incr(data: dict[bytes, bytes], args: list[bytes]) -> Result:
    key, step = args[0], int(args[1])
    current = parse_integer(data.get(key, b"0"))
    if current is None:
        return NOT_AN_INTEGER
    total = current + step
    if not INT64_MIN <= total <= INT64_MAX:
        return _OVERFLOW
    data[key] = b"%d" % total
    return total


def _cas(data: dict[bytes, bytes], args: list[bytes]) -> Result:
    key, expected, new = args
    if data.get(key) != expected:
        return 0
    data[key] = new
    return 1


def _mset(data: dict[bytes, bytes], args: list[bytes]) -> Result:
    data.update(zip(args[0::2], args[1::2], strict=True))
    return "+OK"


def _get(data: dict[bytes, bytes], args: list[bytes]) -> Result:
    return data.get(args[0])


def _exists(data: dict[bytes, bytes], keys: list[bytes]) -> Result:
    return sum(key in data for key in keys)


def _mget(data: dict[bytes, bytes], keys: list[bytes]) -> Result:
    values: list[Result] = []
    size = 0
    for key in keys:
        value = data.get(key)
        if value is not None:
            size += len(value)
            if size > MAX_REPLY_BYTES:
                return _REPLY_TOO_LONG
        values.append(value)
    return values


_Function = Callable[[dict[bytes, bytes], list[bytes]], Result]

_APPLY: dict[int, _Function] = {Op.SET: _set, Op.DEL: _del, Op.INCR: _incr, Op.CAS: _cas, Op.MSET: _mset}
_READ: dict[int, _Function] = {Op.GET: _get, Op.EXISTS: _exists, Op.MGET: _mget}
