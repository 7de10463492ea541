"""What all roles of a member share: term, vote, role, leader, log, voters, and the next Ready's outbox."""

from collections.abc import Callable

from faultlab.contract.member import RaftRole

from .config import CoreConfig
from .configuration import Configuration
from .log import RaftLog
from .messages import HardState, Message, NodeId, SnapshotMeta
from .promise import Promise
from .quorum import Quorum
from .ready import CoreEvent, ReceivedChunk, SnapshotChunkRequest


class State:
    """One member's variables. Term, role and leader change in roles.py only."""

    __slots__ = (
        "_violations",
        "after_persist",
        "chunks",
        "clock_ns",
        "config",
        "configuration",
        "events",
        "id",
        "leader",
        "log",
        "lost_reads",
        "messages",
        "promise",
        "quorum",
        "read_states",
        "received",
        "role",
        "snapshot",
        "term",
        "vote",
    )

    def __init__(
        self, config: CoreConfig, hard_state: HardState, log: RaftLog, clock_ns: Callable[[], int]
    ) -> None:
        self.config = config
        self.id = config.id
        self.clock_ns = clock_ns
        self.log = log
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.promise = Promise(config, hard_state.promise_ns, clock_ns)
        self.role: RaftRole = "follower"
        self.leader: NodeId | None = None
        self.configuration: Configuration = log.history.latest
        """The latest in the log, committed or not (thesis, 4.1)."""
        self.quorum = Quorum(self.configuration, config.break_rule)
        self.messages: list[Message] = []
        """Of the next Ready, as are the next seven."""
        self.after_persist: list[Message] = []
        self.chunks: list[SnapshotChunkRequest] = []
        self.received: list[ReceivedChunk] = []
        self.snapshot: SnapshotMeta | None = None
        self.read_states: list[tuple[int, int]] = []
        self.lost_reads: list[int] = []
        self.events: list[CoreEvent] = []
        self._violations: set[tuple[str, int]] = set()

    def clear_outbox(self) -> None:
        """The outbox went out with a Ready; the next one starts empty."""
        self.messages = []
        self.after_persist = []
        self.chunks = []
        self.received = []
        self.snapshot = None
        self.read_states = []
        self.lost_reads = []
        self.events = []

    def become(self, role: RaftRole) -> None:
        """Takes a role, and says so if it is another."""
        if role != self.role:
            self.role = role
            self.events.append(CoreEvent(type="RoleChanged", term=self.term, role=role))

    def configured(self) -> bool:
        """Takes up the log's latest configuration; whether it is another."""
        history = self.log.history
        if history.latest is self.configuration:
            return False
        self.configuration = configuration = history.latest
        self.quorum = Quorum(configuration, self.config.break_rule)
        self.events.append(
            CoreEvent(
                type="ConfigurationChanged",
                term=self.term,
                index=history.latest_index,
                detail=configuration.describe(),
                configuration=configuration,
            )
        )
        return True

    def violated(self, promise: str, detail: str, index: int | None = None) -> None:
        """Reports a broken promise, each once a term at most: it tends to break again with every message."""
        if (promise, self.term) in self._violations:
            return
        self._violations.add((promise, self.term))
        self.events.append(
            CoreEvent(type="InvariantViolated", term=self.term, index=index, detail=f"{promise}: {detail}")
        )
