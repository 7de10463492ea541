"""Frames on a peer connection, and the handshake that begins it.

A frame is `uint32 length, uint8 channel, payload` (little endian; `length` counts the payload). The
dialling side sends HELLO, the other answers WELCOME, or REFUSED with the reason and closes. After
that only the dialling side sends. Channels from FIRST_CHANNEL on belong to the system.
"""

import struct

import msgspec

from ..errors import ProtocolError

HELLO = 1
WELCOME = 2
REFUSED = 3
FIRST_CHANNEL = 16

MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_HANDSHAKE_BYTES = 4096
"""The bound on frames until the handshake is done."""
PROTOCOL_VERSION = 1

_HEADER = struct.Struct("<IB")


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """Who dials, and whom it means to reach."""

    version: int
    cluster: str
    sender: str
    to: str


def frame(channel: int, payload: bytes) -> bytes:
    """The wire form; `payload` has at most MAX_FRAME_BYTES."""
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(payload)} bytes; at most {MAX_FRAME_BYTES} are allowed")
    return _HEADER.pack(len(payload), channel) + payload


def encode_hello(hello: Hello) -> bytes:
    """HELLO as a frame."""
    return frame(HELLO, msgspec.msgpack.encode(hello))


def decode_hello(payload: bytes) -> Hello:
    """Raises ProtocolError for anything that is no HELLO."""
    try:
        return msgspec.msgpack.decode(payload, type=Hello)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"not a handshake: {error}") from error


class FrameReader:
    """Cuts a stream into frames; buffers at most one frame and one chunk."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames (channel, payload) that are complete now; raises ProtocolError for one too large."""
        buffer = self._buffer
        buffer += data
        frames: list[tuple[int, bytes]] = []
        at = 0
        while len(buffer) - at >= _HEADER.size:
            length, channel = _HEADER.unpack_from(buffer, at)
            if length > self.max_frame_bytes:
                raise ProtocolError(f"a frame of {length} bytes; at most {self.max_frame_bytes} are allowed")
            end = at + _HEADER.size + length
            if end > len(buffer):
                break
            frames.append((channel, bytes(buffer[at + _HEADER.size : end])))
            at = end
        del buffer[:at]
        return frames
