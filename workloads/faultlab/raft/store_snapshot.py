"""The state machine as bytes: what a snapshot of the log holds, and how it is read back.

Layout: MAGIC, then frames, each a little-endian u32 length and a MessagePack array:

    [0, version, applied index, applied term, digest, log time]      first, once
    [1, key, value, key, value, ...]                                a value is bytes, or a list of them
    [2, value, value, ...]                                          more of the list that came last
    [3, [id, user, ttl, used, floor,
         [number, ...], [command's hash, ...], [reply, ...]], ...]     sessions, least recently used first
    [9, keys, sessions]                                             last, once: how many there were

Everything comes in the order in which the store holds it, which the log decided, so every member writes
the same bytes for the same log. A frame ends with the first item that brings it to SLICE_BYTES.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from faultlab.runtime.resp.encoder import Result

from .errors import BadState
from .lists import Data, ListValue, size_of
from .log_digest import DigestState
from .sessions import Fingerprint, Session, kept_bytes

MAGIC = b"FLKV"
VERSION = 2
SLICE_BYTES = 256 * 1024
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Far beyond what a slice with the largest value or session in it takes."""

_HEAD, _VALUES, _MORE, _SESSIONS, _END = 0, 1, 2, 3, 9
_LENGTH = struct.Struct("<I")
_ITEM_OVERHEAD_BYTES = 8

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list).decode


class FrozenStore(msgspec.Struct, frozen=True):
    """The state after one entry. Nothing applied later changes it, so any thread may read it."""

    applied_index: int
    applied_term: int
    digest: DigestState
    """Of the log up to `applied_index`."""
    log_time_ms: int
    data: Data
    sessions: Sequence[Session]

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, in pieces of about SLICE_BYTES; each is made when it is asked for."""
        yield MAGIC + _frame(
            [_HEAD, VERSION, self.applied_index, self.applied_term, self.digest, self.log_time_ms]
        )
        yield from map(_frame, _value_frames(self.data))
        yield from map(_frame, _session_frames(self.sessions))
        yield _frame([_END, len(self.data), len(self.sessions)])


def read_chunks(chunks: Iterable[bytes]) -> FrozenStore:
    """The store whose bytes these are, however they are cut; raises BadState where they are not one's."""
    frames = _frames(chunks)
    index, term, digest, log_time_ms = _head(next(frames, None))
    data: Data = {}
    sessions: list[Session] = []
    last: bytes | None = None
    for frame in frames:
        kind = frame[0] if frame else None
        if kind == _VALUES:
            last = _take_values(data, frame)
        elif kind == _MORE:
            _take_more(data, last, frame)
        elif kind == _SESSIONS:
            sessions += [_session(fields) for fields in frame[1:]]
        elif kind == _END:
            if frame[1:] != [len(data), len(sessions)] or next(frames, None) is not None:
                raise BadState(
                    f"the snapshot's end names {frame[1:]} keys and sessions, and there were"
                    f" {[len(data), len(sessions)]}; it is damaged"
                )
            return FrozenStore(index, term, digest, log_time_ms, data, sessions)
        else:
            raise BadState(f"the snapshot has a frame of unknown kind {kind!r}; it is damaged")
    raise BadState("the snapshot has no end; it was cut off")


def _frame(content: list[Any]) -> bytes:
    body = _encode(content)
    return _LENGTH.pack(len(body)) + body


def _value_frames(data: Data) -> Iterator[list[Any]]:
    frame: list[Any] = [_VALUES]
    size = 0
    for key, value in data.items():
        if type(value) is bytes:
            frame += (key, value)
            size += len(key) + len(value) + _ITEM_OVERHEAD_BYTES
        else:
            assert type(value) is ListValue
            *full, rest = _slices(value.items, SLICE_BYTES - size)
            for part in full:
                yield [*frame, key, part] if frame[0] == _VALUES else [_MORE, *part]
                frame = [_MORE]
            if full:
                frame, size = [_VALUES], 0
                yield [_MORE, *rest]
            else:
                frame += (key, rest)
                size += len(key) + size_of(rest)
        if size >= SLICE_BYTES:
            yield frame
            frame, size = [_VALUES], 0
    if len(frame) > 1:
        yield frame


def _slices(items: list[bytes], first_bytes: int) -> list[list[bytes]]:
    """The list in parts, the first of about `first_bytes`; at least one, of none or more items."""
    parts: list[list[bytes]] = [[]]
    room = first_bytes
    for item in items:
        if room <= 0 and parts[-1]:
            parts.append([])
            room = SLICE_BYTES
        parts[-1].append(item)
        room -= len(item) + _ITEM_OVERHEAD_BYTES
    return parts


def _session_frames(sessions: Sequence[Session]) -> Iterator[list[Any]]:
    frame: list[Any] = [_SESSIONS]
    size = 0
    for each in sessions:
        head = [each.id, each.user, each.ttl_ms, each.used_ms, each.floor]
        numbers = list(each.replies)
        commands = [each.commands[number] for number in numbers]
        frame.append([*head, numbers, commands, list(each.replies.values())])
        size += each.kept_bytes + _ITEM_OVERHEAD_BYTES
        if size >= SLICE_BYTES:
            yield frame
            frame, size = [_SESSIONS], 0
    if len(frame) > 1:
        yield frame


def _frames(chunks: Iterable[bytes]) -> Iterator[list[Any]]:
    buffer = bytearray()
    begun = False
    for chunk in chunks:
        buffer += chunk
        at = 0
        if not begun:
            if len(buffer) < len(MAGIC):
                continue
            if buffer[: len(MAGIC)] != MAGIC:
                raise BadState("these bytes are no snapshot of the key-value store")
            begun, at = True, len(MAGIC)
        while len(buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if length > MAX_FRAME_BYTES:
                raise BadState(f"the snapshot has a frame of {length} bytes; it is damaged")
            end = at + _LENGTH.size + length
            if end > len(buffer):
                break
            try:
                yield _decode(memoryview(buffer)[at + _LENGTH.size : end])
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise BadState(f"the snapshot has a frame that cannot be read: {error}") from error
            at = end
        del buffer[:at]
    if buffer or not begun:
        raise BadState(f"the snapshot ends in the middle of a frame, {len(buffer)} bytes into it")


def _head(frame: list[Any] | None) -> tuple[int, int, DigestState, int]:
    if frame is None or len(frame) < 2 or frame[0] != _HEAD:
        raise BadState("a snapshot of the key-value store must begin with its head; it is damaged")
    if frame[1] != VERSION:
        raise BadState(
            f"the snapshot has version {frame[1]} and this program reads {VERSION};"
            " run the version that wrote it"
        )
    try:
        return msgspec.convert(frame[2:], tuple[int, int, DigestState, int])
    except msgspec.ValidationError as error:
        raise BadState(f"the snapshot's head cannot be read: {error}") from error


def _take_values(data: Data, frame: list[Any]) -> bytes | None:
    """The frame's last key."""
    if len(frame) % 2 == 0:
        raise BadState("the snapshot has a key without a value; it is damaged")
    key: bytes | None = None
    for key, value in zip(frame[1::2], frame[2::2], strict=True):
        if type(key) is not bytes or key in data:
            raise BadState(f"the snapshot has the key {key!r} where a new one belongs; it is damaged")
        if type(value) is list:
            data[key] = ListValue(_texts(value), size_of(value), 0)
        elif type(value) is bytes:
            data[key] = value
        else:
            raise BadState(f"the snapshot has the value {value!r}, neither bytes nor a list; it is damaged")
    return key


def _take_more(data: Data, key: bytes | None, frame: list[Any]) -> None:
    value = None if key is None else data[key]
    if not isinstance(value, ListValue):
        raise BadState("the snapshot goes on with a list that it did not begin; it is damaged")
    more = _texts(frame[1:])
    value.items += more
    value.size += size_of(more)


def _texts(items: list[Any]) -> list[bytes]:
    if not all(type(item) is bytes for item in items):
        raise BadState("the snapshot has a list of other things than bytes; it is damaged")
    return items


def _session(fields: Any) -> Session:
    try:
        session_id, user, ttl_ms, used_ms, floor, numbers, fingerprints, answers = fields
        replies: dict[int, Result] = dict(zip(numbers, answers, strict=True))
        commands: dict[int, Fingerprint] = dict(zip(numbers, fingerprints, strict=True))
    except (TypeError, ValueError) as error:
        raise BadState(f"the snapshot has a session that cannot be read: {error}") from error
    if not all(type(field) is int for field in (session_id, ttl_ms, used_ms, floor, *replies)):
        raise BadState("the snapshot has a session without numbers; it is damaged")
    if type(user) is not str or not all(type(command) is bytes for command in fingerprints):
        raise BadState("the snapshot has a session without a user or its commands' hashes; it is damaged")
    return Session(session_id, user, ttl_ms, used_ms, floor, replies, commands, kept_bytes(answers))
