"""One outgoing connection to one peer, dialled again whenever it is lost or falls silent.

A partition drops packets and says nothing, and TCP then waits longer and longer before it tries again:
after a cut of ten seconds an old connection may stay mute for several more. So a connection on which
nothing was acknowledged for `silence_s` is dropped, and dialled anew, each attempt with a fresh SYN
and a short timeout: the first attempt after the partition's end succeeds. This takes for granted that a
round trip takes less than a heartbeat, which Raft's timing takes for granted anyway.

What cannot be sent is dropped, not kept: protocols tolerate loss, and what is stale only delays
what is new. Droppable frames give way to newer ones; `send_request` refuses instead, so that the caller
can say that nothing happened.
"""

import asyncio
import contextlib
import logging
import random
import socket
from collections import deque
from typing import Protocol, cast

import msgspec

from ..errors import ProtocolError
from .frames import MAX_HANDSHAKE_BYTES, FrameReader, frame
from .handshake import Dialling
from .sockets import SilenceDetector, prepare_peer_socket

log = logging.getLogger("faultlab.peers")

MAX_QUEUED_BYTES = 32 * 1024 * 1024
"""Of droppable frames, and of requests, each: beyond it the oldest goes, or the newest is refused."""
MAX_BUFFERED_BYTES = 4 * 1024 * 1024
"""Written but not yet taken by the kernel, beyond which even urgent frames are dropped."""
_HIGH_WATER_BYTES = 256 * 1024
WELCOME_TIMEOUT_S = 1.0
_RESOLVE_TIMEOUT_S = 1.0


class LinkTimes(msgspec.Struct, frozen=True):
    """How quickly a link gives up and tries again, in seconds."""

    connect_s: float
    """Until the peer's kernel has answered; its process may take WELCOME_TIMEOUT_S more."""
    silence_s: float
    """In flight and unacknowledged for so long: the connection is dropped."""
    check_s: float
    """Between two looks at it."""
    retry_min_s: float = 0.02
    """Before the next attempt, at random between half of it and all; doubled each time up to the next."""
    retry_max_s: float = 0.2

    @classmethod
    def for_heartbeat(cls, heartbeat_s: float) -> "LinkTimes":
        """For a protocol that sends something at least every `heartbeat_s`."""
        return cls(
            connect_s=min(max(2 * heartbeat_s, 0.1), 1.0),
            silence_s=min(max(2 * heartbeat_s, 0.1), 1.0),
            check_s=min(max(heartbeat_s / 2, 0.025), 0.25),
        )


class LinkCallbacks(Protocol):
    """What a link tells whoever holds it, and asks it."""

    def dialling(self, peer: str) -> Dialling:
        """A new handshake."""
        ...

    def refused(self, error: ProtocolError, who: str) -> None:
        """The handshake failed, for the fault of either side."""
        ...

    def up(self, peer: str, uuid: str) -> None:
        """The peer has proved itself under `uuid`, and this side is welcome."""
        ...

    def down(self, peer: str) -> None:
        """What was sent may be lost."""
        ...


class PeerLink:
    """Sends frames to one peer while it can."""

    def __init__(
        self,
        peer: str,
        address: tuple[str, int],
        times: LinkTimes,
        rng: random.Random,
        callbacks: LinkCallbacks,
    ) -> None:
        self.peer = peer
        self._address = address
        self._times = times
        self._rng = rng
        self._callbacks = callbacks
        self._resolved: tuple[socket.AddressFamily, tuple[str, int]] | None = None
        self._transport: asyncio.Transport | None = None
        self._connection: _Connection | None = None
        self._writable = True
        self._droppable: deque[bytes] = deque()
        self._requests: deque[bytes] = deque()
        self._droppable_bytes = 0
        self._request_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._complaint = ""
        self.dropped_frames = 0
        self.reconnects = 0

    @property
    def connected(self) -> bool:
        """Whether the peer has welcomed this connection and it has not been lost since."""
        return self._open() is not None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are dialled."""
        return self._address

    def move(self, address: tuple[str, int]) -> None:
        """Dials another address from now on; a connection to the one before is dropped."""
        if address != self._address:
            self._address = address
            self._resolved = None
            if self._connection is not None:
                self._connection.transport.abort()

    def start(self) -> None:
        """Dials, now and ever again."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"link to {self.peer}")

    async def stop(self) -> None:
        """Closes for good."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def send_urgent(self, channel: int, payload: bytes) -> None:
        """Sends ahead of everything that waits; dropped when there is no connection or it is choked."""
        transport = self._open()
        if transport is None or transport.get_write_buffer_size() > MAX_BUFFERED_BYTES:
            self.dropped_frames += 1
        else:
            transport.write(frame(channel, payload))

    def send_bulk(self, channel: int, payload: bytes) -> None:
        """Sends in order behind other bulk; over the bound the oldest waiting is dropped."""
        transport = self._open()
        if transport is None:
            self.dropped_frames += 1
        elif self._writable and not self._droppable:
            transport.write(frame(channel, payload))
        else:
            data = frame(channel, payload)
            self._droppable.append(data)
            self._droppable_bytes += len(data)
            while self._droppable_bytes > MAX_QUEUED_BYTES:
                self._droppable_bytes -= len(self._droppable.popleft())
                self.dropped_frames += 1

    def send_request(self, channel: int, payload: bytes) -> bool:
        """As `send_bulk`, but False, and certainly not sent, when it cannot be. `on_down` ends it else."""
        transport = self._open()
        if transport is None:
            return False
        if self._writable and not self._requests:
            transport.write(frame(channel, payload))
            return True
        if self._request_bytes + len(payload) > MAX_QUEUED_BYTES:
            return False
        data = frame(channel, payload)
        self._requests.append(data)
        self._request_bytes += len(data)
        return True

    def check(self, now_s: float) -> None:
        """Drops the connection if it has been silent for too long. Called every `check_s`."""
        if self._connection is not None:
            self._connection.drop_if_silent(now_s, self._times.silence_s)

    def writable(self, writable: bool) -> None:
        """The socket's buffer has filled up or emptied."""
        self._writable = writable
        while self._writable and (transport := self._open()) and (self._requests or self._droppable):
            if self._requests:
                data = self._requests.popleft()
                self._request_bytes -= len(data)
            else:
                data = self._droppable.popleft()
                self._droppable_bytes -= len(data)
            transport.write(data)

    def _open(self) -> asyncio.Transport | None:
        """What can be written to. A connection that was just dropped is held until the loop's next turns,
        and uvloop raises RuntimeError at a write to it."""
        transport = self._transport
        return None if transport is None or transport.is_closing() else transport

    async def _run(self) -> None:
        delay_s = self._times.retry_min_s
        while True:
            try:
                connection = await self._connect()
            except (OSError, ProtocolError, TimeoutError) as error:
                self._complain(error)
                if isinstance(error, ProtocolError):
                    self._callbacks.refused(error, self.peer)
                if isinstance(error, TimeoutError):  # silence has used up time already; a refusal none
                    delay_s = self._times.retry_min_s
                await asyncio.sleep(delay_s * self._rng.uniform(0.5, 1.0))
                delay_s = min(2 * delay_s, self._times.retry_max_s)
                continue
            delay_s = self._times.retry_min_s
            self._complaint = ""
            await self._hold(connection)
            self.reconnects += 1

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        family, address = await self._resolve()
        sock = socket.socket(family, socket.SOCK_STREAM)
        connection: _Connection | None = None
        try:
            sock.setblocking(False)
            prepare_peer_socket(sock)
            async with asyncio.timeout(self._times.connect_s):
                await loop.sock_connect(sock, address)
            async with asyncio.timeout(WELCOME_TIMEOUT_S):
                detector = SilenceDetector(sock)
                dialling = self._callbacks.dialling(self.peer)
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, detector, dialling), sock=sock
                )
                if connection.transport.is_closing():
                    raise ConnectionResetError(connection.reason)
                connection.transport.write(dialling.hello())
                await connection.welcome
        except BaseException:
            if connection is not None:
                connection.transport.abort()
            else:
                sock.close()
            raise
        return connection

    async def _resolve(self) -> tuple[socket.AddressFamily, tuple[str, int]]:
        """Looks the name up anew, as a restarted pod has a new address; else the last answer serves."""
        host, port = self._address
        try:
            async with asyncio.timeout(_RESOLVE_TIMEOUT_S):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            if self._resolved is None:
                raise
        else:
            family, _, _, _, address = found[0]
            self._resolved = (family, (str(address[0]), int(address[1])))
        return self._resolved

    async def _hold(self, connection: "_Connection") -> None:
        """Keeps the connection in use until it is lost or silent."""
        transport = connection.transport
        transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._writable = True
        self._transport = transport
        log.info("connected to %s", self.peer)
        self._callbacks.up(self.peer, connection.dialling.uuid)
        self._connection = connection
        try:
            await connection.lost
        finally:
            self._transport = self._connection = None
            transport.abort()
            self._droppable.clear()
            self._requests.clear()
            self._droppable_bytes = self._request_bytes = 0
            log.info("connection to %s lost: %s", self.peer, connection.reason)
            self._callbacks.down(self.peer)

    def _complain(self, error: Exception) -> None:
        """Logs why dialling fails, once for each reason."""
        complaint = str(error) or type(error).__name__
        if complaint != self._complaint:
            self._complaint = complaint
            log.info("cannot reach %s at %s:%d: %s", self.peer, *self._address, complaint)


class _Connection(asyncio.Protocol):
    """The dialling side of one connection: reads nothing but the answers to its handshake."""

    transport: asyncio.Transport

    def __init__(self, link: PeerLink, detector: SilenceDetector, dialling: Dialling) -> None:
        loop = asyncio.get_running_loop()
        self._link = link
        self._detector = detector
        self.dialling = dialling
        self._reader = FrameReader(MAX_HANDSHAKE_BYTES)
        self.welcome: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.reason = "closed by the other side"

    def drop_if_silent(self, now_s: float, limit_s: float) -> None:
        """Ends the connection when nothing that is in flight was acknowledged for `limit_s`."""
        if self.lost.done():
            return
        silent_s = self._detector.silent_for(now_s)
        if silent_s > limit_s:
            self.reason = f"nothing acknowledged for {silent_s * 1000:.0f} ms"
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        try:
            for channel, payload in self._reader.feed(data):
                answer = self.dialling.received(channel, payload)
                if answer is not None:
                    self.transport.write(answer)
                elif not self.welcome.done():
                    self.welcome.set_result(None)
        except ProtocolError as error:
            self.reason = str(error)
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.reason = str(exc)
        self._fail(exc or ConnectionResetError(self.reason))
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._link.writable(False)

    def resume_writing(self) -> None:
        self._link.writable(True)

    def _fail(self, error: Exception) -> None:
        if not self.welcome.done():
            self.welcome.set_exception(error)
        self.transport.abort()
