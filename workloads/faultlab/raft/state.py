"""What all roles of a member share: term, vote, role, leader, log, and the outbox of the next Ready."""

from faultlab.contract.member import RaftRole

from .config import CoreConfig
from .log import RaftLog
from .messages import HardState, Message, NodeId
from .ready import CoreEvent


class State:
    """One member's variables. Only `core.Raft` changes term, role and leader; see its transitions."""

    __slots__ = (
        "_violations",
        "after_persist",
        "config",
        "events",
        "id",
        "leader",
        "log",
        "lost_reads",
        "messages",
        "peers",
        "read_states",
        "role",
        "term",
        "vote",
    )

    def __init__(self, config: CoreConfig, hard_state: HardState, log: RaftLog) -> None:
        self.config = config
        self.id = config.id
        self.peers: tuple[NodeId, ...] = tuple(voter for voter in config.voters if voter != config.id)
        self.log = log
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role: RaftRole = "follower"
        self.leader: NodeId | None = None
        self.messages: list[Message] = []
        """Of the next Ready, as are the next four."""
        self.after_persist: list[Message] = []
        self.read_states: list[tuple[int, int]] = []
        self.lost_reads: list[int] = []
        self.events: list[CoreEvent] = []
        self._violations: set[tuple[str, int]] = set()

    def clear_outbox(self) -> None:
        """The outbox went out with a Ready; the next one starts empty."""
        self.messages = []
        self.after_persist = []
        self.read_states = []
        self.lost_reads = []
        self.events = []

    def become(self, role: RaftRole) -> None:
        """Takes a role, and says so if it is another."""
        if role != self.role:
            self.role = role
            self.events.append(CoreEvent(type="RoleChanged", term=self.term, role=role))

    def violated(self, promise: str, detail: str, index: int | None = None) -> None:
        """Reports a broken promise, each once a term at most: it tends to break again with every message."""
        if (promise, self.term) in self._violations:
            return
        self._violations.add((promise, self.term))
        self.events.append(
            CoreEvent(type="InvariantViolated", term=self.term, index=index, detail=f"{promise}: {detail}")
        )
