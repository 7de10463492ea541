"""What peers pass on and what logs hold: whatever gets as far as the state machine, it can apply."""

import contextlib
from typing import Any

import hiredis
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from faultlab.raft.commands import COMMANDS, UNSTAMPED, Op, prepare, stamp, unwrap
from faultlab.raft.forwarding import ForwardDesk, Forwarder
from faultlab.raft.kv import KeyValueStore
from faultlab.raft.messages import Entry
from faultlab.runtime.errors import ProtocolError
from faultlab.runtime.resp.encoder import encode
from faultlab.runtime.resp.handler import Kind, Slot

from .budget import budget
from .mutations import mutated

words = st.one_of(
    st.sampled_from([b"k", b"l", b"1", b"2", b"-1", b"0", b"x", b"", b"NX", b"GET", b"OPEN", b"CLOSE", b"TTL",
                     b"SET", b"INCR", b"RPUSH", b"REQ", b"9223372036854775807", b"-9223372036854775808",
                     b"99999999999999999999"]),
    st.binary(max_size=4),
)  # fmt: skip
requests = st.builds(
    lambda name, args: [name.encode(), *args], st.sampled_from(list(COMMANDS)), st.lists(words, max_size=7)
)
values = st.one_of(
    st.binary(max_size=3), st.sampled_from([0, 1, -1, 2, 7, 8, 2**63 - 1, -(2**63), 2**63, 2**64 - 1]),
    st.none(), st.booleans(), st.text(max_size=2), st.floats(), st.lists(st.binary(max_size=2), max_size=2),
)  # fmt: skip
users = st.sampled_from(["", "app", "é" * 128])
ops = st.one_of(st.sampled_from([int(op) for op in Op]), st.integers(-2, 20), values)


@st.composite
def encoded(draw: st.DrawFn) -> bytes:
    """What a peer might call a command: as it is prepared, bent, or made up."""
    match draw(st.integers(0, 3)):
        case 0:
            args = draw(requests)
            spec = COMMANDS[args[0].decode()]
            command = prepare(spec, args, draw(users)) if spec.admits(len(args)) else ""
            return command if isinstance(command, bytes) else b"\xc0"
        case 1:
            made_up: list[Any] = [draw(ops), *draw(st.lists(values, max_size=5))]
            if draw(st.booleans()):
                made_up += [draw(users), UNSTAMPED]
            if made_up[0] == int(Op.REQ) and len(made_up) > 3 and draw(st.booleans()):
                made_up[3] = msgspec.msgpack.encode([draw(ops), *draw(st.lists(values, max_size=4))])
            return msgspec.msgpack.encode(made_up)
        case 2:
            nested = draw(encoded())
            for _ in range(draw(st.sampled_from([1, 2, 2000]))):
                nested = msgspec.msgpack.encode([int(Op.REQ), 1, 1, nested, UNSTAMPED])
            return nested
        case _:
            return draw(mutated(draw(encoded())))


class Desk:
    """A leader that applies at once what its followers pass on."""

    def __init__(self) -> None:
        self.store = KeyValueStore()
        self.desk = ForwardDesk({}, self, self.submit)  # type: ignore[arg-type]
        self.now_ms = 1000

    def time(self) -> float:
        return 0.0

    def call_soon(self, callback: Any, *args: object) -> None:
        """Answers go nowhere."""

    def submit(self, kind: Kind, command: bytes, slot: Slot) -> None:
        if kind is Kind.READ:
            result = self.store.read(command)
        else:
            self.now_ms += 700
            entry = Entry(self.store.applied_index + 1, 1, stamp(command, self.now_ms))
            result = self.store.apply(entry)
        encode(result, True)
        slot.resolve(result, "demo-0", 1)


@budget(300)
@given(st.lists(encoded(), min_size=1, max_size=8))
def test_what_a_peer_passes_on_is_refused_or_can_be_applied(commands: list[bytes]) -> None:
    desk = Desk()
    for number, command in enumerate(commands):
        try:
            desk.desk.requested("demo-1", msgspec.msgpack.encode((number, [command])))
        except ProtocolError:
            continue
    frozen = b"".join(desk.store.freeze().chunks())
    restored = KeyValueStore()
    restored.restore([frozen])
    assert restored.fingerprint() == desk.store.fingerprint()


@budget(300)
@given(st.one_of(st.binary(max_size=60), st.tuples(values, values).map(msgspec.msgpack.encode),
                 st.tuples(st.integers(0, 5), st.lists(encoded(), max_size=3)).map(msgspec.msgpack.encode)
                 .flatmap(mutated),
                 st.lists(st.tuples(values, values, values), max_size=3).map(msgspec.msgpack.encode),
                 st.integers(1, 4000).map(lambda n: b"\x91" * n)))  # fmt: skip
def test_arbitrary_forwarding_frames_are_taken_or_refused(payload: bytes) -> None:
    desk = Desk()
    forwarder = Forwarder({})  # type: ignore[arg-type]
    for hear in (desk.desk.requested, forwarder.answered):
        try:
            hear("demo-1", payload)
        except ProtocolError:
            continue


class Answer:
    """What a client of this member is told."""

    result: Any = "nothing"

    def resolve(self, result: Any, _member: str | None, _term: int | None) -> None:
        self.result = result


class Link:
    connected = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send_request(self, _channel: int, payload: bytes) -> bool:
        self.sent.append(payload)
        return True


results = st.recursive(
    st.one_of(
        values,
        st.dictionaries(st.text(max_size=2), values, max_size=2),
        st.dictionaries(st.integers(0, 9), values, max_size=2),
    ),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@budget(300)
@given(st.lists(st.tuples(st.integers(0, 4), results, st.none() | st.integers(0, 9)), max_size=4))
def test_whatever_a_leader_answers_the_client_gets_a_whole_reply(answers: list[Any]) -> None:
    link = Link()
    forwarder = Forwarder({"demo-1": link})  # type: ignore[dict-item]
    slots = [Answer() for _ in range(4)]
    forwarder.forward("demo-1", [(Kind.READ, b"", slot) for slot in slots], 1.0)
    with contextlib.suppress(ProtocolError):
        forwarder.answered("demo-1", msgspec.msgpack.encode(answers))
    forwarder.lost("demo-1")
    for slot in slots:
        assert slot.result != "nothing"
        for resp3 in (False, True):
            reader = hiredis.Reader(notEnoughData="half")
            reader.feed(encode(slot.result, resp3))
            assert reader.gets() != "half"
            assert not reader.has_data(), f"{slot.result!r} is more than one reply"


@budget(300)
@given(st.lists(st.tuples(requests, users), min_size=1, max_size=10))
def test_whatever_is_prepared_can_be_applied_and_answered(many: list[tuple[list[bytes], str]]) -> None:
    desk = Desk()
    for args, user in many:
        spec = COMMANDS[args[0].decode()]
        if not spec.admits(len(args)):
            continue
        unwrapped = unwrap(spec, list(args))
        command = prepare(spec, list(args), user)
        assert not (isinstance(unwrapped, str) and isinstance(command, bytes)), (
            "keys were hidden from the rules"
        )
        if isinstance(command, bytes):
            desk.submit(spec.kind, command, Answer())  # type: ignore[arg-type]
            desk.desk.requested("demo-1", msgspec.msgpack.encode((1, [command])))
