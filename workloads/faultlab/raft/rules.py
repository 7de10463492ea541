"""The guards that a test of the lab may switch off, each alone; docs/systems/raft.md tells what breaks.

A switch removes exactly one guard and adds nothing. `break_rule` of the settings carries one of them to
whoever owns the guard. The three that a RaftCluster offers (`contract.member.BreakRule`) are among them.
"""

from typing import Literal, TypeAlias, get_args

CoreRule: TypeAlias = Literal[
    "staleReads",
    "commitWithoutMajority",
    "forgetVote",
    "commitOldTerms",
    "electStale",
    "appendAnywhere",
    "oneMajority",
    "changeWhilePending",
    "countLearners",
    "leaseForever",
    "readBeforeOwnTerm",
    "readAtOwnCommit",
    "snapshotWithoutConfiguration",
    "installKeepsLog",
]
"""In the core. Sections of the paper, or of the thesis where the paper has none:

- `staleReads` (6.4): a leader answers reads without asking whether it still leads.
- `commitWithoutMajority` (5.3): a leader commits what it alone has synced.
- `forgetVote` (figure 2, RequestVote 2): a member grants every vote it is asked for.
- `commitOldTerms` (5.4.2): entries of earlier terms are committed by counting.
- `electStale` (5.4.1): a vote is granted to a log that lacks entries.
- `appendAnywhere` (5.3): the entry before an append is not compared.
- `oneMajority` (thesis, 4.3): in joint consensus only the new voters count.
- `changeWhilePending` (thesis, 4.1): a membership change begins before the one before is committed.
- `countLearners` (thesis, 4.2.1): learners count towards the voters' majority.
- `leaseForever` (thesis, 6.4.1): a lease does not end with its time.
- `readBeforeOwnTerm` (thesis, 6.4): a leader serves reads before it has committed an entry of its term.
- `readAtOwnCommit` (thesis, 6.4): a follower serves a read at its own commit index, without asking.
- `snapshotWithoutConfiguration` (thesis, 5.1): a snapshot does not hold the configuration at its index.
- `installKeepsLog` (thesis, 5.3): a log that contradicts an installed snapshot stays behind it.
"""

Rule: TypeAlias = (
    CoreRule
    | Literal["ackBeforeSync", "reviveEmpty"]
    | Literal["forgetSession", "snapshotWithoutSessions", "expireByOwnClock"]
    | Literal["retryFailedSync", "ignoreDamage"]
)
"""All of them: the core's, the node's, the sessions' and the storage's."""

RULES: tuple[Rule, ...] = tuple(rule for group in get_args(Rule) for rule in get_args(group))
"""Every rule once."""


def rule_named(name: str | None) -> Rule | None:
    """The rule of that name; raises ValueError for one that there is not."""
    if name is None:
        return None
    for rule in RULES:
        if rule == name:
            return rule
    raise ValueError(f"there is no rule {name!r} to break; there are {', '.join(RULES)}")
