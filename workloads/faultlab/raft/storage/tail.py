"""What the end of a log says: torn by a crash, so cut off; or damaged, so refused. etcd's rule.

A group is written only after the one before was synced. So, where a group is not as it was written:

- Something of a later one is there: it had been synced. Damage.
- It is the last, and short (the file ends in it), or sectors of it are zeros that were not written as zeros:
  what a power cut leaves of a write that was not synced, which arrives sector by sector, in any order. Torn.
- It is the last, and anything else is wrong with it: no power cut does that. Damage. So is anything else
  than zeros where a group would begin, but for a few bits that flipped in a sector that was never written.

Sectors are written whole or not at all, and an unwritten one holds zeros: a segment is zeros before it gets
its name, and whatever a crash left behind the log's end is zeroed before the log goes on.

What this cannot tell apart: a last group that was synced and that the disk zeroed in part, or whose file was
cut, afterwards. It is taken for torn (docs/systems/raft-storage.md).
"""

from typing import Literal, TypeAlias

import msgspec

from .groups import (
    MAGIC,
    SECTOR_BYTES,
    GroupHeader,
    Place,
    body_is_whole,
    count_zero_sectors,
    read_header,
)

Verdict: TypeAlias = Literal["clean", "torn", "damaged"]

MAX_STRAY_BYTES = 4
"""A sector in which a group begins has more bytes than that which are not zero, even where bits flipped."""

_ZEROS = bytes(1024 * 1024)


class Tail(msgspec.Struct, frozen=True):
    """What begins at `offset`, where no whole group does."""

    verdict: Verdict
    offset: int
    what: str
    """For people; empty if clean."""
    end: int
    """Behind the last byte that is not zero; `offset` if all is zeros."""


def group_at(data: bytes, place: Place) -> GroupHeader | None:
    """The whole group that is at `place` and follows from the one before; None if none does."""
    header = _header_at(data, place)
    return header if header is not None and body_is_whole(data, header) else None


def judge_tail(data: bytes, place: Place) -> Tail:
    """What to make of the rest of the last segment, at whose `place` there is no whole group."""
    offset = place.offset
    end = _content_end(data, offset)
    if end == offset:
        return Tail("clean", offset, "", end)
    verdict, what = _judge(data, place, end)
    return Tail(verdict, offset, what, end)


def _judge(data: bytes, place: Place, end: int) -> tuple[Verdict, str]:
    offset, number = place.offset, place.number
    proof = _proof_of_damage(data, place)
    if proof is not None:
        return "damaged", proof
    header = _header_at(data, place)
    if header is None:
        if offset + SECTOR_BYTES > len(data):
            return "torn", f"the file ends in the header of group {number}"
        if SECTOR_BYTES - data.count(0, offset, offset + SECTOR_BYTES) <= MAX_STRAY_BYTES:
            return "torn", f"the first sector of group {number} was never written"
        return "damaged", f"the header of group {number} is not what was written, in a sector that was"
    if header.end > len(data):
        return "torn", f"the file ends in group {number}"
    if end > header.end:
        return "damaged", (
            f"group {number} is not as it was written, and something was written behind it, at byte"
            f" {header.end}, which was done only after it had been synced"
        )
    missing = count_zero_sectors(data, offset, header.end) - header.zero_sectors
    if missing > 0:
        return "torn", f"{missing} of the sectors of group {number} were never written"
    return "damaged", f"group {number} is not what was written, though all of its sectors were"


def _header_at(data: bytes, place: Place) -> GroupHeader | None:
    header = read_header(data, place.offset, place.salt)
    if header is None or (header.segment, header.offset) != (place.segment, place.offset):
        return None
    return header if (header.number, header.previous) == (place.number, place.previous) else None


def _proof_of_damage(data: bytes, place: Place) -> str | None:
    """What the headers behind `place` prove of the group there; None if nothing.

    A header is enough: it lies in one sector, and was written after the sync of all groups before its own.
    """
    number, at = place.number, place.offset
    while (at := data.find(MAGIC, at + 1)) >= 0:
        header = read_header(data, at, place.salt) if at % SECTOR_BYTES == 0 else None
        if header is None or header.segment != place.segment or header.number < number:
            continue
        if header.number == number:
            return f"the header of group {number}, which belongs to byte {header.offset}, is at byte {at}"
        return (
            f"group {number} is not as it was written, and of group {header.number}, which was written only"
            f" after it had been synced, there is the header at byte {at}"
        )
    return None


def _content_end(data: bytes, start: int) -> int:
    """Behind the last byte from `start` on that is not zero; `start` if there is none."""
    end = len(data)
    while end > start:
        begin = max(start, end - len(_ZEROS))
        chunk = data[begin:end]
        if chunk != _ZEROS[: end - begin]:
            return begin + len(chunk.rstrip(b"\0"))
        end = begin
    return start
