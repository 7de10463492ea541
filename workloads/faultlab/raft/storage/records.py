"""The bytes of the write-ahead log: records, and how to tell a torn tail from damage.

A record is a header of 25 bytes and a payload, little endian:

    magic     4 bytes  b"FLR1"
    crc       uint32   CRC-32 of all that follows in this record
    previous  uint32   the `crc` of the record before (0 for the first): records cannot change places
    batch     uint64   file offset at which this record's batch begins
    length    uint32   of the payload
    kind      uint8    1 owner, 2 entry, 3 hard state

    owner       MessagePack [format, cluster, member]; the first record of a file, and only that
    entry       uint64 index, uint64 term, the data. Replaces the log from `index` on.
    hard state  uint64 term, uint64 commit, the vote in UTF-8 (empty for none)

A batch is what one write and one sync made durable, and the next batch is written only after that. So
when a record is unreadable, a later valid record whose batch begins after it proves that it had been
synced: damage in the middle. Without one, it is what a crash left of the last batch: a torn tail.
(Damage within the last batch alone cannot be told from a torn one, here as in any such log.)
"""

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum

import msgspec

from ..messages import Entry, HardState

MAGIC = b"FLR1"
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
FORMAT = 1

_PREFIX = struct.Struct("<4sI")
_TAIL = struct.Struct("<IQIB")
_ENTRY = struct.Struct("<QQ")
_TAIL_AND_ENTRY = struct.Struct("<IQIBQQ")
_HARD_STATE = struct.Struct("<QQ")
_HEADER = struct.Struct("<4sIIQIB")

HEADER_BYTES = _HEADER.size
_PREFIX_BYTES = _PREFIX.size


class Kind(IntEnum):
    """What a record's payload is."""

    OWNER = 1
    ENTRY = 2
    HARD_STATE = 3


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """Whose log a file is."""

    format: int
    cluster: str
    member: str


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as found at `offset`, its CRC verified."""

    offset: int
    end: int
    crc: int
    previous: int
    batch: int
    kind: int
    payload: bytes


class BatchEncoder:
    """Encodes the records of one batch after another; holds the chain's end."""

    def __init__(self, offset: int, crc: int) -> None:
        """`offset`: the file's length; `crc`: of its last record."""
        self.offset = offset
        self._crc = crc
        self._parts: list[bytes] = []

    def add_entries(self, entries: list[Entry]) -> None:
        """Adds one record an entry."""
        batch, previous, parts, kind = self.offset, self._crc, self._parts, int(Kind.ENTRY)
        for entry in entries:
            data = entry.data
            length = _ENTRY.size + len(data)
            tail = _TAIL_AND_ENTRY.pack(previous, batch, length, kind, entry.index, entry.term)
            previous = zlib.crc32(data, zlib.crc32(tail))
            parts += (_PREFIX.pack(MAGIC, previous), tail, data)
        self._crc = previous

    def add_hard_state(self, state: HardState) -> None:
        """Adds a record that replaces the hard state."""
        vote = b"" if state.vote is None else state.vote.encode()
        self._add(Kind.HARD_STATE, _HARD_STATE.pack(state.term, state.commit) + vote)

    def add_owner(self, owner: Owner) -> None:
        """Adds the record that a file begins with."""
        self._add(Kind.OWNER, msgspec.msgpack.encode(owner))

    def take(self) -> bytes:
        """The batch so far; the next one begins behind it."""
        data = b"".join(self._parts)
        self._parts.clear()
        self.offset += len(data)
        return data

    def _add(self, kind: Kind, payload: bytes) -> None:
        tail = _TAIL.pack(self._crc, self.offset, len(payload), kind)
        self._crc = zlib.crc32(payload, zlib.crc32(tail))
        self._parts += (_PREFIX.pack(MAGIC, self._crc), tail, payload)


def read_record(data: bytes, offset: int) -> Record | None:
    """The record that begins at `offset`, None if no whole and valid one does."""
    if offset + HEADER_BYTES > len(data):
        return None
    magic, crc, previous, batch, length, kind = _HEADER.unpack_from(data, offset)
    end = offset + HEADER_BYTES + length
    if magic != MAGIC or length > MAX_PAYLOAD_BYTES or end > len(data):
        return None
    if zlib.crc32(data[offset + _PREFIX_BYTES : end]) != crc:
        return None
    return Record(offset, end, crc, previous, batch, kind, data[offset + HEADER_BYTES : end])


def read_chain(data: bytes) -> Iterator[Record]:
    """The records from the file's start, as long as each follows from the one before."""
    offset = crc = batch = 0
    while (record := read_record(data, offset)) is not None:
        if record.previous != crc or record.batch not in (batch, offset):
            return
        yield record
        offset, crc, batch = record.end, record.crc, record.batch


def find_proof_of_damage(data: bytes, offset: int) -> Record | None:
    """A valid record that shows that what is unreadable at `offset` had been synced; None if none does.

    A valid record at `offset` itself does not follow from the one before, which no crash explains.
    """
    at = offset
    while (at := data.find(MAGIC, at)) >= 0:
        record = read_record(data, at)
        if record is not None and (at == offset or record.batch > offset):
            return record
        at += 1
    return None


def decode_entry(payload: bytes) -> Entry:
    """Raises ValueError for a payload that is no entry."""
    if len(payload) < _ENTRY.size:
        raise ValueError(f"an entry of {len(payload)} bytes; at least {_ENTRY.size} are needed")
    index, term = _ENTRY.unpack_from(payload)
    return Entry(index, term, payload[_ENTRY.size :])


def decode_hard_state(payload: bytes) -> HardState:
    """Raises ValueError for a payload that is no hard state."""
    if len(payload) < _HARD_STATE.size:
        raise ValueError(f"a hard state of {len(payload)} bytes; at least {_HARD_STATE.size} are needed")
    term, commit = _HARD_STATE.unpack_from(payload)
    return HardState(term, payload[_HARD_STATE.size :].decode() or None, commit)


def decode_owner(payload: bytes) -> Owner:
    """Raises ValueError for a payload that is no owner."""
    try:
        return msgspec.msgpack.decode(payload, type=Owner)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the record that names the owner is unreadable: {error}") from error
