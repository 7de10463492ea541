"""What those who wait are told: never a definite answer that could turn out false."""

import asyncio
from typing import Any

import pytest

from faultlab.raft.forwarding import ANSWER_CHANNEL, REQUEST_CHANNEL, ForwardDesk, Forwarder
from faultlab.raft.kv import KeyValueStore
from faultlab.raft.messages import Entry
from faultlab.raft.proposals import Proposals
from faultlab.raft.waiting_reads import WaitingReads
from faultlab.runtime.errors import ProtocolError
from faultlab.runtime.resp.encoder import Result
from faultlab.runtime.resp.handler import Kind, Slot

GET_K = b"\x92\x06\xc4\x01k"
SET_K_V = b"\x93\x01\xc4\x01k\xc4\x01v"


class Answer:
    """A slot that remembers what it was told, and that it is told once."""

    def __init__(self) -> None:
        self.told: list[tuple[Result, str | None, int | None]] = []

    def resolve(self, result: Result, member: str | None, term: int | None) -> None:
        assert not self.told, "answered twice"
        self.told.append((result, member, term))

    @property
    def code(self) -> str:
        [(result, _, _)] = self.told
        assert isinstance(result, str)
        return result.split()[0]


def test_the_entry_applied_with_the_proposals_term_answers_it() -> None:
    proposals, one, two = Proposals("demo-0"), Answer(), Answer()
    proposals.add(5, 2, [one, two], deadline_s=10)
    proposals.applied(5, 2, b"first")
    proposals.applied(6, 2, 7)
    assert (one.told, two.told) == ([(b"first", "demo-0", 2)], [(7, "demo-0", 2)])
    assert len(proposals) == 0


def test_another_entry_in_its_place_is_a_definite_failure() -> None:
    proposals, answer = Proposals("demo-0"), Answer()
    proposals.add(5, 2, [answer], deadline_s=10)
    proposals.applied(4, 1, None)
    assert not answer.told
    proposals.applied(5, 3, "+OK")
    assert answer.code == "-NOTLEADER"


def test_time_alone_gives_only_unknown_and_what_comes_later_is_dropped() -> None:
    proposals, early, late = Proposals("demo-0"), Answer(), Answer()
    proposals.add(5, 2, [early], deadline_s=10)
    proposals.add(6, 2, [late], deadline_s=20)
    assert proposals.expire(9.9) == 0
    assert proposals.expire(10) == 1
    assert (early.code, late.told) == ("-UNKNOWN", [])
    proposals.applied(5, 2, "+OK")
    assert len(early.told) == 1


@pytest.mark.parametrize(
    ("winner", "codes"), [(3, ["-NOTLEADER", "+OK"]), (1, ["+OK", "-NOTLEADER"]), (2, ["-NOTLEADER"] * 2)]
)
def test_two_proposals_for_one_index_are_told_apart_by_term(winner: int, codes: list[str]) -> None:
    """Proposed in term 1, overwritten, and led again in term 3: either may still be the one chosen."""
    proposals, old, new = Proposals("demo-0"), Answer(), Answer()
    proposals.add(5, 1, [old], deadline_s=10)
    proposals.add(5, 3, [new], deadline_s=20)
    assert not old.told
    proposals.applied(5, winner, "+OK")
    assert [old.code, new.code] == codes


def test_ending_tells_everybody_that_the_outcome_is_unknown() -> None:
    proposals, answers = Proposals("demo-0"), [Answer(), Answer(), Answer()]
    proposals.add(5, 1, [answers[0]], deadline_s=10)
    proposals.add(5, 2, [answers[1], answers[2]], deadline_s=10)
    proposals.abandon()
    assert {answer.code for answer in answers} == {"-UNKNOWN"}


def test_a_read_is_answered_when_its_round_is_over_and_the_state_has_caught_up() -> None:
    store, answer = KeyValueStore(), Answer()
    reads = WaitingReads("demo-0", store)
    context = reads.add([(GET_K, answer)], 4, deadline_s=10)
    reads.answer()
    reads.confirmed(context, 1)
    reads.answer()
    assert not answer.told
    store.apply(Entry(1, 4, SET_K_V))
    reads.answer()
    assert answer.told == [(b"v", "demo-0", 4)]
    assert len(reads) == 0


def test_a_read_that_is_lost_or_late_is_a_definite_failure() -> None:
    reads, answers = WaitingReads("demo-0", KeyValueStore()), [Answer(), Answer(), Answer()]
    contexts = [reads.add([(GET_K, answer)], 4, deadline_s=10) for answer in answers]
    reads.lost(contexts[0])
    reads.confirmed(contexts[1], 99)
    reads.expire(10)
    reads.answer()
    assert {answer.code for answer in answers} == {"-NOTLEADER"}
    assert len(reads) == 0


class FakeLink:
    """A link to the leader that keeps what is sent."""

    def __init__(self, accepts: bool = True, connected: bool = True) -> None:
        self.accepts, self.connected = accepts, connected
        self.sent: list[tuple[int, bytes]] = []

    def send_request(self, channel: int, payload: bytes) -> bool:
        if self.accepts:
            self.sent.append((channel, payload))
        return self.accepts


def forwarder_over(link: Any) -> Forwarder:
    return Forwarder({"demo-1": link})


async def test_a_request_goes_to_the_leader_and_its_answer_comes_back() -> None:
    to_leader, to_follower = FakeLink(), FakeLink()
    forwarder = forwarder_over(to_leader)
    write, read = Answer(), Answer()
    forwarder.forward("demo-1", [(Kind.WRITE, SET_K_V, write), (Kind.READ, GET_K, read)], 10)
    [(channel, payload)] = to_leader.sent
    assert channel == REQUEST_CHANNEL
    taken: list[tuple[Kind, bytes, Slot]] = []
    links: Any = {"demo-0": to_follower}
    desk = ForwardDesk(
        links, asyncio.get_running_loop(), lambda kind, command, slot: taken.append((kind, command, slot))
    )
    desk.requested("demo-0", payload)
    assert [(kind, command) for kind, command, _ in taken] == [(Kind.WRITE, SET_K_V), (Kind.READ, GET_K)]
    taken[1][2].resolve(b"v", "demo-1", 6)
    taken[0][2].resolve("-NOTLEADER no", None, None)
    await asyncio.sleep(0)
    [(channel, payload)] = to_follower.sent
    assert channel == ANSWER_CHANNEL
    forwarder.answered("demo-1", payload)
    assert read.told == [(b"v", "demo-1", 6)]
    assert write.told == [("-NOTLEADER no", None, None)]
    assert len(forwarder) == 0


@pytest.mark.parametrize("end", ["lost", "expire", "abandon"])
def test_without_an_answer_a_write_is_unknown_and_a_read_did_not_happen(end: str) -> None:
    forwarder, write, read = forwarder_over(FakeLink()), Answer(), Answer()
    forwarder.forward("demo-1", [(Kind.WRITE, SET_K_V, write), (Kind.READ, GET_K, read)], 10)
    forwarder.lost("demo-2")
    forwarder.expire(9)
    assert not write.told
    {
        "lost": lambda: forwarder.lost("demo-1"),
        "expire": lambda: forwarder.expire(10),
        "abandon": forwarder.abandon,
    }[end]()
    assert (write.code, read.code) == ("-UNKNOWN", "-NOTLEADER")
    assert len(forwarder) == 0


@pytest.mark.parametrize(("connected", "code"), [(True, "-BUSY"), (False, "-NOTLEADER")])
def test_what_was_never_sent_is_a_definite_failure(connected: bool, code: str) -> None:
    forwarder, write = forwarder_over(FakeLink(accepts=False, connected=connected)), Answer()
    forwarder.forward("demo-1", [(Kind.WRITE, SET_K_V, write)], 10)
    assert write.code == code
    assert len(forwarder) == 0


def test_more_outstanding_than_the_bound_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faultlab.raft.forwarding.MAX_OUTSTANDING", 3)
    forwarder, answers = forwarder_over(FakeLink()), [Answer() for _ in range(4)]
    forwarder.forward("demo-1", [(Kind.WRITE, SET_K_V, answer) for answer in answers[:3]], 10)
    forwarder.forward("demo-1", [(Kind.WRITE, SET_K_V, answers[3])], 10)
    assert answers[3].code == "-BUSY"
    assert not any(answer.told for answer in answers[:3])


async def test_malformed_frames_of_a_peer_are_protocol_errors() -> None:
    desk = ForwardDesk({}, asyncio.get_running_loop(), lambda *_: None)
    forwarder = forwarder_over(FakeLink())
    for payload in (b"", b"\xc1", b"\x01", b"\x92\x01\x91\xc4\x01\x00"):
        with pytest.raises(ProtocolError):
            forwarder.answered("demo-1", payload)
        with pytest.raises(ProtocolError):
            desk.requested("demo-0", payload)
