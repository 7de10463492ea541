"""From what the processes do to promises, coverage marks and the trace."""

import msgspec

from faultlab.raft.commands import Op
from faultlab.raft.configuration import Configuration, name_of
from faultlab.raft.core import Raft
from faultlab.raft.kv import KeyValueStore
from faultlab.raft.messages import (
    Entry,
    EntryKind,
    HardState,
    InstallSnapshot,
    Message,
    SnapshotMeta,
    SnapshotResponse,
    VoteRequest,
)
from faultlab.raft.ready import CoreEvent, Ready

from .machine import Process
from .marks import Marks
from .safety import Safety, ShadowLog
from .trace import Recorder

_decode = msgspec.msgpack.Decoder(list).decode
_CONFIGURATION = int(EntryKind.CONFIGURATION)
_REQ = int(Op.REQ)
_STAMPED = (_REQ, int(Op.SESSION_OPEN), int(Op.SESSION_CLOSE))
"""Their last argument is the wall clock of the leader that proposed them."""


class Seen:
    """What was last seen of one process."""

    __slots__ = (
        "before",
        "chunk_from",
        "commit",
        "commit_when_elected",
        "configuration",
        "configuration_index",
        "log",
        "process",
        "role",
        "term",
    )

    def __init__(self, process: Process, log: ShadowLog, configuration: Configuration) -> None:
        self.process = process
        self.log = log
        self.role = "follower"
        self.term = 0
        self.commit = 0
        self.commit_when_elected = 0
        self.configuration = configuration
        self.before = configuration
        """The one before, which a commit of the same turn may have counted by."""
        self.configuration_index = 0
        self.chunk_from: tuple[str, int] | None = None
        """Sender and index of the part of a snapshot that came last."""


class Observer:
    """Hears of everything; tells of what is broken."""

    def __init__(self, safety: Safety, marks: Marks, recorder: Recorder) -> None:
        self._safety = safety
        self._marks = marks
        self._recorder = recorder
        self.seen: dict[str, Seen] = {}
        """By machine, the process that runs there."""
        self.applied = 0
        """The highest index that any member has applied."""
        self.configuration = Configuration()
        """The committed one of highest index."""
        self._configuration_at = -1
        self.lost: dict[str, None] = {}
        """Names of members that have lost data."""
        self._campaigns: dict[int, dict[str, None]] = {}
        self._won: dict[int, str] = {}
        self._handed: dict[str, None] = {}
        """Members that a leader is handing over to."""
        self._requests: dict[tuple[int, int], int] = {}
        """Session and number to the term in which it was committed first."""
        self._log_time_ms = 0
        self.violation: str | None = None
        self.error: BaseException | None = None
        """The exception that broke a member, if one did."""

    def violated(self, member: str, what: str) -> None:
        """A promise was broken; the first one is the run's result."""
        self._recorder.note("violation", member, text=what)
        if self.violation is None:
            self.violation = what

    def started(self, seen: Seen) -> None:
        """A process runs."""
        self.seen[seen.process.machine.name] = seen

    def ended(self, machine: str) -> None:
        """A process runs no more."""
        seen = self.seen.pop(machine, None)
        if seen is not None and seen.role == "leader" and seen.configuration.joint:
            self._marks.reach("leader lost in joint consensus")

    # What the window in the core shows.

    def heard(self, seen: Seen, core: Raft, message: Message) -> None:
        """A message of the kinds that marks are about comes in."""
        if type(message) is VoteRequest:
            if message.pre_vote and core.leader is not None and message.term > core.term:
                self._marks.reach("pre-vote ignored beside a live leader")
            log = seen.log
            if (message.last_term, message.last_index) < (log.term(log.last) or 0, log.last):
                self._marks.reach("candidate with a stale log")
        elif type(message) is InstallSnapshot:
            source = (message.sender, message.meta.index)
            if message.offset and seen.chunk_from != source:
                self._marks.reach("snapshot chunk resumed")
            seen.chunk_from = source
        elif type(message) is SnapshotResponse and message.rejected:
            self._marks.reach("snapshot chunk rejected")

    def ready(self, seen: Seen, core: Raft, ready: Ready) -> None:
        """A Ready goes to the host."""
        member = seen.process.id
        if ready.snapshot is not None:
            if seen.log.last > ready.snapshot.index:
                self._marks.reach("snapshot replaced a longer log")
            last = ready.snapshot.index if ready.entries else core.last_index
            self._safety.installed(member, ready.snapshot, last, seen.log)
        if ready.entries:
            if ready.entries[0].index <= seen.log.last:
                self._marks.reach("conflicting entries replaced")
            self._safety.written(member, ready.entries, seen.log)
        for event in ready.events:
            self._event(seen, core, event)
        if ready.lost_reads:
            self._marks.reach("read lost with the leadership")
        if ready.read_states:
            self._reads(core)
        commit = core.commit
        if commit != seen.commit:
            self._committed(seen, core, commit)
        if ready.committed:
            self._safety.applied(member, ready.committed)
            if ready.committed[-1].index > self.applied:
                self._first_applied(ready.committed)

    def synced(
        self, seen: Seen, entries: list[Entry], state: HardState | None, installed: SnapshotMeta | None
    ) -> None:
        """A group is durable at a member."""
        self._safety.synced(seen.process.id, entries, state, installed)

    def snapshot_taken(self, seen: Seen, index: int) -> None:
        """A member has made its state durable."""
        self._recorder.note("snapshot", seen.process.machine.name, index=index)
        self._marks.reach("snapshot taken")

    def state(self, seen: Seen, store: KeyValueStore) -> None:
        """A member's state is to be compared."""
        self._safety.state(seen.process.id, store.applied_index, store.fingerprint())

    # What follows from it.

    def _committed(self, seen: Seen, core: Raft, commit: int) -> None:
        machine = seen.process.machine
        first_known = self._safety.commit
        self._recorder.note("commit", machine.name, index=commit)
        leads = core.role == "leader" and commit > seen.commit_when_elected
        configurations = (seen.before, core.configuration) if leads else ()
        self._safety.committed(seen.process.id, commit, core.term, seen.log, configurations)
        seen.commit = commit
        if (
            core.role == "leader"
            and commit > first_known
            and seen.log.term(first_known + 1) not in (None, core.term)
        ):
            self._marks.reach("entry of an earlier term committed")
        if seen.configuration_index <= commit and seen.configuration_index > self._configuration_at:
            self._configuration_at = seen.configuration_index
            self.configuration = seen.configuration
        seen.before = seen.configuration

    def _first_applied(self, entries: list[Entry]) -> None:
        """Nobody has applied these before."""
        for entry in entries:
            if entry.index <= self.applied or not entry.data or entry.kind == _CONFIGURATION:
                continue
            op, *args = _decode(entry.data)
            if op == _REQ:
                first_term = self._requests.setdefault((args[0], args[1]), entry.term)
                if first_term != entry.term:
                    self._marks.reach("session retried across terms")
            if op in _STAMPED:
                if args[-1] < self._log_time_ms:
                    self._marks.reach("wall clock behind log time")
                self._log_time_ms = max(self._log_time_ms, args[-1])
        self.applied = entries[-1].index

    def _reads(self, core: Raft) -> None:
        if core.role != "leader":
            self._marks.reach("follower read served")
        elif core.lease_valid():
            self._marks.reach("lease read served")

    def _event(self, seen: Seen, core: Raft, event: CoreEvent) -> None:
        match event.type:
            case "RoleChanged":
                self._role(seen, core, event)
            case "LeaderElected":
                seen.commit_when_elected = core.commit
                self._elected(seen, event)
            case "LeaderLost":
                if event.leader == seen.process.id:
                    self._marks.reach("leader stepped down without a majority")
            case "ElectionStarted":
                if event.detail != "preVote":
                    self._campaign(seen, event.term)
            case "ConfigurationChanged":
                self._configured(seen, event)
            case "SnapshotInstalled":
                self._recorder.note("installed", seen.process.machine.name, index=event.index or 0)
                self._marks.reach("snapshot installed")
                if core.configuration.joint or self.configuration.joint:
                    self._marks.reach("snapshot installed during joint consensus")
            case "LeadershipTransfer":
                self._transfer(event)
            case "InvariantViolated":
                self.violated(seen.process.id, event.detail or "a promise")

    def _role(self, seen: Seen, core: Raft, event: CoreEvent) -> None:
        role = event.role or "follower"
        if seen.role == "leader":
            if seen.log.last > core.commit:
                self._marks.reach("leader deposed with uncommitted entries")
            if seen.configuration.joint:
                self._marks.reach("leader lost in joint consensus")
            if seen.process.id not in seen.configuration.members:
                self._marks.reach("removed leader stepped down")
        seen.role = role
        seen.term = event.term
        self._recorder.note("role", seen.process.machine.name, core.leader or "", term=event.term, text=role)

    def _elected(self, seen: Seen, event: CoreEvent) -> None:
        member = seen.process.id
        for other in self.seen.values():
            if other is not seen and other.role == "leader" and other.term < event.term:
                self._marks.reach("two leaders in different terms")
        self._won[event.term] = member
        if member in self._handed:
            self._marks.reach("transfer completed")
        self._handed.clear()
        self._safety.elected(member, event.term, seen.log)

    def _campaign(self, seen: Seen, term: int) -> None:
        before = self._campaigns.get(term - 1)
        if before is not None and len(before) > 1 and term - 1 not in self._won:
            self._marks.reach("vote split")
        self._campaigns.setdefault(term, {})[seen.process.id] = None

    def _configured(self, seen: Seen, event: CoreEvent) -> None:
        old, new = seen.configuration, event.configuration
        assert new is not None
        seen.before, seen.configuration = old, new
        index = event.index or 0
        if index < seen.configuration_index:
            self._marks.reach("configuration taken back")
        seen.configuration_index = index
        self._recorder.note("configuration", seen.process.machine.name, index=index, text=new.describe())
        if [member for member in new.learners if member not in old.learners]:
            self._marks.reach("learner added")
        if seen.role != "leader":
            return
        promoted = [member for member in old.learners if member in new.voters]
        if promoted:
            self._marks.reach("learner promoted")
        if [member for member in promoted if name_of(member) in self.lost]:
            self._marks.reach("member replaced")
        if new.joint and not old.joint:
            self._marks.reach("joint consensus entered")
        if old.joint and not new.joint:
            self._marks.reach("joint consensus left")
        if len(old.outgoing) == 1 and len(new.voters) > 1 and not new.joint:
            self._marks.reach("single member grown")

    def _transfer(self, event: CoreEvent) -> None:
        if event.detail == "given up":
            self._marks.reach("transfer given up")
        elif event.leader is not None:
            self._handed[event.leader] = None
