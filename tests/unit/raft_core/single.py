"""One core, stepped by hand: for tests that say exactly which message comes when."""

import random

from faultlab.raft.config import CoreConfig
from faultlab.raft.core import Raft
from faultlab.raft.messages import (
    Append,
    AppendResponse,
    Entry,
    HardState,
    VoteRequest,
    VoteResponse,
)
from faultlab.raft.ready import Ready

ELECTION_TICKS = 10
VOTERS = ("a", "b", "c", "d", "e")


def make(
    *,
    term: int = 0,
    vote: str | None = None,
    commit: int = 0,
    log: tuple[int, ...] = (),
    voters: tuple[str, ...] = VOTERS,
    seed: int = 0,
    **settings: object,
) -> Raft:
    """Member `a` with entries of these terms on its disk; pre-vote and check-quorum off unless asked for."""
    config = CoreConfig(
        id="a",
        voters=voters,
        **{  # type: ignore[arg-type]
            "election_ticks": ELECTION_TICKS,
            "heartbeat_ticks": 1,
            "pre_vote": False,
            "check_quorum": False,
            **settings,
        },
    )
    entries = [Entry(index, at, b"%d" % index) for index, at in enumerate(log, start=1)]
    return Raft(config, HardState(max(term, *log, 0), vote, commit), entries, random.Random(seed))


def sync(raft: Raft) -> Ready:
    """Takes one Ready and has it on disk at once."""
    ready = raft.ready()
    if ready.entries:
        raft.persisted(ready.entries[-1].index, ready.entries[-1].term)
    return ready


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
