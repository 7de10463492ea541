"""A hash over a log that can be carried on: by the member that made it, or by one that has a snapshot.

    h(i) = H(h(i - 1), index, term and data of entry i)

taken in blocks of BLOCK entries, since one hash over many is cheaper than many: h is folded at each index
that is a multiple of BLOCK, and what came after the last fold is kept until then. Long data is kept as its
own hash, so that what is kept stays below BLOCK * LONG_BYTES.
"""

import hashlib
import struct
from collections.abc import Sequence

import msgspec

BLOCK = 64
"""A power of two."""
LONG_BYTES = 1024
_DIGEST_BYTES = 16
_POSITION = struct.Struct("<16sQI")
_TERM = struct.Struct("<QQ")

_blake2b = hashlib.blake2b


class DigestState(msgspec.Struct, frozen=True, array_like=True):
    """All that the digest of later entries depends on."""

    folded: bytes
    terms: list[tuple[int, int]]
    pending: list[bytes]


FRESH = DigestState(bytes(_DIGEST_BYTES), [], [])
"""Of a log without entries."""


class LogDigest:
    """The digest so far."""

    __slots__ = ("_folded", "_index", "_pending", "_term", "_terms")

    def __init__(self, index: int = 0, term: int = 0, state: DigestState = FRESH) -> None:
        """Goes on after the entry at `index`, whose term was `term`."""
        self._index = index
        self._term = term
        self._folded = state.folded
        self._terms = list(state.terms)
        """(index, term) of the entries of this block whose term is not that of the one before."""
        self._pending = list(state.pending)

    def add(self, index: int, term: int, data: bytes) -> None:
        """Takes in the next entry."""
        if term != self._term:
            self._terms.append((index, term))
            self._term = term
        self._index = index
        self._pending.append(data if len(data) < LONG_BYTES else _blake2b(data).digest() + b"long")
        if not index & BLOCK - 1:
            self._folded = self._fold()
            self._pending = []
            self._terms = []

    def state(self) -> DigestState:
        """What to go on from; later entries do not change it."""
        return DigestState(self._folded, self._terms.copy(), self._pending.copy())

    def hex(self) -> str:
        """The digest over all entries so far."""
        return (self._fold() if self._pending else self._folded).hex()

    def _fold(self) -> bytes:
        pending, terms = self._pending, self._terms
        return _blake2b(
            b"".join(
                [
                    _POSITION.pack(self._folded, self._index, len(terms)),
                    *[_TERM.pack(index, term) for index, term in terms],
                    _lengths(pending),
                    *pending,
                ]
            ),
            digest_size=_DIGEST_BYTES,
        ).digest()


def _lengths(texts: Sequence[bytes]) -> bytes:
    return struct.pack(f"<{len(texts)}I", *map(len, texts))
