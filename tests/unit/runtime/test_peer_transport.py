"""Peers find each other, again and again, and let nobody else in."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import uvloop

from faultlab.runtime.errors import ProtocolError
from faultlab.runtime.peers import link as link_module
from faultlab.runtime.peers.frames import FIRST_CHANNEL, MAX_FRAME_BYTES, REFUSED, WELCOME, FrameReader, frame
from faultlab.runtime.peers.handshake import Identity

from .peers import Members, Stranger, free_port, until


@pytest.fixture
async def pair() -> AsyncIterator[Members]:
    made = Members("a", "b")
    yield made
    await made.stop()


async def test_frames_arrive_with_the_senders_name(pair: Members) -> None:
    a, b = await pair.start("a"), await pair.start("b")
    link = a.transport.links["b"]
    await until(lambda: link.connected)
    link.send_urgent(FIRST_CHANNEL, b"one")
    link.send_bulk(FIRST_CHANNEL + 1, b"two" * 300_000)
    assert link.send_request(FIRST_CHANNEL + 2, b"three")
    await until(lambda: len(b.received) == 3)
    assert b.received == [("a", 16, b"one"), ("a", 17, b"two" * 300_000), ("a", 18, b"three")]


async def test_a_peer_that_comes_back_is_reached_again_soon(pair: Members) -> None:
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
        made = Members("a", "b")
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
        await made.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(drop_and_send())


async def test_bulk_over_the_bound_drops_the_oldest_and_requests_are_refused(
    pair: Members, monkeypatch: pytest.MonkeyPatch
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


def test_a_reader_holds_one_frame_and_nothing_of_one_too_long() -> None:
    reader = FrameReader(1000)
    for byte in frame(FIRST_CHANNEL, bytes(900))[:-1]:
        assert reader.feed(bytes([byte])) == []
    assert reader.held_bytes == 899
    assert reader.feed(b"x" + frame(17, b"next"))[1] == (17, b"next")
    assert reader.held_bytes == 0
    with pytest.raises(ProtocolError):
        reader.feed(b"\xe9\x03\x00\x00\x10" + bytes(1001))
    assert reader.held_bytes == 0


async def test_a_peer_that_is_added_is_dialled_and_one_that_is_removed_is_not(pair: Members) -> None:
    a = await pair.start("a", peers={})
    b = await pair.start("b")
    assert "b" not in a.transport.links
    await until(lambda: b.connected("a"))
    a.transport.update_peers({"a": ("127.0.0.1", 1), "b": ("127.0.0.1", pair.ports["b"])})
    assert list(a.transport.links) == ["b"], "a member has no link to itself"
    await until(lambda: a.connected("b"))
    b.transport.update_peers({})
    a.transport.update_peers({})
    assert a.connected("b"), "who is connected here is answered, whatever the configuration says"
    await b.transport.stop()
    await until(lambda: not a.transport.links and a.downs == ["b"])
    a.transport.update_peers({"c": ("127.0.0.1", 9)})
    a.transport.update_peers({})
    assert not a.transport.links, "nobody is dialled who is neither a member nor here"


async def test_a_peer_whose_address_changes_is_dialled_there(pair: Members) -> None:
    a, b = await pair.start("a"), await pair.start("b")
    await until(lambda: a.connected("b"))
    await b.transport.stop()
    pair.ports["b"] = free_port()
    await pair.start("b")
    a.transport.update_peers({"b": ("127.0.0.1", pair.ports["b"])})
    await until(lambda: a.connected("b"), deadline_s=2)


async def test_the_end_of_a_peers_process_is_told_at_once_and_only_once(pair: Members) -> None:
    a, b = await pair.start("a"), await pair.start("b")
    await until(lambda: a.connected("b") and b.connected("a"))
    await b.transport.stop()
    await until(lambda: a.lost == ["b"], deadline_s=0.5)


@pytest.mark.parametrize("reset", [True, False])
async def test_a_peers_connection_that_a_newer_one_replaces_is_not_lost(pair: Members, reset: bool) -> None:
    a = await pair.start("a")
    old = await Stranger.connect(pair.ports["a"])
    assert (await old.shake_hands(Identity("demo", "b"), "a"))[0] == WELCOME
    new = await Stranger.connect(pair.ports["a"])
    assert (await new.shake_hands(Identity("demo", "b"), "a"))[0] == WELCOME
    assert await old.answer() == (0, b"")
    old.writer.close()
    new.writer.write(frame(FIRST_CHANNEL, b"still here"))
    await until(lambda: a.received == [("b", FIRST_CHANNEL, b"still here")])
    assert a.lost == []
    if reset:
        new.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    new.writer.transport.abort()
    await until(lambda: a.lost == ["b"])


async def test_a_connection_that_we_end_ourselves_is_not_lost(pair: Members) -> None:
    a = await pair.start("a", on_frame=refuse)
    peer = await Stranger.connect(pair.ports["a"])
    assert (await peer.shake_hands(Identity("demo", "b"), "a"))[0] == WELCOME
    channel, reason = await peer.say(frame(FIRST_CHANNEL, b"nonsense"))
    assert (channel, reason) == (REFUSED, b"not a message")
    assert await peer.answer() == (0, b"")
    await until(lambda: not a.transport._incoming)
    assert a.lost == []
    assert a.refusals() == {"malformed": 1}


def refuse(_peer: str, _channel: int, _payload: bytes) -> None:
    raise ProtocolError("not a message")
