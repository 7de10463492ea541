"""A core that hears nonsense from a listed peer: well-formed or not, it says MalformedMessage and goes on.

Safety is not asked for here: a peer that lies breaks Raft. But it must not be able to break the process,
whose host ends it at any other exception (`RaftNode`), nor to have it say what cannot be encoded. The one
exception: as a leader it contradicts what is committed, or what it has said before. Then ending is right.
"""

import random
from typing import Annotated, Any, get_args, get_origin

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from faultlab.raft.checksum import crc32c
from faultlab.raft.config import CoreConfig
from faultlab.raft.configuration import Address, Configuration, encode_configuration
from faultlab.raft.core import Raft
from faultlab.raft.errors import BadState, Busy, MalformedMessage, NotLeader, UnsuitableTarget
from faultlab.raft.messages import (
    Append,
    Entry,
    HardState,
    InstallSnapshot,
    Message,
    SnapshotMeta,
    VoteResponse,
    decode,
    encode,
)

from .budget import budget
from .mutations import mutated

IDS = ["a", "b", "c", "d#4"]

ids = st.sampled_from([*IDS, "a", "b", "stranger", "", "x" * 100, "#"])
small = st.integers(0, 9)
numbers = st.one_of(small, small, st.sampled_from([-1, -(2**63), 2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1]))
addresses = st.dictionaries(ids, st.builds(Address, ids, numbers, numbers, numbers), max_size=2)
id_lists = st.lists(ids, max_size=4).map(tuple)
configurations = st.builds(Configuration, id_lists, id_lists, id_lists, addresses)
sane_configurations = st.sampled_from(
    [
        Configuration(("a", "b", "c")),
        Configuration(("b", "c")),
        Configuration(("a", "b", "d#4"), ("a", "b", "c")),
        Configuration(("a", "b", "c"), (), ("d#4",)),
        Configuration(),
    ]
)
data = st.one_of(
    st.binary(max_size=8),
    st.one_of(configurations, sane_configurations).map(encode_configuration),
    configurations.map(encode_configuration).flatmap(mutated),
)
entries = st.builds(Entry, numbers, numbers, data, st.sampled_from([0, 0, 1, 1, 2, -1, 2**63]))


@st.composite
def consecutive(draw: st.DrawFn) -> list[Entry]:
    """As a leader would send them, were the data right."""
    first, term = draw(small), draw(small)
    kinds = draw(st.lists(st.sampled_from([0, 0, 1]), max_size=4))
    return [Entry(index, term, draw(data), kind) for index, kind in enumerate(kinds, first)]


metas = st.builds(
    SnapshotMeta, numbers, numbers, st.one_of(configurations, sane_configurations), numbers, numbers
)


def field(kind: Any) -> st.SearchStrategy[Any]:
    if kind is int or get_origin(kind) is Annotated:
        return numbers
    if kind is bool:
        return st.booleans()
    if kind is str:
        return ids
    if kind is bytes:
        return data
    if kind is SnapshotMeta:
        return metas
    assert kind == list[Entry], f"a message has a field of {kind}: teach the fuzzer what it may hold"
    return st.one_of(consecutive(), st.lists(entries, max_size=4))


def strategy(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Messages of a kind, mostly to a and from a listed peer, with any numbers in them."""
    fields = {f.name: field(f.type) for f in msgspec.structs.fields(kind)}
    fields["to"] = st.sampled_from(["a"] * 9 + ["b"])
    fields["sender"] = st.sampled_from(["b", "b", "b", "c", "c", "d#4", "a", "stranger"])
    built = st.builds(kind, **fields)
    return st.one_of(built, built.map(as_announced)) if kind is InstallSnapshot else built


def as_announced(part: InstallSnapshot) -> InstallSnapshot:
    """The first part of a snapshot, and all of it."""
    whole = msgspec.structs.replace(part.meta, size=len(part.data), checksum=crc32c(part.data))
    return msgspec.structs.replace(part, meta=whole, offset=0)


messages = st.one_of([strategy(kind) for kind in get_args(Message)])


class Host:
    """What RaftNode does with a core, without a disk or peers."""

    def __init__(self, draw: Any, **settings: Any) -> None:
        self.now_ns = 10**12
        self.ended = False
        self.draw = draw
        terms = sorted(draw(st.lists(st.integers(1, 4), max_size=5)))
        log = [Entry(index, term, b"x") for index, term in enumerate(terms, 1)]
        snapshot = SnapshotMeta(
            configuration=Configuration(("a", "b", "c"), (), draw(st.sampled_from([(), ("d#4",)])))
        )
        config = CoreConfig(id="a", election_ticks=3, heartbeat_ticks=1, **settings)
        hard_state = HardState(max([0, *terms]), None, draw(st.integers(0, len(log))))
        self.core = Raft(config, hard_state, snapshot, log, random.Random(1), lambda: self.now_ns)

    def step(self, message: Any) -> None:
        committed = self.core.commit, self.core._log.range(1, self.core.commit)
        try:
            self.core.step(message)
        except MalformedMessage:
            return
        except BadState:
            # A leader that contradicts what is committed, or what it has said before: the member ends.
            assert isinstance(message, Append)
            assert (self.core.commit, self.core._log.range(1, self.core.commit)) == committed
            self.ended = True

    def lead(self) -> None:
        """Wins an election, so that what only leaders hear is heard."""
        for _ in range(10):
            self.tick()
            for term in (self.core.term, self.core.term + 1):
                self.step(VoteResponse("b", "a", term, True, term > self.core.term))
                self.step(VoteResponse("b", "a", self.core.term, True, False))
            self.handle()
            if self.core.role == "leader":
                return

    def tick(self) -> None:
        self.now_ns += 10_000_000
        self.core.tick()

    def act(self) -> None:
        """Something that hosts do."""
        core = self.core
        what = self.draw(
            st.sampled_from(["tick", "propose", "read", "configure", "transfer", "gone", "compact"])
        )
        try:
            match what:
                case "tick":
                    self.tick()
                case "propose":
                    core.propose([b"x", b"y"])
                case "read":
                    core.read_index(1)
                case "configure":
                    core.propose_configuration(
                        self.draw(sane_configurations.filter(lambda c: c.voters and not c.joint))
                    )
                case "transfer":
                    core.transfer(self.draw(st.sampled_from(["b", "c", "d#4"])))
                case "gone":
                    core.leader_gone()
                case "compact" if core.commit > core.first_index:
                    index = core.commit
                    core.compact(
                        SnapshotMeta(index, core._log.term(index), core.configuration_at(index), 10, 1), index
                    )
        except (Busy, NotLeader, UnsuitableTarget, ValueError):
            pass

    def handle(self) -> None:
        """Takes the Readys, encodes what goes out, syncs at once."""
        for _ in range(50):
            if not self.core.has_ready():
                return
            ready = self.core.ready()
            sent = [*ready.messages, *ready.after_persist]
            sent += [request.message(b"0123456789"[: request.length]) for request in ready.chunks]
            encode(sent)
            msgspec.msgpack.encode((ready.entries, ready.hard_state))
            if ready.snapshot is not None:
                msgspec.msgpack.encode(ready.snapshot)
            if ready.entries:
                self.core.persisted(ready.entries[-1].index, ready.entries[-1].term)
        raise AssertionError("a core that is never done")


@budget(250)
@given(st.data())
def test_no_message_of_a_listed_peer_breaks_a_core(data: st.DataObject) -> None:
    switches = st.booleans()
    check_quorum = data.draw(switches)
    host = Host(
        data.draw,
        pre_vote=data.draw(switches),
        check_quorum=check_quorum,
        lease=check_quorum and data.draw(switches),
    )
    if data.draw(switches):
        host.lead()
    for _ in range(data.draw(st.integers(1, 25))):
        if host.ended:
            return
        if data.draw(st.integers(0, 3)):
            message = data.draw(messages)
            if data.draw(switches) and -1 <= host.core.term < 2**60:
                message = msgspec.structs.replace(message, term=host.core.term)
            try:
                heard = decode(encode([message]))
            except MalformedMessage:
                continue
            host.step(heard[0])
        else:
            host.act()
        if not host.ended and data.draw(switches):
            host.handle()
    if not host.ended:
        host.handle()


@budget(300)
@given(st.data())
def test_bytes_are_a_batch_or_malformed(data: st.DataObject) -> None:
    batch = data.draw(st.lists(messages, max_size=3))
    sent = data.draw(mutated(encode(batch)))
    try:
        heard = decode(sent)
    except MalformedMessage:
        return
    assert decode(encode(heard)) == heard


@budget(200)
@given(
    st.one_of(
        st.binary(max_size=100),
        st.integers(1, 3000).map(lambda depth: b"\x91" * depth),
        st.sampled_from([b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xffx", b"\x91\xdf\xff\xff\xff\xff"]),
    )
)
def test_arbitrary_bytes_are_malformed_and_cost_nothing(sent: bytes) -> None:
    try:
        decode(sent)
    except MalformedMessage:
        return
