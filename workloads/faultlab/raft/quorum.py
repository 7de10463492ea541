"""What a majority is, once for all: elections, commit, read rounds, leases and check-quorum ask here.

In joint consensus (thesis, 4.3) each half of the configuration must agree by a majority of its own.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from .configuration import Configuration, NodeId
from .rules import Rule


def majority(voters: int) -> int:
    """How many of that many voters any two majorities share a member of."""
    return voters // 2 + 1


class Quorum:
    """Who must agree under one configuration. One without voters agrees to nothing."""

    __slots__ = ("_half", "_halves", "_needed")

    def __init__(self, configuration: Configuration, break_rule: Rule | None = None) -> None:
        halves = [configuration.voters]
        if configuration.outgoing and break_rule != "oneMajority":
            halves.append(configuration.outgoing)
        others = configuration.learners if break_rule == "countLearners" else ()
        self._halves = [((*half, *others), majority(len(half))) for half in halves]
        self._half, self._needed = self._halves[0]

    def reached(self, value: Callable[[NodeId], int]) -> int:
        """The highest value that a quorum has reached, given each member's; there must be voters."""
        if len(self._halves) == 1:
            return sorted(map(value, self._half))[-self._needed]
        return min([sorted(map(value, members))[-needed] for members, needed in self._halves])

    def outcome(self, votes: Mapping[NodeId, bool]) -> Literal["won", "lost", "open"]:
        """How an election stands, given the votes so far."""
        result: Literal["won", "open"] = "won"
        for members, needed in self._halves:
            granted = sum([votes.get(node, False) for node in members])
            if granted < needed:
                result = "open"
                if granted + sum([node not in votes for node in members]) < needed:
                    return "lost"
        return result
