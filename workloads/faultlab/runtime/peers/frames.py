"""Frames on a peer connection.

A frame is `uint32 length, uint8 channel, payload` (little endian; `length` counts the payload). The first
channels belong to the handshake (handshake.py); from FIRST_CHANNEL on they belong to the system. After the
handshake only the dialling side sends.
"""

import struct

from ..errors import ProtocolError

HELLO = 1
WELCOME = 2
REFUSED = 3
CHALLENGE = 4
PROOF = 5
REFUSED_IDENTITY = 6
FIRST_CHANNEL = 16

MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_HANDSHAKE_BYTES = 4096
"""The bound on frames until the handshake is done."""

_HEADER = struct.Struct("<IB")


def frame(channel: int, payload: bytes) -> bytes:
    """The wire form; `payload` has at most MAX_FRAME_BYTES."""
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(payload)} bytes; at most {MAX_FRAME_BYTES} are allowed")
    return _HEADER.pack(len(payload), channel) + payload


class FrameReader:
    """Cuts a stream into frames. Holds at most one, and nothing of one whose length is over the bound."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.max_frame_bytes = max_frame_bytes
        self._header = b""
        self._channel = 0
        self._missing = 0
        self._payload = bytearray()
        """Of the frame that is under way; `_missing` bytes of it are still to come."""

    @property
    def held_bytes(self) -> int:
        """Of the frame that is under way."""
        return len(self._header) + len(self._payload)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames (channel, payload) that are complete now; raises ProtocolError for one too large."""
        frames: list[tuple[int, bytes]] = []
        at, end = 0, len(data)
        if self._missing:
            at = min(self._missing, end)
            self._payload += data[:at]
            self._missing -= at
            if self._missing:
                return frames
            frames.append((self._channel, bytes(self._payload)))
            self._payload = bytearray()
        elif self._header:
            data, self._header = self._header + data, b""
            end = len(data)
        while end - at >= _HEADER.size:
            length, channel = _HEADER.unpack_from(data, at)
            if length > self.max_frame_bytes:
                raise ProtocolError(f"a frame of {length} bytes; at most {self.max_frame_bytes} are allowed")
            at += _HEADER.size
            if length > end - at:
                self._channel, self._missing = channel, length - (end - at)
                self._payload += data[at:]
                return frames
            frames.append((channel, data[at : at + length]))
            at += length
        self._header = data[at:]
        return frames
