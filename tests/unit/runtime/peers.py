"""Members' transports on loopback, and strangers that speak their protocol."""

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any

from faultlab.runtime.peers.frames import FrameReader
from faultlab.runtime.peers.handshake import Dialling, Hello, Identity, encode_hello
from faultlab.runtime.peers.link import LinkTimes
from faultlab.runtime.peers.transport import PeerTransport

TIMES = LinkTimes.for_heartbeat(0.05)
KEY = bytes(range(32))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def until(condition: Callable[[], object], deadline_s: float = 5) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.002)


class End:
    """One member's transport and what it saw."""

    def __init__(
        self,
        name: str,
        peers: dict[str, int],
        cluster: str = "demo",
        on_frame: Callable[[str, int, bytes], None] | None = None,
        **options: Any,
    ) -> None:
        self.received: list[tuple[str, int, bytes]] = []
        self.downs: list[str] = []
        self.lost: list[str] = []
        self.refused_identity: list[str] = []
        self.learned: dict[str, str] = {}
        self.transport = PeerTransport(
            cluster,
            name,
            {peer: ("127.0.0.1", port) for peer, port in peers.items()},
            TIMES,
            random.Random(1),
            on_frame=on_frame or (lambda *frame: self.received.append(frame)),
            on_up=lambda _peer: None,
            on_down=self.downs.append,
            on_incoming_lost=self.lost.append,
            on_refused_identity=self.refused_identity.append,
            on_learned=lambda peer, uuid: self.learned.update({peer: uuid}),
            **options,
        )

    def connected(self, peer: str) -> bool:
        link = self.transport.links.get(peer)
        return link is not None and link.connected

    def refusals(self) -> dict[str, int]:
        return {reason: count for reason, count in self.transport.refusals.items() if count}


class Members:
    """Some members, each on a port of its own; `ports` is the configuration they start with."""

    def __init__(self, *names: str) -> None:
        self.ports = {name: free_port() for name in names}
        self.ends: list[End] = []

    async def start(self, name: str, **options: Any) -> End:
        peers = options.pop("peers", {peer: port for peer, port in self.ports.items() if peer != name})
        end = End(name, peers, **options)
        self.ends.append(end)
        await end.transport.start("127.0.0.1", self.ports[name])
        return end

    async def stop(self) -> None:
        for end in self.ends:
            await end.transport.stop()


class Stranger:
    """A connection whose other end has shaken no hands yet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._frames = FrameReader()
        self._read: list[tuple[int, bytes]] = []

    @classmethod
    async def connect(cls, port: int) -> "Stranger":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def answer(self) -> tuple[int, bytes]:
        """The next frame; (0, b"") when the connection has ended."""
        async with asyncio.timeout(5):
            while not self._read:
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    data = b""
                if not data:
                    return 0, b""
                self._read += self._frames.feed(data)
        return self._read.pop(0)

    async def say(self, data: bytes) -> tuple[int, bytes]:
        self.writer.write(data)
        return await self.answer()

    async def shake_hands(self, own: Identity, to: str) -> tuple[int, bytes]:
        """As a member with `own` identity would; the last frame of the answer."""
        dialling = Dialling(own, to, lambda _id, _uuid: None)
        frame = await self.say(dialling.hello())
        if (proof := dialling.received(*frame)) is not None:
            frame = await self.say(proof)
        return frame


async def first_answer(port: int, hello: Hello | bytes) -> tuple[int, bytes]:
    """What a member answers to a stranger's first bytes."""
    stranger = await Stranger.connect(port)
    answer = await stranger.say(hello if isinstance(hello, bytes) else encode_hello(hello))
    stranger.writer.close()
    return answer
