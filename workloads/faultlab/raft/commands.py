"""The commands of the key-value store: what a client may send, and the bytes that go into the log.

A request is checked here, before it is proposed, as far as it can be without knowing the data; what is
left to refuse (INCR of a word) the state machine refuses, the same way on every member.

The encoding is a MessagePack array `[op, ...arguments]`. It is what logs hold, so an op keeps its
number and its arguments for ever.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from types import MappingProxyType

import msgspec

from faultlab.runtime.resp.encoder import error_line
from faultlab.runtime.resp.handler import CommandSpec, Kind

MAX_KEY_BYTES = 64 * 1024
MAX_VALUE_BYTES = 1024 * 1024


class Op(IntEnum):
    """What a command does; part of the log's format."""

    SET = 1
    DEL = 2
    INCR = 3
    CAS = 4
    MSET = 5
    GET = 6
    EXISTS = 7
    MGET = 8


class SetFlags(IntEnum):
    """Options of SET, or-ed."""

    NX = 1
    XX = 2
    GET = 4


NOT_AN_INTEGER = error_line("ERR value is not an integer or out of range")
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_INT64_DIGITS = 20

Prepared = bytes | str
"""A command's encoding, or an error line."""

_encode = msgspec.msgpack.Encoder().encode

_SET, _DEL, _INCR, _CAS, _MSET = int(Op.SET), int(Op.DEL), int(Op.INCR), int(Op.CAS), int(Op.MSET)
_GET, _EXISTS, _MGET = int(Op.GET), int(Op.EXISTS), int(Op.MGET)
_SET_FLAGS = {b"NX": int(SetFlags.NX), b"XX": int(SetFlags.XX), b"GET": int(SetFlags.GET)}

_KEY_TOO_LONG = error_line(f"ERR key is longer than {MAX_KEY_BYTES} bytes")
_VALUE_TOO_LONG = error_line(f"ERR value is longer than {MAX_VALUE_BYTES} bytes")


def parse_integer(text: bytes) -> int | None:
    """A 64-bit integer in Redis' strict spelling (no spaces, no plus, no leading zeros), or None."""
    if len(text) > _INT64_DIGITS:
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    return number if b"%d" % number == text and INT64_MIN <= number <= INT64_MAX else None


def prepare(spec: CommandSpec, args: list[bytes]) -> Prepared:
    """Checks limits and syntax of a request whose arity is right, and encodes it."""
    return _PREPARE[spec.name](args)


def _prepare_set(args: list[bytes]) -> Prepared:
    _, key, value, *options = args
    if len(key) > MAX_KEY_BYTES:
        return _KEY_TOO_LONG
    if len(value) > MAX_VALUE_BYTES:
        return _VALUE_TOO_LONG
    flags = 0
    for option in options:
        flag = _SET_FLAGS.get(option.upper())
        if flag is None:
            shown = option[:32].decode("utf-8", "replace")
            return error_line(f"ERR syntax error: SET option '{shown}' is not supported; NX, XX and GET are")
        flags |= flag
    if flags & SetFlags.NX and flags & SetFlags.XX:
        return error_line("ERR syntax error: NX and XX exclude each other")
    return _encode((_SET, key, value, flags) if flags else (_SET, key, value))


def _prepare_cas(args: list[bytes]) -> Prepared:
    _, key, expected, new = args
    if len(key) > MAX_KEY_BYTES:
        return _KEY_TOO_LONG
    if max(len(expected), len(new)) > MAX_VALUE_BYTES:
        return _VALUE_TOO_LONG
    return _encode((_CAS, key, expected, new))


def _prepare_mset(args: list[bytes]) -> Prepared:
    if len(args) % 2 == 0:
        return error_line("ERR wrong number of arguments for 'mset' command")
    if any(len(key) > MAX_KEY_BYTES for key in args[1::2]):
        return _KEY_TOO_LONG
    if any(len(value) > MAX_VALUE_BYTES for value in args[2::2]):
        return _VALUE_TOO_LONG
    return _encode((_MSET, *args[1:]))


def _prepare_keys(op: int) -> Callable[[list[bytes]], Prepared]:
    def run(args: list[bytes]) -> Prepared:
        for key in args[1:]:
            if len(key) > MAX_KEY_BYTES:
                return _KEY_TOO_LONG
        args[0] = op  # type: ignore[call-overload]
        return _encode(args)

    return run


def _prepare_step(sign: int, args: list[bytes]) -> Prepared:
    if len(args[1]) > MAX_KEY_BYTES:
        return _KEY_TOO_LONG
    step = 1 if len(args) == 2 else parse_integer(args[2])
    if step is None or step * sign > INT64_MAX:
        return NOT_AN_INTEGER
    return _encode((_INCR, args[1], step * sign))


_PREPARE: dict[str, Callable[[list[bytes]], Prepared]] = {
    "SET": _prepare_set,
    "DEL": _prepare_keys(_DEL),
    "INCR": partial(_prepare_step, 1),
    "INCRBY": partial(_prepare_step, 1),
    "DECR": partial(_prepare_step, -1),
    "DECRBY": partial(_prepare_step, -1),
    "CAS": _prepare_cas,
    "MSET": _prepare_mset,
    "GET": _prepare_keys(_GET),
    "EXISTS": _prepare_keys(_EXISTS),
    "MGET": _prepare_keys(_MGET),
}

_WRITE = ("write", "denyoom")
_READ = ("readonly",)

COMMANDS = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            CommandSpec("SET", -3, Kind.WRITE, "Sets a key; NX, XX and GET as in Redis.", _WRITE, 1, 1, 1),
            CommandSpec("DEL", -2, Kind.WRITE, "Removes keys; how many there were.", _WRITE, 1, -1, 1),
            CommandSpec("INCR", 2, Kind.WRITE, "Adds one to an integer.", _WRITE, 1, 1, 1),
            CommandSpec("INCRBY", 3, Kind.WRITE, "Adds to an integer.", _WRITE, 1, 1, 1),
            CommandSpec("DECR", 2, Kind.WRITE, "Takes one from an integer.", _WRITE, 1, 1, 1),
            CommandSpec("DECRBY", 3, Kind.WRITE, "Takes from an integer.", _WRITE, 1, 1, 1),
            CommandSpec(
                "CAS", 4, Kind.WRITE, "Sets a key if its value is the one expected; 1 or 0.", _WRITE, 1, 1, 1
            ),
            CommandSpec("MSET", -3, Kind.WRITE, "Sets several keys at once.", _WRITE, 1, -1, 2),
            CommandSpec("GET", 2, Kind.READ, "The value of a key.", _READ, 1, 1, 1),
            CommandSpec("EXISTS", -2, Kind.READ, "How many of the keys exist.", _READ, 1, -1, 1),
            CommandSpec("MGET", -2, Kind.READ, "The values of several keys at one time.", _READ, 1, -1, 1),
        )
    }
)
"""By upper-case name."""
