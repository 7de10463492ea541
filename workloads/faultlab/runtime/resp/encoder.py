"""Results to bytes, in RESP2 or RESP3."""

from typing import TypeAlias

Result: TypeAlias = "int | bytes | str | list[Result] | dict[str, Result] | None"
"""What a command answers: null, integer, bulk string, array, map; a `str` is a status line `+OK` or an
error line `-ERR ...` as it goes on the wire, without the line end. MessagePack carries all of them."""


def error_line(message: str) -> str:
    """An error `Result`; `message` begins with its code. Line ends, which would break the framing, go."""
    return "-" + message.replace("\r", " ").replace("\n", " ")


def is_result(value: object, depth: int = 8) -> bool:
    """Whether something that another process sent is a `Result` that `encode` can be given."""
    kind = type(value)
    if kind is bytes or value is None:
        return True
    if isinstance(value, int):
        return kind is int and -(2**63) <= value < 2**63
    if isinstance(value, str):
        return value[:1] in ("+", "-") and "\r" not in value and "\n" not in value
    if depth and isinstance(value, list):
        return all(is_result(item, depth - 1) for item in value)
    if depth and isinstance(value, dict):
        return all(type(key) is str and is_result(item, depth - 1) for key, item in value.items())
    return False


def encode(result: Result, resp3: bool) -> bytes:
    """The wire form. A map is flattened to an array in RESP2."""
    if result == "+OK":
        return b"+OK\r\n"
    if isinstance(result, bytes):
        return b"$%d\r\n%b\r\n" % (len(result), result)
    if result is None:
        return b"_\r\n" if resp3 else b"$-1\r\n"
    if isinstance(result, str):
        return result.encode() + b"\r\n"
    if isinstance(result, int):
        return b":%d\r\n" % result
    if isinstance(result, list):
        return b"*%d\r\n%b" % (len(result), b"".join([encode(item, resp3) for item in result]))
    head = b"%%%d\r\n" % len(result) if resp3 else b"*%d\r\n" % (2 * len(result))
    pairs = [encode(key.encode(), resp3) + encode(value, resp3) for key, value in result.items()]
    return head + b"".join(pairs)


def encode_meta(member: str | None, term: int | None, resp3: bool) -> bytes:
    """The second half of a reply under `CLIENT META ON`: `[member, term]`."""
    return b"*2\r\n" + encode(member.encode() if member else None, resp3) + encode(term, resp3)
