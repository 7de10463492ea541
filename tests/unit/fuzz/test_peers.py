"""The peer port against strangers, mirrors, recorders and broken peers: no exception, no way in."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultlab.runtime.errors import ProtocolError
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
    PROTOCOL_VERSION,
    Answering,
    Challenge,
    Dialling,
    Hello,
    Identity,
    IdentityRefused,
    encode_hello,
)
from faultlab.runtime.peers.incoming import Incoming
from faultlab.runtime.peers.link import LinkTimes
from faultlab.runtime.peers.transport import PeerTransport

from .budget import budget
from .mutations import cut, mutated, shuffled_and_repeated

KEY = bytes(range(32))
A = Identity("demo", "a", "uuid-a", KEY, ("127.0.0.1", 1))
B = Identity("demo", "b", "uuid-b", KEY, ("127.0.0.1", 2))
APPLICATION = [frame(FIRST_CHANNEL, b"one"), frame(FIRST_CHANNEL + 1, b""), frame(255, b"x" * 3000)]

channels = st.one_of(
    st.sampled_from([HELLO, WELCOME, REFUSED, CHALLENGE, PROOF, REFUSED_IDENTITY, FIRST_CHANNEL]),
    st.integers(0, 255),
)
names = st.sampled_from(["a", "b", "c", "c#7", "demo", "", "x" * 300, "é\x00"])
uuids = st.sampled_from(["", "uuid-a", "uuid-b", "other"])
nonces = st.sampled_from([b"", bytes(NONCE_BYTES), b"n" * NONCE_BYTES, b"n" * (NONCE_BYTES + 1)])
hellos = st.builds(
    Hello,
    st.sampled_from([PROTOCOL_VERSION, 0, 1, -1, 2**63]),
    names,
    names,
    names,
    uuids,
    nonces,
    st.none() | st.tuples(names, st.integers(-1, 70000)),
)
challenges = st.builds(Challenge, nonces, uuids, st.binary(max_size=40))
msgpack_like = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(max_size=5),
        st.binary(max_size=5),
    ),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
payloads = st.one_of(
    st.binary(max_size=60),
    hellos.map(msgspec.msgpack.encode),
    challenges.map(msgspec.msgpack.encode),
    msgpack_like.map(msgspec.msgpack.encode),
    st.integers(1, 5000).map(lambda depth: b"\x91" * depth),
    st.just(bytes(MAX_HANDSHAKE_BYTES)),
    st.just(bytes(MAX_HANDSHAKE_BYTES + 1)),
)
frames = st.builds(frame, channels, payloads)
streams = st.one_of(
    st.binary(max_size=300),
    st.lists(frames, max_size=6).map(b"".join),
    st.builds(lambda size, channel, rest: size.to_bytes(4, "little") + bytes([channel]) + rest,
              st.sampled_from([0, 1, 4096, 4097, 2**24, 2**24 + 1, 2**31, 2**32 - 1]), channels,
              st.binary(max_size=50)),
)  # fmt: skip


class Socket(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.out = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.out += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


class Member:
    """Member b, and connections to it that are fed by hand."""

    def __init__(self, **options: Any) -> None:
        self.delivered: list[tuple[str, int, bytes]] = []
        self.broken = False
        self.transport = PeerTransport(
            "demo",
            "b",
            {"a": ("127.0.0.1", 1), "c": ("127.0.0.1", 3)},
            LinkTimes.for_heartbeat(0.05),
            random.Random(1),
            on_frame=self._deliver,
            on_up=lambda _peer: None,
            on_down=lambda _peer: None,
            uuid=B.uuid,
            **options,
        )

    def _deliver(self, *one: Any) -> None:
        self.delivered.append(one)
        if self.broken:
            raise ProtocolError("not a message")

    def connect(self) -> tuple[Incoming, Socket]:
        connection, socket = Incoming(self.transport), Socket()
        connection.connection_made(socket)
        return connection, socket

    def hear(self, chunks: list[bytes]) -> bytes:
        """What it answers on a new connection."""
        connection, socket = self.connect()
        for chunk in chunks:
            connection.data_received(chunk)
            if connection.peer is None:
                assert connection._reader.held_bytes <= MAX_HANDSHAKE_BYTES + 5
        connection.connection_lost(None)
        assert not self.transport._strangers
        assert not self.transport._incoming
        return bytes(socket.out)


def in_a_loop(test: Callable[[], None]) -> None:
    """Runs a function where connections find a running loop."""

    async def run() -> None:
        test()

    asyncio.run(run())


def answered(data: bytes) -> set[int]:
    """The channels of what was answered, which has to be whole frames."""
    reader = FrameReader()
    found = {channel for channel, _ in reader.feed(data)}
    assert reader.held_bytes == 0
    return found


@budget(300)
@given(st.data())
def test_strangers_get_a_challenge_or_a_refusal_and_never_in(data: st.DataObject) -> None:
    chunks = data.draw(cut(data.draw(streams)))

    def run() -> None:
        member = Member(key=KEY)
        assert answered(member.hear(chunks)) <= {CHALLENGE, REFUSED}
        assert member.delivered == []

    in_a_loop(run)


@budget(200)
@given(st.data())
def test_whoever_comes_without_a_key_breaks_nothing(data: st.DataObject) -> None:
    hello = encode_hello(data.draw(hellos))
    sent = data.draw(st.lists(st.one_of(frames, st.just(frame(PROOF, b"")), st.just(hello)), max_size=6))
    chunks = data.draw(cut(hello + b"".join(sent)))
    known = data.draw(st.sampled_from([{}, {"a": "other"}, {"c": "uuid-a"}]))

    def run() -> None:
        member = Member(known=known)
        member.broken = len(sent) % 2 == 0
        assert answered(member.hear(chunks)) <= {CHALLENGE, REFUSED, REFUSED_IDENTITY, WELCOME}

    in_a_loop(run)


def recorded() -> list[bytes]:
    """Everything that passes when a comes to b, both ways, and what it says then."""
    one = Dialling(A, "b", lambda *_: None)
    other = Answering(B, lambda _hello: None, lambda *_: None)
    hello = one.hello()
    challenge = other.received(*unframed(hello))
    proof = one.received(*unframed(challenge))
    assert proof is not None
    return [hello, challenge, proof, other.received(*unframed(proof)), *APPLICATION]


def unframed(data: bytes) -> tuple[int, bytes]:
    [one] = FrameReader().feed(data)
    return one


@budget(200)
@given(st.data())
def test_what_was_recorded_opens_no_door_in_any_order(data: st.DataObject) -> None:
    seen = recorded()
    sent = data.draw(shuffled_and_repeated(seen)) if data.draw(st.booleans()) else seen
    chunks = data.draw(cut(b"".join(sent)))

    def run() -> None:
        member = Member(key=KEY)
        assert answered(member.hear(chunks)) <= {CHALLENGE, REFUSED}
        assert member.delivered == []
        assert REFUSED in answered(member.hear([b"".join(seen)]))
        assert member.delivered == []

    in_a_loop(run)


@budget(200)
@given(st.data())
def test_a_peer_whose_bytes_are_bent_is_heard_up_to_there_and_cut_off(data: st.DataObject) -> None:
    sent = b"".join(data.draw(st.lists(st.sampled_from(APPLICATION), min_size=1, max_size=4)))
    bent = data.draw(mutated(sent))
    chunks = data.draw(cut(bent)) if bent else []
    broken = data.draw(st.booleans())

    def run() -> None:
        member = Member(key=KEY)
        member.broken = broken
        connection, socket = member.connect()
        dialling = Dialling(A, "b", lambda *_: None)
        connection.data_received(dialling.hello())
        proof = dialling.received(*unframed(bytes(socket.out)))
        assert proof is not None
        assert member.delivered == []
        connection.data_received(proof)
        assert connection.peer == "a"
        for chunk in chunks:
            connection.data_received(chunk)
        before = len(member.delivered)
        connection.connection_lost(ConnectionResetError())
        connection.data_received(frame(FIRST_CHANNEL, b"after the end"))
        assert len(member.delivered) == before
        assert before <= 1 or not broken, "more was delivered of a peer that had sent nonsense"

    in_a_loop(run)


@budget(300)
@given(st.lists(st.tuples(channels, payloads), max_size=6), st.booleans())
def test_who_dials_believes_nobody_without_the_key(answers: list[tuple[int, bytes]], keyed: bool) -> None:
    one = Dialling(A if keyed else msgspec.structs.replace(A, key=None), "b", lambda *_: None)
    try:
        for channel, payload in answers:
            one.received(channel, payload)
    except IdentityRefused:
        assert not keyed
    except ProtocolError:
        pass
    assert not (one.done and keyed)


@budget(300)
@given(st.data())
def test_who_dials_is_not_fooled_by_bent_or_reordered_answers(data: st.DataObject) -> None:
    one = Dialling(A, "b", lambda *_: None)
    other = Answering(B, lambda _hello: None, lambda *_: None)
    challenge = other.received(*unframed(one.hello()))
    old = recorded()
    bent = data.draw(mutated(challenge))
    answers = data.draw(shuffled_and_repeated([bent, *old, one.hello()]))
    reader = FrameReader(MAX_HANDSHAKE_BYTES)
    try:
        for answer in answers:
            for channel, payload in reader.feed(answer):
                one.received(channel, payload)
    except IdentityRefused:
        pytest.fail("an identity was refused by nobody")
    except ProtocolError:
        pass
    assert not one.done or challenge in b"".join(answers)


@budget(200)
@given(st.data())
def test_a_stream_gives_the_same_frames_and_errors_however_it_is_cut(data: st.DataObject) -> None:
    sent = data.draw(streams)
    bound = data.draw(st.sampled_from([0, 10, MAX_HANDSHAKE_BYTES, 2**24]))
    assert outcome([sent], bound) == outcome(data.draw(cut(sent)), bound)


def outcome(chunks: list[bytes], bound: int) -> tuple[list[tuple[int, bytes]], bool, int]:
    reader = FrameReader(bound)
    found: list[tuple[int, bytes]] = []
    try:
        for chunk in chunks:
            found += reader.feed(chunk)
            assert reader.held_bytes <= bound + 5
    except ProtocolError:
        # What came before the bad header in the same chunk is not delivered: only that it is bad counts.
        return [], True, 0
    return found, False, reader.held_bytes
