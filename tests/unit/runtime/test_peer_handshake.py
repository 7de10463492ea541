"""Peers prove who they are, and nobody else gets in: no stranger, no other cluster, no old words."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from faultlab.runtime.errors import ConfigError
from faultlab.runtime.peers import incoming as incoming_module
from faultlab.runtime.peers import transport as transport_module
from faultlab.runtime.peers.frames import (
    CHALLENGE,
    FIRST_CHANNEL,
    HELLO,
    MAX_HANDSHAKE_BYTES,
    PROOF,
    REFUSED,
    REFUSED_IDENTITY,
    WELCOME,
    FrameReader,
    frame,
)
from faultlab.runtime.peers.handshake import (
    NONCE_BYTES,
    Answering,
    Challenge,
    Dialling,
    Hello,
    Identity,
    IdentityRefused,
    Refusal,
    RefusedByPeer,
    encode_hello,
)
from faultlab.runtime.peers.key import read_key

from .peers import KEY, Members, Stranger, first_answer, until

OTHER_KEY = bytes(32)
A = Identity("demo", "a", "uuid-a", KEY)
B = Identity("demo", "b", "uuid-b", KEY)


@pytest.fixture
async def pair() -> AsyncIterator[Members]:
    made = Members("a", "b")
    yield made
    await made.stop()


def payload(data: bytes) -> tuple[int, bytes]:
    [one] = FrameReader().feed(data)
    return one


def dialling(own: Identity = A, known: dict[str, str] | None = None) -> Dialling:
    return Dialling(own, "b", lambda member, uuid: problem(known or {}, member, uuid))


def answering(own: Identity = B, known: dict[str, str] | None = None) -> Answering:
    return Answering(own, lambda _hello: None, lambda member, uuid: problem(known or {}, member, uuid))


def problem(known: dict[str, str], member: str, uuid: str) -> str | None:
    return None if known.get(member, uuid) == uuid else f"{member} has lost its data"


def test_both_sides_end_up_knowing_each_other() -> None:
    one, other = dialling(), answering()
    proof = one.received(*payload(other.received(*payload(one.hello()))))
    assert proof is not None
    assert not one.done
    assert other.peer is None, "welcome before it has proved anything"
    welcome = other.received(*payload(proof))
    assert other.peer is not None
    assert (other.peer.sender, other.peer.uuid) == ("a", "uuid-a")
    assert one.received(*payload(welcome)) is None
    assert one.done
    assert one.uuid == "uuid-b"


def test_who_answers_without_the_key_learns_no_proof() -> None:
    one = dialling()
    with pytest.raises(Refusal, match="did not prove") as refused:
        one.received(
            *payload(answering(msgspec.structs.replace(B, key=OTHER_KEY)).received(*payload(one.hello())))
        )
    assert refused.value.reason == "key"


@pytest.mark.parametrize("key", [OTHER_KEY, None])
def test_who_dials_without_the_key_is_refused(key: bytes | None) -> None:
    other = answering()
    liar = Dialling(msgspec.structs.replace(A, key=key), "b", lambda *_: None)
    challenge = msgspec.msgpack.decode(payload(other.received(*payload(liar.hello())))[1], type=Challenge)
    with pytest.raises(Refusal, match="did not prove") as refused:
        other.received(PROOF, challenge.proof)  # the other side's own proof, sent back
    assert refused.value.reason == "key"
    assert other.peer is None


def test_a_recorded_handshake_is_worth_nothing_later() -> None:
    one, first = dialling(), answering()
    proof = one.received(*payload(first.received(*payload(one.hello()))))
    assert proof is not None
    first.received(*payload(proof))
    later = answering()
    later.received(*payload(one.hello()))
    with pytest.raises(Refusal) as refused:
        later.received(*payload(proof))
    assert refused.value.reason == "key"


def test_each_word_of_the_handshake_is_covered_by_the_proofs() -> None:
    """Who changes anything on the way, one byte of it, has both sides refuse."""
    for who, at in itertools.product(("hello", "challenge", "proof"), range(400)):
        one, other = dialling(), answering()
        try:
            challenge = other.received(*payload(flip(one.hello(), at if who == "hello" else None)))
            proof = one.received(*payload(flip(challenge, at if who == "challenge" else None)))
            assert proof is not None
            other.received(*payload(flip(proof, at if who == "proof" else None)))
        except (Refusal, RefusedByPeer):
            assert other.peer is None
            continue
        assert at >= {"hello": len(one.hello()), "challenge": len(challenge), "proof": len(proof)}[who] - 5


def flip(data: bytes, at: int | None) -> bytes:
    """Another byte in the payload; its frame stays whole."""
    if at is None or at + 5 >= len(data):
        return data
    return data[: at + 5] + bytes([data[at + 5] ^ 1]) + data[at + 6 :]


def test_only_a_member_that_has_proved_itself_can_refuse_an_identity() -> None:
    one, other = dialling(), answering(known={"a": "another"})
    proof = one.received(*payload(other.received(*payload(one.hello()))))
    assert proof is not None
    with pytest.raises(Refusal, match="lost its data") as refused:
        other.received(*payload(proof))
    last = payload(other.refusal_frame(refused.value))
    assert last[0] == REFUSED_IDENTITY
    forged = msgspec.msgpack.encode(("a has lost its data", bytes(32)))
    with pytest.raises(Refusal, match="somebody other than"):
        one.received(REFUSED_IDENTITY, forged)
    with pytest.raises(IdentityRefused, match="lost its data"):
        one.received(*last)
    with pytest.raises(Refusal, match="unexpected"):
        dialling().received(*last)


def test_a_member_that_answers_under_another_uuid_is_left() -> None:
    one = dialling(known={"b": "another"})
    with pytest.raises(Refusal) as refused:
        one.received(*payload(answering().received(*payload(one.hello()))))
    assert refused.value.reason == "identity"


# Over sockets.


def hello(**changes: object) -> Hello:
    return msgspec.structs.replace(Hello(2, "demo", "b", "a", "", bytes(NONCE_BYTES)), **changes)


@pytest.mark.parametrize(
    ("changes", "counted", "reason"),
    [
        ({"cluster": "other"}, "cluster", "cluster 'other'"),
        ({"sender": "stranger"}, "sender", "'stranger' is no member"),
        ({"to": "c"}, "recipient", "looking for 'c'"),
        ({"version": 1}, "version", "version 1 of the peer protocol; 2"),
        ({"sender": "a"}, "reflected", "this member itself"),
        ({"nonce": b"short"}, "malformed", "a nonce of 5 bytes"),
    ],
)
async def test_a_stranger_is_refused_with_the_reason_and_counted(
    pair: Members, changes: dict[str, object], counted: str, reason: str
) -> None:
    a = await pair.start("a")
    channel, said = await first_answer(pair.ports["a"], hello(**changes))
    assert channel == REFUSED
    assert reason in said.decode()
    assert a.refusals() == {counted: 1}


async def test_a_member_of_the_version_before_is_told_so(pair: Members) -> None:
    await pair.start("a")
    old = frame(HELLO, msgspec.msgpack.encode((1, "demo", "b", "a")))
    channel, said = await first_answer(pair.ports["a"], old)
    assert channel == REFUSED
    assert b"version 1" in said


@pytest.mark.parametrize(
    "first",
    [frame(HELLO, b"garbage"), frame(FIRST_CHANNEL, b"no handshake"), b"GET / HTTP/1.1\r\n\r\n" * 3,
     b"\xff" * 64, frame(HELLO, b"x" * (MAX_HANDSHAKE_BYTES + 1)), frame(PROOF, bytes(32)),
     frame(WELCOME, b""), frame(CHALLENGE, b""), frame(HELLO, b"\x91" * 4000)],
)  # fmt: skip
async def test_garbage_instead_of_a_handshake_is_refused_and_counted(pair: Members, first: bytes) -> None:
    a = await pair.start("a")
    assert (await first_answer(pair.ports["a"], first))[0] == REFUSED
    assert a.refusals() == {"malformed": 1}
    b = await pair.start("b")
    await until(lambda: a.connected("b") and b.connected("a"))


async def test_no_frame_is_delivered_before_the_handshake_is_done(pair: Members) -> None:
    a = await pair.start("a", key=KEY)
    stranger = await Stranger.connect(pair.ports["a"])
    early = frame(FIRST_CHANNEL, b"let me in")
    assert (await stranger.say(encode_hello(hello()) + early))[0] == CHALLENGE
    assert (await stranger.answer())[0] == REFUSED
    assert a.received == []


async def test_members_with_one_key_meet_and_one_with_another_is_refused(pair: Members) -> None:
    a = await pair.start("a", key=KEY)
    b = await pair.start("b", key=OTHER_KEY)
    await until(lambda: a.refusals().get("key", 0) > 1 and b.refusals().get("key", 0) > 1)
    assert not a.connected("b")
    assert not b.connected("a")
    await b.transport.stop()
    again = await pair.start("b", key=KEY)
    await until(lambda: a.connected("b") and again.connected("a"))


@pytest.mark.parametrize("name", ["a", "b"])
async def test_a_member_without_the_key_is_refused_by_who_has_it(pair: Members, name: str) -> None:
    keyed, open_ = await pair.start(name, key=KEY), await pair.start("ab".replace(name, ""))
    await until(lambda: keyed.refusals().get("key", 0) > 1)
    assert not keyed.transport._incoming
    assert not open_.transport._incoming


async def test_a_replayed_handshake_is_refused_and_counted(pair: Members) -> None:
    a = await pair.start("a", key=KEY)
    stranger = await Stranger.connect(pair.ports["a"])
    recorded = Dialling(msgspec.structs.replace(B, uuid=""), "a", lambda *_: None)
    proof = recorded.received(*await stranger.say(recorded.hello()))
    assert proof is not None
    assert (await stranger.say(proof))[0] == WELCOME
    again = await Stranger.connect(pair.ports["a"])
    assert (await again.say(recorded.hello()))[0] == REFUSED
    assert a.refusals() == {"replayed": 1}
    assert a.transport._incoming["b"].peer == "b", "the replay ended the connection that it was recorded from"


async def test_what_a_member_says_is_refused_when_it_is_sent_back_to_it(pair: Members) -> None:
    """A mirror in b's place: what a sends to it comes back, on the same and on a new connection."""
    mirrored: list[tuple[int, bytes]] = []

    async def mirror(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(65536)
        mirrored.append(await first_answer(pair.ports["a"], data))
        writer.write(data)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mirror, "127.0.0.1", pair.ports["b"])
    a = await pair.start("a", key=KEY)
    await until(lambda: a.refusals().get("reflected", 0) > 1 and a.refusals().get("malformed", 0) > 1)
    server.close()
    assert {channel for channel, _ in mirrored} == {REFUSED}
    assert not a.connected("b")


async def test_an_id_is_known_by_its_data_and_refused_with_other_data(pair: Members) -> None:
    a = await pair.start("a", key=KEY, uuid="data-a", known={"b": "data-b"})
    b = await pair.start("b", key=KEY, uuid="empty")
    await until(lambda: b.refused_identity)
    assert "'b' is known here with the data 'data-b' and has come with 'empty'" in b.refused_identity[0]
    await until(lambda: a.refusals().get("identity", 0) > 1)
    assert not a.connected("b")
    assert not b.connected("a")
    assert a.refused_identity == []
    assert a.learned == {}
    await b.transport.stop()
    again = await pair.start("b", key=KEY, uuid="data-b")
    await until(lambda: a.connected("b") and again.connected("a"))
    assert again.learned == {"a": "data-a"}


async def test_who_was_met_once_is_known_from_then_on(pair: Members) -> None:
    a, b = await pair.start("a", uuid="data-a"), await pair.start("b", uuid="data-b")
    await until(lambda: a.connected("b") and b.connected("a"))
    assert (a.learned, b.learned) == ({"b": "data-b"}, {"a": "data-a"})
    await b.transport.stop()
    stranger = await Stranger.connect(pair.ports["a"])
    channel, _ = await stranger.shake_hands(Identity("demo", "b", "other"), "a")
    assert channel == REFUSED_IDENTITY
    stranger = await Stranger.connect(pair.ports["a"])
    assert (await stranger.shake_hands(Identity("demo", "b", ""), "a"))[0] == REFUSED_IDENTITY


async def test_a_member_that_joined_meanwhile_is_heard_and_answered_where_it_says(pair: Members) -> None:
    """The leader that this member's configuration does not know yet."""
    leader = await pair.start("a", key=KEY, address=("127.0.0.1", pair.ports["a"]))
    behind = await pair.start("b", key=KEY, peers={})
    await until(lambda: behind.connected("a"))
    leader.transport.links["b"].send_urgent(FIRST_CHANNEL, b"follow me")
    behind.transport.links["a"].send_urgent(FIRST_CHANNEL, b"yes")
    await until(
        lambda: behind.received == [("a", 16, b"follow me")] and leader.received == [("b", 16, b"yes")]
    )
    kept = behind.transport.links["a"]
    behind.transport.update_peers({"a": ("127.0.0.1", pair.ports["a"])})
    assert behind.transport.links["a"] is kept
    behind.transport.update_peers({})
    assert behind.connected("a"), "who is connected here is answered, whatever the configuration says"
    await leader.transport.stop()
    await until(lambda: not behind.transport.links)


@pytest.mark.parametrize(("sender", "channel"), [("c", REFUSED), ("c#7", CHALLENGE), ("met", CHALLENGE)])
async def test_without_a_key_only_who_may_be_a_member_is_heard(
    pair: Members, sender: str, channel: int
) -> None:
    await pair.start("a", known={"met": "its data"})
    assert (await first_answer(pair.ports["a"], hello(sender=sender)))[0] == channel


async def test_without_a_key_the_log_says_so_once(pair: Members, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "faultlab.peers"):
        await pair.start("a")
        b = await pair.start("b", key=None)
        await until(lambda: b.connected("a"))
    assert [r.getMessage()[:11] for r in caplog.records] == ["no peer key"] * 2


async def test_strangers_do_not_keep_a_peer_out(pair: Members) -> None:
    a = await pair.start("a", key=KEY)
    half = encode_hello(hello())[:20]
    strangers = [await Stranger.connect(pair.ports["a"]) for _ in range(80)]
    for number, stranger in enumerate(strangers):
        if number % 2:
            stranger.writer.write(half)
    await until(lambda: a.refusals().get("crowded", 0) == 16)
    assert len(a.transport._strangers) == transport_module.MAX_STRANGERS
    b = await pair.start("b", key=KEY)
    await until(lambda: b.connected("a"), deadline_s=1)
    for stranger in strangers:
        stranger.writer.close()


async def test_who_does_not_finish_the_handshake_is_dropped_however_slowly_it_talks(
    pair: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming_module, "HANDSHAKE_TIMEOUT_S", 0.3)
    a = await pair.start("a", key=KEY)
    silent, slow, half = [await Stranger.connect(pair.ports["a"]) for _ in range(3)]
    assert (await half.say(encode_hello(hello())))[0] == CHALLENGE

    async def trickle() -> None:
        for byte in encode_hello(hello(nonce=b"n" * NONCE_BYTES)):
            slow.writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    talking = asyncio.ensure_future(trickle())
    await until(lambda: a.refusals() == {"timeout": 3}, deadline_s=1)
    talking.cancel()
    assert not a.transport._strangers
    assert await silent.answer() == (0, b"")


async def test_a_stranger_makes_us_hold_no_more_than_a_handshake(pair: Members) -> None:
    a = await pair.start("a", key=KEY)
    stranger = await Stranger.connect(pair.ports["a"])
    stranger.writer.write(frame(HELLO, bytes(MAX_HANDSHAKE_BYTES))[:-1])
    await until(lambda: a.transport._strangers)
    [served] = a.transport._strangers
    await until(lambda: served._reader.held_bytes == MAX_HANDSHAKE_BYTES - 1)
    greedy = await Stranger.connect(pair.ports["a"])
    assert (await greedy.say(frame(HELLO, bytes(1_000_000))))[0] == REFUSED


async def test_a_peer_that_answers_nothing_or_nonsense_is_dialled_again(pair: Members) -> None:
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        await reader.read(65536)
        writer.write(
            [frame(WELCOME, b""), b"\xff" * 100, frame(CHALLENGE, b"\x93"), frame(99, b"")][seen % 4]
        )
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", pair.ports["b"])
    a = await pair.start("a", key=KEY)
    await until(lambda: seen > 4)
    assert not a.connected("b")
    server.close()
    await server.wait_closed()
    await pair.start("b", key=KEY)
    await until(lambda: a.connected("b"))


def test_a_key_is_read_whole_and_refused_when_it_is_none(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(ConfigError, match="cannot read the peers' key"):
        read_key(path)
    path.write_bytes(b"short")
    with pytest.raises(ConfigError, match="5 bytes"):
        read_key(path)
    path.write_bytes(KEY)
    assert read_key(path) == KEY
    assert "key='set'" not in repr(A)
    assert repr(KEY) not in repr(A)
