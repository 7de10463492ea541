"""Peers find each other, again and again, and let nobody else in."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from faultlab.runtime.errors import ProtocolError
from faultlab.runtime.peers import link as link_module
from faultlab.runtime.peers.frames import FIRST_CHANNEL, MAX_FRAME_BYTES, FrameReader, frame
from faultlab.runtime.peers.link import LinkTimes
from faultlab.runtime.peers.transport import PeerTransport

TIMES = LinkTimes.for_heartbeat(0.05)


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

    def __init__(self, name: str, peers: dict[str, int], cluster: str = "demo") -> None:
        self.received: list[tuple[str, int, bytes]] = []
        self.downs: list[str] = []
        self.transport = PeerTransport(
            cluster,
            name,
            {peer: ("127.0.0.1", port) for peer, port in peers.items()},
            TIMES,
            random.Random(1),
            on_frame=lambda peer, channel, payload: self.received.append((peer, channel, payload)),
            on_up=lambda _peer: None,
            on_down=self.downs.append,
        )


class Pair:
    def __init__(self) -> None:
        self.ports = {"a": free_port(), "b": free_port()}
        self.ends: list[End] = []

    async def start(self, name: str, **overrides: str) -> End:
        peers = {peer: port for peer, port in self.ports.items() if peer != name}
        end = End(name, peers, **overrides)
        self.ends.append(end)
        await end.transport.start("127.0.0.1", self.ports[name])
        return end


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    yield made
    for end in made.ends:
        await end.transport.stop()


async def test_frames_arrive_with_the_senders_name(pair: Pair) -> None:
    a, b = await pair.start("a"), await pair.start("b")
    link = a.transport.links["b"]
    await until(lambda: link.connected)
    link.send_urgent(FIRST_CHANNEL, b"one")
    link.send_bulk(FIRST_CHANNEL + 1, b"two" * 300_000)
    assert link.send_request(FIRST_CHANNEL + 2, b"three")
    await until(lambda: len(b.received) == 3)
    assert b.received == [("a", 16, b"one"), ("a", 17, b"two" * 300_000), ("a", 18, b"three")]


async def test_a_peer_that_comes_back_is_reached_again_soon(pair: Pair) -> None:
    a, b = await pair.start("a"), await pair.start("b")
    await until(lambda: a.transport.links["b"].connected)
    await b.transport.stop()
    await until(lambda: a.downs == ["b"])
    assert not a.transport.links["b"].send_request(FIRST_CHANNEL, b"refused, not kept")
    again = await pair.start("b")
    await until(lambda: a.transport.links["b"].connected, deadline_s=1)
    a.transport.links["b"].send_urgent(FIRST_CHANNEL, b"hello again")
    await until(lambda: again.received == [("a", 16, b"hello again")])


def test_nothing_is_written_to_a_connection_that_was_dropped_a_moment_ago() -> None:
    """On uvloop, as members run: a write to it raises RuntimeError, at which a member would end itself."""

    async def drop_and_send() -> None:
        made = Pair()
        a, _ = await made.start("a"), await made.start("b")
        link = a.transport.links["b"]
        await until(lambda: link.connected)
        assert link._connection is not None
        link._connection.transport.abort()  # As for silence; the loop has not turned since.
        dropped = link.dropped_frames
        link.send_urgent(FIRST_CHANNEL, b"lost")
        link.send_bulk(FIRST_CHANNEL, b"lost")
        assert not link.send_request(FIRST_CHANNEL, b"refused")
        link.writable(True)
        assert link.dropped_frames == dropped + 2
        await until(lambda: a.downs == ["b"])
        await until(lambda: link.connected)
        for end in made.ends:
            await end.transport.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(drop_and_send())


async def test_bulk_over_the_bound_drops_the_oldest_and_requests_are_refused(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "MAX_QUEUED_BYTES", 1000)
    a, b = await pair.start("a"), await pair.start("b")
    link = a.transport.links["b"]
    await until(lambda: link.connected)
    link.writable(False)
    for number in range(20):
        link.send_bulk(FIRST_CHANNEL, b"%03d" % number + bytes(97))
    accepted = [link.send_request(FIRST_CHANNEL + 1, bytes(100)) for _ in range(20)]
    assert accepted.count(True) in (9, 10)
    link.send_urgent(FIRST_CHANNEL + 2, b"heartbeat")
    await until(lambda: b.received)
    assert b.received == [("a", 18, b"heartbeat")], "an urgent frame waited behind bulk"
    link.writable(True)
    await until(lambda: len([r for r in b.received if r[1] == 16]) == 9)
    assert [r[2][:3] for r in b.received if r[1] == 16] == [b"%03d" % n for n in range(11, 20)]
    assert len([r for r in b.received if r[1] == 17]) == accepted.count(True)


async def test_a_frame_too_long_is_refused_by_both_sides() -> None:
    with pytest.raises(ValueError, match="at most"):
        frame(FIRST_CHANNEL, bytes(MAX_FRAME_BYTES + 1))
    with pytest.raises(ProtocolError, match="at most"):
        FrameReader().feed(b"\xff\xff\xff\xff\x10")


@pytest.mark.parametrize("seed", range(5))
def test_frames_come_out_as_they_went_in_however_they_are_cut(seed: int) -> None:
    rng = random.Random(seed)
    frames = [(rng.randrange(256), rng.randbytes(rng.choice([0, 1, 5, 300]))) for _ in range(50)]
    data = b"".join(frame(*item) for item in frames)
    reader, found, at = FrameReader(), [], 0
    while at < len(data):
        size = rng.choice([1, 4, 5, 17, 1000])
        found += reader.feed(data[at : at + size])
        at += size
    assert found == frames
