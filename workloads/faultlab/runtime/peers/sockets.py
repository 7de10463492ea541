"""Socket options that make a silent network show: who acknowledges nothing is given up soon."""

import contextlib
import socket
import struct

_USER_TIMEOUT_MS = 1000
_NOT_SENT_LOW_WATER_BYTES = 128 * 1024
_TCP_INFO_BYTES = 104
_UNACKED = struct.Struct("=24xI")
_LAST_ACK_RECEIVED = struct.Struct("=56xI")


def prepare_peer_socket(sock: socket.socket) -> None:
    """No delay, little unsent in the kernel (a heartbeat queues behind all of it), early give-up.

    Options that a kernel does not know are left out: they only make recovery quicker.
    """
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", None), _USER_TIMEOUT_MS),
        (socket.IPPROTO_TCP, getattr(socket, "TCP_NOTSENT_LOWAT", None), _NOT_SENT_LOW_WATER_BYTES),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", None), 2),
        (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", None), 1),
        (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPCNT", None), 3),
    ):
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(level, option, value)


class SilenceDetector:
    """Says how long a connection has had segments in flight of which none was acknowledged.

    Reads the kernel's `struct tcp_info` (linux/tcp.h): `tcpi_unacked`, segments, at byte 24, and
    `tcpi_last_ack_recv`, milliseconds since the last acknowledgement, at byte 56. Where it cannot be read
    nothing is ever silent, and TCP_USER_TIMEOUT is what ends the connection.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._waiting_since: float | None = None

    def silent_for(self, now_s: float) -> float:
        """Seconds; 0 when nothing is in flight. Call it regularly: it sees only what is so then."""
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        except (OSError, AttributeError):
            return 0.0
        if len(info) < _LAST_ACK_RECEIVED.size or not _UNACKED.unpack_from(info)[0]:
            self._waiting_since = None
            return 0.0
        last_ack_at = now_s - _LAST_ACK_RECEIVED.unpack_from(info)[0] / 1000
        if self._waiting_since is None:
            self._waiting_since = now_s
        self._waiting_since = max(self._waiting_since, last_ack_at)
        return now_s - self._waiting_since
