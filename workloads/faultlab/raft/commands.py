"""The commands of the key-value store: what a client may send, and the bytes that go into the log.

A request is checked here, before it is proposed, as far as it can be without knowing the data; what is
left to refuse (INCR of a word) the state machine refuses, the same way on every member.

The encoding is a MessagePack array `[op, ...arguments]`. It is what logs hold, so an op keeps its
number and its arguments for ever. Session commands end with a stamp, eight bytes that the leader fills in
when it proposes them (`stamp`), and have the name of the user in front of it where the client had to log in:
the member that the client is connected to knows it, and nothing that a client sends gets there.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from types import MappingProxyType

import msgspec

from faultlab.runtime.resp.encoder import error_line
from faultlab.runtime.resp.handler import CommandSpec, Kind

from .sessions import DEFAULT_TTL_MS, MAX_TTL_MS

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
    RPUSH = 9
    LRANGE = 10
    LLEN = 11
    SESSION_OPEN = 12
    SESSION_CLOSE = 13
    REQ = 14


class SetFlags(IntEnum):
    """Options of SET, or-ed."""

    NX = 1
    XX = 2
    GET = 4


NOT_AN_INTEGER = error_line("ERR value is not an integer or out of range")
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_INT64_DIGITS = 20
_ZERO = b"0"[0]

Prepared = bytes | str
"""A command's encoding, or an error line."""

_encode = msgspec.msgpack.Encoder().encode

_SET, _DEL, _INCR, _CAS, _MSET = int(Op.SET), int(Op.DEL), int(Op.INCR), int(Op.CAS), int(Op.MSET)
_GET, _EXISTS, _MGET = int(Op.GET), int(Op.EXISTS), int(Op.MGET)
_RPUSH, _LRANGE, _LLEN = int(Op.RPUSH), int(Op.LRANGE), int(Op.LLEN)
_SESSION_OPEN, _SESSION_CLOSE, _REQ = int(Op.SESSION_OPEN), int(Op.SESSION_CLOSE), int(Op.REQ)

_STAMP = struct.Struct(">Q")
UNSTAMPED = 2**63
"""In place of a stamp: as a MessagePack integer its eight bytes."""
_UNSTAMPED_BYTES = len(_encode(UNSTAMPED))
_STAMPED = frozenset(
    _encode((op, *[0] * arguments, UNSTAMPED))[:2]
    for op, least in ((_SESSION_OPEN, 1), (_SESSION_CLOSE, 1), (_REQ, 3))
    for arguments in (least, least + 1)
)
"""How the encodings of commands begin that end with a stamp."""

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


def prepare(spec: CommandSpec, args: list[bytes], user: str = "") -> Prepared:
    """Checks limits and syntax of a request whose arity is right, and encodes it.

    `user`, the name of who has logged in, is whose a session is; "" where nobody needs to.
    """
    command = _PREPARE[spec.name](args)
    if user and spec.name in _BY_USER and isinstance(command, bytes):
        return _sign(command, user)
    return command


def stamp(command: bytes, now_ms: int) -> bytes:
    """The command with the leader's wall clock (milliseconds) in it, if it is one that takes it."""
    if command[:2] in _STAMPED:
        return command[: -_STAMP.size] + _STAMP.pack(now_ms)
    return command


def _sign(command: bytes, user: str) -> bytes:
    """The command with the user's name in front of the place of its stamp."""
    end = len(command) - _UNSTAMPED_BYTES
    return bytes((command[0] + 1,)) + command[1:end] + _encode(user) + command[end:]


def unwrap(spec: CommandSpec, args: list[bytes]) -> tuple[CommandSpec, list[bytes]] | str:
    """What a request is about in the end: the command inside REQ with its arguments, any other itself.

    An error line where REQ holds no write with the right number of arguments.
    """
    if spec.name != "REQ":
        return spec, args
    inner = _IN_REQ.get(args[3]) or _IN_REQ.get(args[3].upper())
    if inner is None:
        shown = args[3][:64].decode("utf-8", "replace")
        return error_line(f"ERR REQ takes a write, which '{shown}' is not; send anything else by itself")
    if not inner.admits(len(args) - 3):
        return error_line(f"ERR wrong number of arguments for '{inner.name.lower()}' command")
    return inner, args[3:]


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


def _prepare_rpush(args: list[bytes]) -> Prepared:
    if len(args[1]) > MAX_KEY_BYTES:
        return _KEY_TOO_LONG
    if any(len(value) > MAX_VALUE_BYTES for value in args[2:]):
        return _VALUE_TOO_LONG
    return _encode((_RPUSH, *args[1:]))


def _prepare_lrange(args: list[bytes]) -> Prepared:
    if len(args[1]) > MAX_KEY_BYTES:
        return _KEY_TOO_LONG
    start, stop = parse_integer(args[2]), parse_integer(args[3])
    if start is None or stop is None:
        return NOT_AN_INTEGER
    return _encode((_LRANGE, args[1], start, stop))


def _prepare_session(args: list[bytes]) -> Prepared:
    subcommand = args[1].upper()
    if subcommand == b"OPEN" and (len(args) == 2 or (len(args) == 4 and args[2].upper() == b"TTL")):
        ttl_ms = DEFAULT_TTL_MS if len(args) == 2 else parse_integer(args[3])
        if ttl_ms is None or not 0 < ttl_ms <= MAX_TTL_MS:
            return error_line(f"ERR a session's TTL is 1 to {MAX_TTL_MS} milliseconds")
        return _encode((_SESSION_OPEN, ttl_ms, UNSTAMPED))
    if subcommand == b"CLOSE" and len(args) == 3:
        session = _positive(args[2])
        return _NO_SESSION_ID if session is None else _encode((_SESSION_CLOSE, session, UNSTAMPED))
    return error_line("ERR syntax error: SESSION OPEN [TTL MILLISECONDS] or SESSION CLOSE ID is expected")


def _prepare_req(args: list[bytes]) -> Prepared:
    session, number = _positive(args[1]), _positive(args[2])
    if session is None:
        return _NO_SESSION_ID
    if number is None:
        return error_line("ERR the number of a request is an integer from 1 upwards")
    unwrapped = unwrap(COMMANDS["REQ"], args)
    if isinstance(unwrapped, str):
        return unwrapped
    command = prepare(*unwrapped)
    return command if isinstance(command, str) else _encode((_REQ, session, number, command, UNSTAMPED))


def _positive(text: bytes) -> int | None:
    if text.isdigit() and text[0] != _ZERO and len(text) < _INT64_DIGITS - 1:
        return int(text)
    number = parse_integer(text)
    return number if number is not None and number > 0 else None


_NO_SESSION_ID = error_line("ERR the id of a session is the integer that SESSION OPEN answered")

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
    "RPUSH": _prepare_rpush,
    "LRANGE": _prepare_lrange,
    "LLEN": _prepare_keys(_LLEN),
    "SESSION": _prepare_session,
    "REQ": _prepare_req,
}

_BY_USER = frozenset(("SESSION", "REQ"))
"""Commands that say who sends them."""

_WRITE = ("write", "denyoom")
_READ = ("readonly",)

COMMANDS = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            CommandSpec(
                "SET", -3, Kind.WRITE, "Sets a key; NX, XX and GET as in Redis.", _WRITE, 1, 1, 1, b"GET"
            ),
            CommandSpec("DEL", -2, Kind.WRITE, "Removes keys; how many there were.", _WRITE, 1, -1, 1),
            CommandSpec("INCR", 2, Kind.WRITE, "Adds one to an integer.", _WRITE, 1, 1, 1, True),
            CommandSpec("INCRBY", 3, Kind.WRITE, "Adds to an integer.", _WRITE, 1, 1, 1, True),
            CommandSpec("DECR", 2, Kind.WRITE, "Takes one from an integer.", _WRITE, 1, 1, 1, True),
            CommandSpec("DECRBY", 3, Kind.WRITE, "Takes from an integer.", _WRITE, 1, 1, 1, True),
            CommandSpec(
                "CAS",
                4,
                Kind.WRITE,
                "Sets a key if its value is the one expected; 1 or 0.",
                _WRITE,
                1,
                1,
                1,
                True,
            ),
            CommandSpec("MSET", -3, Kind.WRITE, "Sets several keys at once.", _WRITE, 1, -1, 2),
            CommandSpec("RPUSH", -3, Kind.WRITE, "Appends to a list; its length.", _WRITE, 1, 1, 1),
            CommandSpec(
                "SESSION", -2, Kind.WRITE, "OPEN [TTL MILLISECONDS]: a session's id; CLOSE ID.", ("write",)
            ),
            CommandSpec(
                "REQ",
                -4,
                Kind.WRITE,
                "ID NUMBER COMMAND ...: applies a write once in a session, however often it is sent.",
                ("write", "denyoom", "movablekeys"),
            ),
            CommandSpec("LRANGE", 4, Kind.READ, "Values of a list, from start to stop.", _READ, 1, 1, 1),
            CommandSpec("LLEN", 2, Kind.READ, "How long a list is.", _READ, 1, 1, 1),
            CommandSpec("GET", 2, Kind.READ, "The value of a key.", _READ, 1, 1, 1),
            CommandSpec("EXISTS", -2, Kind.READ, "How many of the keys exist.", _READ, 1, -1, 1),
            CommandSpec("MGET", -2, Kind.READ, "The values of several keys at one time.", _READ, 1, -1, 1),
        )
    }
)
"""By upper-case name."""

_IN_REQ = {
    spec.name.encode(): spec
    for spec in COMMANDS.values()
    if spec.kind is Kind.WRITE and spec.name not in ("SESSION", "REQ")
}
"""What REQ takes."""
