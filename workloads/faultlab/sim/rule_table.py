"""Every rule that carries safety, and a seed that shows what happens without it.

The seeds are in rule_seeds.json, one for each rule: with the rule on the run is fine, with it off the promise
that the table names is broken. Whoever changes what a run does moves the seeds: `python -m
faultlab.sim.rule_table` looks for them anew, and says which rules it has not found.
"""

import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

import msgspec

from faultlab.raft.rules import RULES, Rule

from .run import simulate

MAX_SEEDS = 2000
_DATA = "rule_seeds.json"


class Found(msgspec.Struct, frozen=True):
    """What a run showed."""

    seed: int
    breaks: str
    """The promise: what stands before the colon of the violation."""
    violation: str
    """In full, as that run told it."""


EXPECTED: Mapping[Rule, tuple[str, ...]] = MappingProxyType(
    {
        "staleReads": ("linearizability",),
        "commitWithoutMajority": ("commitment",),
        "forgetVote": ("election safety", "leader completeness"),
        "commitOldTerms": ("commitment", "leader completeness"),
        "electStale": ("leader completeness",),
        "appendAnywhere": ("log matching",),
        "oneMajority": ("commitment", "election safety", "leader completeness"),
        "changeWhilePending": (
            "election safety",
            "leader completeness",
            "state machine safety",
            "commitment",
        ),
        "countLearners": ("commitment",),
        "leaseForever": ("linearizability",),
        "readBeforeOwnTerm": ("linearizability",),
        "readAtOwnCommit": ("linearizability",),
        "snapshotWithoutConfiguration": ("liveness", "commitment", "election safety", "member broken"),
        "installKeepsLog": ("log matching",),
        "ackBeforeSync": ("commitment", "promise"),
        "reviveEmpty": ("promise",),
        "forgetSession": ("linearizability", "session exactly-once"),
        "snapshotWithoutSessions": ("state machine safety",),
        "expireByOwnClock": ("state machine safety",),
        "retryFailedSync": ("promise",),
        "ignoreDamage": ("promise",),
    }
)
"""Which promises a rule guards. A run that breaks another one without the rule does not count."""


def recorded() -> dict[Rule, Found]:
    """The table as it is kept."""
    return msgspec.json.decode(files(__package__).joinpath(_DATA).read_bytes(), type=dict[Rule, Found])


def shows(rule: Rule, seed: int) -> Found | None:
    """What the seed shows of a rule: a promise of its broken without it, and none with it; else None."""
    without = simulate(seed, break_rule=rule)
    if without.violation is None:
        return None
    promise = without.violation.partition(":")[0]
    if promise not in EXPECTED[rule] or not simulate(seed).ok:
        return None
    return Found(seed, promise, without.violation)


def find(rule: Rule, first: int = 1, seeds: int = MAX_SEEDS) -> Found | None:
    """The first seed that shows a rule, among so many."""
    for seed in range(first, first + seeds):
        found = shows(rule, seed)
        if found is not None:
            return found
    return None


def main() -> int:
    """Writes the table anew; 1 if a rule was not found."""
    table: dict[str, Found] = {}
    known = recorded()
    for rule in RULES:
        before = known.get(rule)
        found = shows(rule, before.seed) if before is not None else None
        found = found or find(rule)
        if found is None:
            sys.stderr.write(f"{rule} was not found within {MAX_SEEDS} seeds\n")
        else:
            table[rule] = found
            sys.stderr.write(f"{rule}: seed {found.seed}, {found.breaks}\n")
    written = msgspec.json.format(msgspec.json.encode(table), indent=2) + b"\n"
    Path(__file__).with_name(_DATA).write_bytes(written)
    return int(len(table) < len(RULES))


if __name__ == "__main__":
    sys.exit(main())
