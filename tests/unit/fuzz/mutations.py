"""Bytes that were right once, and bytes that come in any pieces."""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

_T = TypeVar("_T")


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Up to four changes: bytes flipped, cut out, put in, doubled, the rest left out."""
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        size = draw(st.integers(1, 8))
        match draw(st.sampled_from(("flip", "cut", "put", "double", "truncate"))):
            case "flip":
                data = data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
            case "cut":
                data = data[:at] + data[at + size :]
            case "put":
                data = data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at:]
            case "double":
                data = data[: at + size] + data[at:]
            case "truncate":
                data = data[:at]
    return data


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in pieces: one, many, or one byte each."""
    if draw(st.booleans()) or len(data) < 2:
        return [data]
    if len(data) <= 200 and draw(st.integers(0, 4)) == 0:
        return [data[i : i + 1] for i in range(len(data))]
    places = sorted(draw(st.sets(st.integers(1, len(data) - 1), max_size=6)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@st.composite
def shuffled_and_repeated(draw: st.DrawFn, items: Sequence[_T]) -> list[_T]:
    """Some of the items, some twice, in any order."""
    return draw(st.lists(st.sampled_from(items), max_size=2 * len(items)))
