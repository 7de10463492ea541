"""Commands that another member has prepared, held to what `commands.prepare` makes.

What a leader proposes every member applies, and a state machine that cannot apply an entry ends its process:
all of them, at every start. So nothing gets into the log because a peer says so: an unknown op, a wrong
number of arguments or another encoding than ours is refused at the door.
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from faultlab.runtime.resp.handler import MAX_USER_BYTES

from .commands import INT64_MAX, INT64_MIN, MAX_KEY_BYTES, MAX_VALUE_BYTES, UNSTAMPED, Op, stamp
from .sessions import MAX_TTL_MS

_Key = Annotated[bytes, msgspec.Meta(max_length=MAX_KEY_BYTES)]
_Value = Annotated[bytes, msgspec.Meta(max_length=MAX_VALUE_BYTES)]
_COMMON: dict[bytes, msgspec.msgpack.Decoder[Any]] = {
    bytes((0x93, Op.SET)): msgspec.msgpack.Decoder(tuple[int, _Key, _Value]),
    bytes((0x92, Op.GET)): msgspec.msgpack.Decoder(tuple[int, _Key]),
}
"""By how their encodings begin: the usual commands, whose arguments msgspec checks in a sixth of the time."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list).decode


def is_read(command: bytes) -> bool:
    """Whether an encoded command only reads; raises ValueError for one that none of us made.

    Its stamp, if it has one, does not matter: the leader's replaces it.
    """
    decoder = _COMMON.get(command[:2])
    if decoder is None:
        return _vet(stamp(command, UNSTAMPED), _OPS) in _READS
    try:
        decoder.decode(command)
    except msgspec.MsgspecError as error:
        raise ValueError(f"a command with the op {command[1]} has other arguments than it takes") from error
    return command[1] in _READS


def _vet(command: bytes, ops: frozenset[int]) -> int:
    """The op of a command as it is prepared, one of `ops`; raises ValueError."""
    try:
        args = _decode(command)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{len(command)} bytes are no command") from error
    op = args[0] if args else None
    if type(op) is not int or op not in ops:
        raise ValueError(f"the op {op!r:.40} is no command's, here; all members must run the same version")
    if not _SHAPES[op](args[1:]) or _encode(args) != command:
        raise ValueError(f"a command with the op {op} has other arguments than it takes")
    return op


def _keys(args: list[Any]) -> bool:
    return bool(args) and all(type(arg) is bytes and len(arg) <= MAX_KEY_BYTES for arg in args)


def _values(args: list[Any]) -> bool:
    return bool(args) and all(type(arg) is bytes and len(arg) <= MAX_VALUE_BYTES for arg in args)


def _integers(args: list[Any], low: int, high: int) -> bool:
    return all(type(arg) is int and low <= arg <= high for arg in args)


def _set(args: list[Any]) -> bool:
    return (
        len(args) in (2, 3)
        and _keys(args[:1])
        and _values(args[1:2])
        and all(flags in _SET_FLAGS for flags in args[2:])
    )


def _incr(args: list[Any]) -> bool:
    return len(args) == 2 and _keys(args[:1]) and _integers(args[1:], INT64_MIN, INT64_MAX)


def _cas(args: list[Any]) -> bool:
    return len(args) == 3 and _keys(args[:1]) and _values(args[1:])


def _mset(args: list[Any]) -> bool:
    return len(args) % 2 == 0 and _keys(args[::2]) and _values(args[1::2])


def _rpush(args: list[Any]) -> bool:
    return _keys(args[:1]) and _values(args[1:])


def _one_key(args: list[Any]) -> bool:
    return len(args) == 1 and _keys(args)


def _lrange(args: list[Any]) -> bool:
    return len(args) == 3 and _keys(args[:1]) and _integers(args[1:], INT64_MIN, INT64_MAX)


def _session_open(args: list[Any]) -> bool:
    return _integers(args[:1], 1, MAX_TTL_MS) and _by_user(args[1:])


def _session_close(args: list[Any]) -> bool:
    return _integers(args[:1], 1, INT64_MAX) and _by_user(args[1:])


def _req(args: list[Any]) -> bool:
    if not _integers(args[:2], 1, INT64_MAX) or not _by_user(args[3:]) or type(args[2]) is not bytes:
        return False
    return bool(_vet(args[2], _IN_REQ))


def _by_user(args: list[Any]) -> bool:
    """How a session command ends: with a name, if its client had to log in, and the place of a stamp."""
    if not args or type(args[-1]) is not int or args[-1] != UNSTAMPED:
        return False
    if len(args) == 1:
        return True
    return len(args) == 2 and type(args[0]) is str and 0 < len(args[0].encode()) <= MAX_USER_BYTES


_SHAPES: dict[int, Callable[[list[Any]], bool]] = {
    Op.SET: _set,
    Op.DEL: _keys,
    Op.INCR: _incr,
    Op.CAS: _cas,
    Op.MSET: _mset,
    Op.GET: _one_key,
    Op.EXISTS: _keys,
    Op.MGET: _keys,
    Op.RPUSH: _rpush,
    Op.LRANGE: _lrange,
    Op.LLEN: _one_key,
    Op.SESSION_OPEN: _session_open,
    Op.SESSION_CLOSE: _session_close,
    Op.REQ: _req,
}
_OPS = frozenset(_SHAPES)
_READS = frozenset({Op.GET, Op.EXISTS, Op.MGET, Op.LRANGE, Op.LLEN})
_IN_REQ = frozenset({Op.SET, Op.DEL, Op.INCR, Op.CAS, Op.MSET, Op.RPUSH})
_SET_FLAGS = (1, 2, 4, 5, 6)
"""NX, XX, GET; NX and XX exclude each other."""
