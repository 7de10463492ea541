"""What the leader has been asked to change, carried on with as time passes: membership and leadership."""

from collections.abc import Callable, Collection

from faultlab.contract.member import RaftConfig

from .configuration import NodeId, name_of
from .core import Raft
from .errors import RaftError
from .membership import Goal, HandOver, Propose, Reached, Step, Wait, choose_successor, next_step


class Changes:
    """One member's; what it was asked is forgotten with its leadership: who asks repeats it."""

    def __init__(
        self,
        config: RaftConfig,
        core: Raft,
        member_id: NodeId,
        is_reachable: Callable[[NodeId], bool],
        wake: Callable[[], None],
    ) -> None:
        """`is_reachable(id)`: there is a connection to it. `wake()`: the core was asked for something."""
        self._core = core
        self._member_id = member_id
        self._priorities = config.priorities
        self._is_reachable = is_reachable
        self._wake = wake
        self._goal: Goal | None = None

    def want(self, goal: Goal) -> Step:
        """Takes a goal in place of any before, and the first step towards it. Leaders only."""
        self._goal = goal
        return self._step(goal)

    def advance(self) -> None:
        """Time has passed: takes the next step, if it can be taken."""
        if self._goal is not None and (
            self._core.role != "leader" or isinstance(self._step(self._goal), Reached)
        ):
            self._goal = None

    def hand_over(self, candidates: Collection[NodeId] | None = None) -> NodeId | None:
        """Begins to transfer the leadership to the best of these voters (None: of all); to whom, None if
        there is nobody. Raises Busy while it is being transferred to another."""
        core = self._core
        voters = core.configuration.voters if candidates is None else candidates
        others = [voter for voter in voters if voter != self._member_id]
        there = [voter for voter in others if self._is_reachable(voter)]
        to = choose_successor(there or others, core.progress, self._priorities)
        if to is not None:
            core.transfer(to)
            self._wake()
        return to

    def voter_named(self, name: str) -> NodeId | None:
        """The id of the voter of that name."""
        return next((i for i in self._core.configuration.voters if name_of(i) == name), None)

    def _step(self, goal: Goal) -> Step:
        core = self._core
        step = next_step(
            goal,
            core.configuration,
            self._member_id,
            pending=core.configuration_index > core.commit,
            caught_up=core.learners_caught_up,
            reachable=[peer for peer in core.configuration.members if self._is_reachable(peer)],
            next_index=core.last_index + 1,
        )
        try:
            if isinstance(step, Propose):
                core.propose_configuration(step.configuration)
                self._wake()
                return Wait(f"the configuration of {step.configuration.describe()} to be committed")
            if isinstance(step, HandOver):
                self.hand_over(step.candidates)
        except RaftError as error:
            return Wait(str(error))
        return step
