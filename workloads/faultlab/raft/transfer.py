"""Leadership transfer: the leader brings one voter up to date and asks it to campaign (thesis, 3.10)."""

from collections.abc import Mapping

from .configuration import name_of
from .errors import Busy, UnsuitableTarget
from .messages import NodeId, TimeoutNow
from .progress import Progress
from .ready import CoreEvent
from .state import State

_REST_IN_ELECTION_TIMEOUTS = 10
"""Between two hand-overs to a higher priority that nobody asked for."""


class Transfer:
    """The hand-over that is under way in one leadership, if any.

    While it is, nothing may be proposed, so that the target catches up. It is given up after an election
    timeout: the target may be down. A target that campaigns later all the same does no harm.
    """

    __slots__ = ("_asked", "_deadline", "_rest_until", "_state", "to")

    def __init__(self, state: State) -> None:
        self._state = state
        self.to: NodeId | None = None
        """Who is to take over."""
        self._asked = False
        self._deadline = 0
        self._rest_until = state.config.election_ticks

    def begin(self, to: NodeId, now: int) -> None:
        """Hands over to `to`, at the leader's tick `now`; Busy while another is to take over."""
        state = self._state
        if to not in state.configuration.voters or to == state.id:
            raise UnsuitableTarget(
                f"{to} is no other voter ({', '.join(state.configuration.voters)}); name one of them"
            )
        if self.to is not None:
            if self.to != to:
                raise Busy(f"the leadership is being handed over to {self.to}; try again later")
            return
        self.to = to
        self._asked = False
        self._deadline = now + state.config.election_ticks
        self._tell("begun")

    def check(self) -> None:
        """Raises Busy while a hand-over is under way."""
        if self.to is not None:
            raise Busy(f"the leadership is being handed over to {self.to}; try again later")

    def tick(self, now: int) -> bool:
        """Gives up what has taken an election timeout; whether it did."""
        if self.to is None or now < self._deadline:
            return False
        self._tell("given up")
        self.to = None
        return True

    def cancel_unless_voter(self) -> None:
        """The voters have changed; the target may be none any more."""
        if self.to is not None and self.to not in self._state.configuration.voters:
            self._tell("given up")
            self.to = None

    def advance(self, peers: Mapping[NodeId, Progress]) -> bool:
        """Asks the target to campaign once it has the whole log; whether it was asked now."""
        state = self._state
        if self.to is None or self._asked or peers[self.to].match < state.log.last_index:
            return False
        self._asked = True
        state.messages.append(TimeoutNow(state.id, self.to, state.term))
        return True

    def preferred(self, peers: Mapping[NodeId, Progress], now: int) -> NodeId | None:
        """A voter of higher priority that has all that is committed, if it is time to look for one."""
        state = self._state
        priorities = state.config.priorities
        if not priorities or self.to is not None or now < self._rest_until:
            return None
        best, target = priorities.get(name_of(state.id), 0), None
        for node in state.configuration.voters:
            peer = peers.get(node)
            if peer is None or peer.match < state.log.commit or not peer.is_recent(now, state.config):
                continue
            priority = priorities.get(name_of(node), 0)
            if priority > best:
                best, target = priority, node
        if target is not None:
            self._rest_until = now + _REST_IN_ELECTION_TIMEOUTS * state.config.election_ticks
        return target

    def _tell(self, what: str) -> None:
        state = self._state
        state.events.append(
            CoreEvent(type="LeadershipTransfer", term=state.term, leader=self.to, detail=what)
        )
