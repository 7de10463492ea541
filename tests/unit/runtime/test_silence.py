"""When a connection counts as silent: by what the kernel says is in flight and acknowledged."""

import socket
import struct
from typing import Any

import pytest

from faultlab.runtime.peers.sockets import SilenceDetector, prepare_peer_socket


class Kernel:
    """Answers getsockopt(TCP_INFO) as Linux does."""

    def __init__(self) -> None:
        self.unacked = 0
        self.ms_since_ack = 0

    def getsockopt(self, *_: Any) -> bytes:
        info = bytearray(104)
        struct.pack_into("=I", info, 24, self.unacked)
        struct.pack_into("=I", info, 56, self.ms_since_ack)
        return bytes(info)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def test_nothing_in_flight_is_never_silence(kernel: Kernel) -> None:
    detector = SilenceDetector(kernel)  # type: ignore[arg-type]
    kernel.ms_since_ack = 60_000
    assert detector.silent_for(100.0) == 0.0


def test_silence_counts_from_when_something_was_in_flight_not_from_the_last_acknowledgement(
    kernel: Kernel,
) -> None:
    """After a long rest the last acknowledgement is old, and the connection is fine."""
    detector = SilenceDetector(kernel)  # type: ignore[arg-type]
    kernel.unacked, kernel.ms_since_ack = 1, 60_000
    assert detector.silent_for(100.0) == 0.0
    assert detector.silent_for(100.2) == pytest.approx(0.2)


def test_an_acknowledgement_ends_the_silence_though_more_is_in_flight(kernel: Kernel) -> None:
    detector = SilenceDetector(kernel)  # type: ignore[arg-type]
    kernel.unacked, kernel.ms_since_ack = 3, 500
    detector.silent_for(100.0)
    kernel.ms_since_ack = 10
    assert detector.silent_for(100.2) == pytest.approx(0.01)
    kernel.unacked = 0
    assert detector.silent_for(100.3) == 0.0


def test_real_sockets_show_what_is_in_flight() -> None:
    """On loopback all is acknowledged at once: bytes in flight stay unseen, and the call works."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sock,
    ):
        prepare_peer_socket(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        sock.sendall(b"x")
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        assert len(info) >= 60
        assert SilenceDetector(sock).silent_for(100.0) == 0.0


def test_a_kernel_that_tells_nothing_never_shows_silence() -> None:
    class Mute:
        def getsockopt(self, *_: Any) -> bytes:
            raise OSError("not here")

    detector = SilenceDetector(Mute())  # type: ignore[arg-type]
    assert detector.silent_for(100.0) == detector.silent_for(200.0) == 0.0
