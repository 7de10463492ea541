"""The bytes of the write-ahead log: groups, each of which one write and one sync made durable.

A segment is a file of a fixed size, zeros at first, with one group after another in it. A group begins at
a multiple of 512 bytes (SECTOR_BYTES) and fills its last sector up with zeros, so no sector that was synced
is ever written again. Little endian:

    magic         4 bytes  b"FLG1"
    header crc    uint32   CRC32C of the rest of the header, begun with the log's salt
    number        uint64   of the group: one more than the one before, in this segment or the last
    offset        uint64   in the file, of this group: a copy in another place is none
    segment       uint32   the file's own number: likewise
    length        uint32   of the body
    zero sectors  uint32   how many of the group's sectors consist of zeros, as it was written
    body crc      uint32   CRC32C of the body and of the zeros that fill the last sector
    previous      uint32   the header crc of the group before: a group of another past does not follow

The body is a MessagePack array, `GroupBody`. One CRC for a group and one call that encodes or decodes all its
entries are what makes an entry cost a tenth of a microsecond. The header lies within one sector, so it
is there whole or not at all, and what it says of its group can be relied on even where the body is torn.

The salt is made from the log's uuid: what clients store cannot look like a group by accident or by design.
The first group of each segment (`GroupBody.owner`) has none, as the uuid is in it.
"""

import struct
from typing import NamedTuple

import msgspec

from ..checksum import crc32c, extend_crc32c
from ..configuration import Configuration
from ..messages import Entry, HardState, NodeId

SECTOR_BYTES = 512
MAGIC = b"FLG1"
FORMAT = 2
"""1 was a single file of records, each with a CRC-32 of its own."""

_PREFIX = struct.Struct("<4sI")
_REST = struct.Struct("<QQIIIII")
HEADER_BYTES = _PREFIX.size + _REST.size

ZERO_SECTOR = bytes(SECTOR_BYTES)


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """Whose log it is, in the first group of each segment."""

    format: int
    cluster: str
    member: NodeId
    uuid: str
    """Made when the directory was; who knows the id under another one knows that its data was lost."""
    bootstrap: Configuration
    """The configuration that this member began with, that of the snapshot of index 0."""
    segment_bytes: int
    """The size that this segment was given."""


class Reset(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot was installed: the log goes on behind `index`, and holds nothing of before."""

    index: int
    term: int


class GroupBody(msgspec.Struct, array_like=True, frozen=True):
    """What a group holds, in the order in which it counts."""

    reset: Reset | None = None
    entries: list[Entry] = []
    """Each replaces what the log had from its index on."""
    hard_state: HardState | None = None
    peers: dict[NodeId, str] = {}
    """uuids that this member has learned; they add to those of before."""
    owner: Owner | None = None


class GroupHeader(NamedTuple):
    """As in the module's docstring; `crc` is the header's."""

    number: int
    offset: int
    segment: int
    length: int
    zero_sectors: int
    body_crc: int
    previous: int
    crc: int

    @property
    def end(self) -> int:
        """Where the next group begins."""
        return padded(self.offset + HEADER_BYTES + self.length)


class Place(NamedTuple):
    """Where the next group goes, and what it has to say to follow from the one before."""

    segment: int
    offset: int
    number: int
    previous: int
    salt: int

    def after(self, header: GroupHeader) -> "Place":
        """The place behind the group that is at this one."""
        return Place(self.segment, header.end, header.number + 1, header.crc, self.salt)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(GroupBody).decode


def padded(size: int) -> int:
    """`size` filled up to whole sectors."""
    return -(-size // SECTOR_BYTES) * SECTOR_BYTES


def salt_of(uuid: str) -> int:
    """What the header CRCs of a log begin with."""
    return crc32c(uuid.encode())


def encode_body(body: GroupBody) -> bytes:
    """The body of a group; it does not know its place yet."""
    return _encode(body)


def encode_group(place: Place, body: bytes) -> tuple[bytes, GroupHeader]:
    """The bytes of a group at `place`, whole sectors of them."""
    length = len(body)
    size = padded(HEADER_BYTES + length)
    content = body + bytes(size - HEADER_BYTES - length)
    # A run of zeros that fills no sector counts as none; so the exact count is needed seldom.
    zeros = _zero_sectors_behind_header(content) if ZERO_SECTOR in content else 0
    fields = (place.number, place.offset, place.segment, length, zeros, crc32c(content), place.previous)
    rest = _REST.pack(*fields)
    crc = extend_crc32c(place.salt, rest)
    return b"".join((_PREFIX.pack(MAGIC, crc), rest, content)), GroupHeader._make((*fields, crc))


def read_header(data: bytes, at: int, salt: int) -> GroupHeader | None:
    """The header that is at byte `at` of a segment, its CRC verified; None if there is none.

    Where it belongs (`offset`, `segment`) is for the caller to compare.
    """
    if at + HEADER_BYTES > len(data) or data[at : at + 4] != MAGIC:
        return None
    rest = data[at + _PREFIX.size : at + HEADER_BYTES]
    _, crc = _PREFIX.unpack_from(data, at)
    if extend_crc32c(salt, rest) != crc:
        return None
    return GroupHeader._make((*_REST.unpack(rest), crc))


def body_is_whole(data: bytes, header: GroupHeader) -> bool:
    """Whether the body is in `data`, and is what was written."""
    content = data[header.offset + HEADER_BYTES : header.end]
    return len(content) == header.end - header.offset - HEADER_BYTES and crc32c(content) == header.body_crc


def decode_body(data: bytes, header: GroupHeader) -> GroupBody:
    """The body of a group that is whole; raises ValueError if it is no body all the same."""
    start = header.offset + HEADER_BYTES
    try:
        return _decode(memoryview(data)[start : start + header.length])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"its group {header.number} cannot be read ({error}); a newer version?") from error


def count_zero_sectors(data: bytes, start: int, end: int) -> int:
    """How many whole sectors from `start`, a sector's beginning, to `end` are zeros."""
    return sum(data[at : at + SECTOR_BYTES] == ZERO_SECTOR for at in range(start, end, SECTOR_BYTES))


def _zero_sectors_behind_header(content: bytes) -> int:
    return count_zero_sectors(content, SECTOR_BYTES - HEADER_BYTES, len(content))
