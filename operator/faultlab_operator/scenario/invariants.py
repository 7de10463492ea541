"""What Raft promises at all times, held against the members' own events (Raft paper, figure 3).

- Election safety: at most one leader is elected in a term.
- Log matching, as far as it was applied (state machine safety): no two members applied different
  entries at one index. `Applied` events carry a digest chained over every applied entry, so that
  logs which differ anywhere differ at every later index at which two digests can be compared.
- A core that found its own promise broken says so with `InvariantViolated`.

Always checked, whatever a scenario expects. Pure: events in, check records out.
"""

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from faultlab.contract.run import CheckRecord, RunEvent

MAX_GUILTY_EVENTS = 20
"""Evidence is for reading: the first violations say it all."""


def check_invariants(events: Iterable[RunEvent]) -> list[CheckRecord]:
    """One record for each promise; `unknown` where the members said nothing that could be compared."""
    of_members = [event for event in events if event.source == "member"]
    return [
        _timed("electionSafety", of_members, election_safety),
        _timed("logMatching", of_members, log_matching),
        _timed("memberInvariants", of_members, member_invariants),
    ]


Finding = tuple[str, list[RunEvent]]
"""What is wrong, in one sentence, and the events that prove it. Nothing is wrong without events."""


def election_safety(events: Sequence[RunEvent]) -> tuple[int, Finding | None]:
    """Two `LeaderElected` in one term by different members, or by one member in two lives."""
    elected: dict[int, dict[tuple[str | None, str | None], RunEvent]] = {}
    count = 0
    for event in events:
        if event.type == "LeaderElected" and event.term is not None:
            count += 1
            elected.setdefault(event.term, {}).setdefault((event.subject, event.incarnation), event)
    guilty = [(term, list(winners.values())) for term, winners in sorted(elected.items()) if len(winners) > 1]
    if not guilty:
        return count, None
    term, winners = guilty[0]
    names = " and ".join(sorted({str(event.subject) for event in winners}))
    message = f"two leaders were elected in term {term}: {names}"
    if len(guilty) > 1:
        message += f" (and in {len(guilty) - 1} more terms)"
    return count, (message, [event for _, several in guilty for event in several])


def log_matching(events: Sequence[RunEvent]) -> tuple[int, Finding | None]:
    """Two `Applied` checkpoints at one index with different digests, or entries of different terms."""
    first_at: dict[int, RunEvent] = {}
    count = 0
    for event in events:
        if event.type != "Applied" or event.index is None:
            continue
        count += 1
        first = first_at.setdefault(event.index, event)
        if (first.digest, first.term) != (event.digest, event.term):
            message = (
                f"{first.subject} and {event.subject} applied different logs up to index {event.index}"
                if first.subject != event.subject
                else f"{event.subject} applied another log up to index {event.index} than before its restart"
            )
            return count, (message, [first, event])
    return count, None


def member_invariants(events: Sequence[RunEvent]) -> tuple[int, Finding | None]:
    """`InvariantViolated`, as members report it of themselves."""
    violated = [event for event in events if event.type == "InvariantViolated"]
    if not violated:
        return len(events), None
    first = violated[0]
    return len(events), (f"{first.subject} found its own promise broken: {first.detail}", violated)


def _timed(
    name: str,
    events: Sequence[RunEvent],
    check: Callable[[Sequence[RunEvent]], tuple[int, Finding | None]],
) -> CheckRecord:
    started = time.perf_counter()
    count, finding = check(events)
    elapsed_ms = (time.perf_counter() - started) * 1000
    if finding is not None:
        message, guilty = finding
        evidence = {"events": msgspec.to_builtins(guilty[:MAX_GUILTY_EVENTS])}
        return CheckRecord(name, "fail", count, elapsed_ms, message, evidence)
    if count == 0:
        return CheckRecord(name, "unknown", 0, elapsed_ms, "no member reported an event to compare")
    return CheckRecord(name, "pass", count, elapsed_ms, f"held by all {count} events that could break it")
