"""What a majority is, once for all: elections, commit, read rounds and check-quorum ask here.

Membership change (joint consensus: two majorities at once) would be added here and nowhere else.
"""

from collections.abc import Collection
from typing import Literal


def majority(voters: int) -> int:
    """How many of that many voters any two majorities share a member of."""
    return voters // 2 + 1


def reached(values: Collection[int]) -> int:
    """The highest value that a majority has reached, given one value per voter."""
    return sorted(values)[(len(values) - 1) // 2]


def outcome(granted: int, refused: int, voters: int) -> Literal["won", "lost", "open"]:
    """How an election stands."""
    if granted >= majority(voters):
        return "won"
    return "lost" if voters - refused < majority(voters) else "open"
