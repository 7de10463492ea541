"""One core, stepped by hand: for tests that say exactly which message comes when."""

import random

import msgspec

from faultlab.raft.config import CoreConfig
from faultlab.raft.configuration import Configuration
from faultlab.raft.core import Raft
from faultlab.raft.messages import (
    Append,
    AppendResponse,
    Entry,
    HardState,
    SnapshotMeta,
    VoteRequest,
    VoteResponse,
)
from faultlab.raft.ready import Ready

ELECTION_TICKS = 10
TICK_NS = 10_000_000
VOTERS = ("a", "b", "c", "d", "e")


class Clock:
    """A monotonic clock that stands still unless told."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def pass_ticks(self, count: float) -> None:
        """That many ticks pass; the core is not told."""
        self.now_ns += int(count * TICK_NS)


def make(
    *,
    term: int = 0,
    vote: str | None = None,
    commit: int = 0,
    promise_ns: int = 0,
    log: tuple[int, ...] = (),
    voters: tuple[str, ...] = VOTERS,
    learners: tuple[str, ...] = (),
    seed: int = 0,
    clock: "Clock | None" = None,
    **settings: object,
) -> Raft:
    """Member `a` with entries of these terms on its disk; pre-vote and check-quorum off unless asked for."""
    config = CoreConfig(
        id="a",
        **{  # type: ignore[arg-type]
            "election_ticks": ELECTION_TICKS,
            "heartbeat_ticks": 1,
            "pre_vote": False,
            "check_quorum": False,
            **settings,
        },
    )
    entries = [Entry(index, at, b"%d" % index) for index, at in enumerate(log, start=1)]
    return Raft(
        config,
        HardState(max(term, *log, 0), vote, commit, promise_ns),
        SnapshotMeta(configuration=Configuration(voters, (), learners)),
        entries,
        random.Random(seed),
        clock or Clock(),
    )


def sync(raft: Raft) -> Ready:
    """Takes one Ready and has it on disk at once."""
    ready = raft.ready()
    if ready.entries:
        raft.persisted(ready.entries[-1].index, ready.entries[-1].term)
    own = [message for message in ready.after_persist if message.to == message.sender]
    for message in own:
        raft.step(message)
    return _joined(ready, sync(raft)) if own else ready


def _joined(first: Ready, then: Ready) -> Ready:
    """Two Readys as one, but for what was addressed to the member itself."""
    return msgspec.structs.replace(
        then,
        hard_state=then.hard_state or first.hard_state,
        events=[*first.events, *then.events],
        messages=[*first.messages, *then.messages],
        must_sync=first.must_sync or then.must_sync,
    )


def sent(ready: Ready) -> list[object]:
    return [*ready.messages, *ready.after_persist]


def time_out(raft: Raft) -> Ready:
    """Ticks until the member campaigns, and takes that Ready."""
    term, role = raft.term, raft.role
    for _ in range(2 * ELECTION_TICKS):
        raft.tick()
        if raft.term != term or raft.role != role:
            return sync(raft)
    raise AssertionError(f"no campaign within {2 * ELECTION_TICKS} ticks")


def lead(raft: Raft) -> Ready:
    """Has the member win an election; the Ready has the no-op and the first appends."""
    time_out(raft)
    for peer in ("b", "c"):
        raft.step(VoteResponse(peer, "a", raft.term, True, False))
    assert raft.role == "leader"
    return sync(raft)


def accept(raft: Raft, peer: str, index: int) -> None:
    raft.step(AppendResponse(peer, "a", raft.term, index, False, 0, 0))


def append(
    term: int, prev: tuple[int, int], terms: tuple[int, ...] = (), commit: int = 0, sender: str = "b"
) -> Append:
    """An append to `a` of entries of these terms after `prev` (index, term)."""
    entries = [Entry(index, at, b"%d" % index) for index, at in enumerate(terms, start=prev[0] + 1)]
    return Append(sender, "a", term, prev[0], prev[1], commit, entries)


def vote_request(
    term: int, last: tuple[int, int] = (0, 0), sender: str = "b", pre_vote: bool = False
) -> VoteRequest:
    return VoteRequest(sender, "a", term, last[0], last[1], pre_vote)


def terms(raft: Raft) -> list[int]:
    """The terms of the whole log."""
    return [entry.term for entry in raft._log.range(1, raft.last_index)]
