"""A leader's work: sending the log, counting who has it, and knowing when to give up.

Paper, 5.3 and 5.4.2; thesis, 4 (membership), 6.2 (check-quorum), 6.4 (reads) and 10.2 (pipelining, writing in
parallel with the followers). Appends are made in `flush`, once a Ready, so everything proposed in one turn of
the host shares one message per follower. Followers learn the commit index with the next append or heartbeat;
no message is sent for that alone.
"""

import contextlib
from collections.abc import Collection, Iterable
from operator import attrgetter
from typing import TypeAlias

from . import reads, snapshots
from .configuration import Configuration, encode_configuration
from .errors import Busy, MalformedMessage
from .lease import Lease
from .log import ENTRY_OVERHEAD_BYTES
from .messages import (
    Append,
    AppendResponse,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatResponse,
    NodeId,
    ReadIndexRequest,
    SnapshotResponse,
    TimeoutNow,
)
from .progress import Progress
from .quorum import majority
from .reads import ReadRounds
from .state import State
from .transfer import Transfer

_round = attrgetter("round")

FollowerMessage: TypeAlias = AppendResponse | HeartbeatResponse | SnapshotResponse | ReadIndexRequest


class Leadership:
    """What a member has only while it leads one term; made anew for each."""

    __slots__ = (
        "_beat_elapsed",
        "_beats",
        "_dirty",
        "_lease",
        "_log",
        "_now",
        "_reads",
        "_state",
        "_transfer",
        "peers",
        "removed",
    )

    def __init__(self, state: State) -> None:
        """Begins with a no-op: entries of earlier terms commit only under one of this term (5.4.2)."""
        self._state = state
        self._log = log = state.log
        self.peers: dict[NodeId, Progress] = {}
        self.removed = False
        """This member has no vote in the latest configuration."""
        self._reads: ReadRounds[reads.Asker] = ReadRounds(state.config.max_waiting_reads)
        self._lease = Lease(state)
        self._transfer = Transfer(state)
        self._now = 0
        self._beat_elapsed = 0
        self._beats = 0
        self._dirty = True
        self.configured(log.last_index + 1)
        log.append([Entry(log.last_index + 1, state.term, b"")])

    def configured(self, following: int) -> None:
        """Sends to the members of the state's configuration from now on, and counts its voters.

        Who is new among them gets entry `following` first: one that is there, so that something is sent.
        """
        members = self._state.configuration.members
        self.peers = {
            node: self.peers.get(node) or Progress(node, following, self._now)
            for node in members
            if node != self._state.id
        }
        self.removed = not self._state.configuration.has_vote(self._state.id)
        self._lease.forget()
        self._transfer.cancel_unless_voter()
        self._dirty = True

    def tick(self) -> bool:
        """One tick; whether to go on leading: False when no majority was heard for election_ticks."""
        config = self._state.config
        self._now += 1
        if config.check_quorum:
            heard = self._state.quorum.reached(self._heard_of)
            if self._now - heard >= config.election_ticks:
                return False
        if self._transfer.tick(self._now):
            self._dirty = True
        self._beat_elapsed += 1
        if self._beat_elapsed >= config.heartbeat_ticks:
            self._beat_elapsed = 0
            for peer in self.peers.values():
                peer.nudged = False
            self._beat(self.peers.values())
            self._confirm()
            preferred = self._transfer.preferred(self.peers, self._now)
            if preferred is not None:
                self.transfer(preferred)
        return True

    def propose(self, payloads: list[bytes]) -> int:
        """Appends an entry for each and returns the first's index; Busy over max_uncommitted_bytes."""
        self._transfer.check()
        log, term = self._log, self._state.term
        waiting = log.bytes_after(log.commit)
        limit = self._state.config.max_uncommitted_bytes
        more = sum(map(len, payloads)) + ENTRY_OVERHEAD_BYTES * len(payloads)
        if waiting and waiting + more > limit:
            raise Busy(f"{waiting} of at most {limit} bytes wait to be committed; try again later")
        first = log.last_index + 1
        log.append([Entry(index, term, data) for index, data in enumerate(payloads, first)])
        self._dirty = True
        return first

    def propose_configuration(self, target: Configuration) -> int:
        """Appends the first step towards `target` and returns its index; Busy while one is under way."""
        self._transfer.check()
        current = self._state.configuration
        if self._state.config.break_rule != "changeWhilePending" and (
            current.joint or self._log.history.latest_index > self._log.commit
        ):
            raise Busy(f"another membership change is under way ({current.describe()}); try again later")
        return self._append_configuration(current.toward(target))

    def transfer(self, to: NodeId) -> None:
        """Begins to hand over."""
        self._transfer.begin(to, self._now)
        self._dirty = True

    def ask_read(self, asker: reads.Asker) -> None:
        """A read waits for the next round."""
        self._reads.ask(asker)

    def abandon_reads(self) -> list[int]:
        """The reads of this host that end with this leadership."""
        return [asker for asker in self._reads.abandon() if isinstance(asker, int)]

    @property
    def transferring(self) -> bool:
        """Whether a hand-over is under way."""
        return self._transfer.to is not None

    @property
    def lease_valid(self) -> bool:
        """Whether reads need no round at the moment."""
        return self._lease.valid and self._leads_in_its_own_right()

    @property
    def learners_caught_up(self) -> frozenset[NodeId]:
        """The learners that are heard, and whose latest round was short (thesis, 4.2.1)."""
        peers = [self.peers[node] for node in self._state.configuration.learners if node in self.peers]
        return frozenset(
            peer.node for peer in peers if peer.caught_up and peer.is_recent(self._now, self._state.config)
        )

    def take(self, message: FollowerMessage) -> None:
        """A follower's message; one of somebody who is no member any more says nothing."""
        peer = self.peers.get(message.sender)
        if peer is None:
            return
        peer.heard = self._now
        if type(message) is AppendResponse:
            self._take_append_response(peer, message)
        elif type(message) is HeartbeatResponse:
            self._take_heartbeat_response(peer, message)
        elif type(message) is SnapshotResponse:
            self._take_snapshot_response(peer, message)
        elif type(message) is ReadIndexRequest:
            self._take_read_request(message)

    def _take_append_response(self, peer: Progress, response: AppendResponse) -> None:
        """A follower says how far its log is, or that it could not follow."""
        log = self._log
        if not 0 <= response.index <= log.last_index or response.hint_index < 0:
            raise MalformedMessage(
                f"{response.sender} answers for entry {response.index}, and the log ends at {log.last_index}"
            )
        if response.rejected:
            agree = log.last_not_after(response.hint_index, response.hint_term)
            if peer.rejected(response.index, agree):
                self._dirty = True
            return
        if peer.accepted(response.index):
            if peer.match > log.commit:
                self.count()
            if peer.node in self._state.configuration.learners:
                peer.count_round(self._now, log.last_index, self._state.config.election_ticks)
        if peer.next <= log.last_index or self._transfer.to == peer.node:
            self._dirty = True

    def _take_heartbeat_response(self, peer: Progress, response: HeartbeatResponse) -> None:
        """A follower still knows no later term."""
        if response.round > peer.round:
            peer.round = response.round
            self._lease.answered(peer.node, response.round, response.promise_ns)
            self._confirm()
        if peer.node in self._state.configuration.learners:
            # Where nothing is written a round takes no time, and no append ends it.
            peer.count_round(self._now, self._log.last_index, self._state.config.election_ticks)
        if not peer.nudged and peer.match < self._log.last_index:
            peer.nudge()
            self._dirty = True

    def _take_snapshot_response(self, peer: Progress, response: SnapshotResponse) -> None:
        """A follower says how far it has the snapshot."""
        if peer.sending is not None and peer.sending.meta.index == response.index:
            peer.sending.answered(response)
            self._dirty = True

    def _take_read_request(self, request: ReadIndexRequest) -> None:
        """A follower's reads wait for the next round; beyond the bound it will ask again."""
        with contextlib.suppress(Busy):
            self._reads.ask((request.sender, request.number))

    def count(self) -> None:
        """Commits what a majority has synced, if that is of this term (5.4.2)."""
        log, state = self._log, self._state
        rule = state.config.break_rule
        index = log.synced if rule == "commitWithoutMajority" else state.quorum.reached(self._match_of)
        if index > log.commit and (log.term(index) == state.term or rule == "commitOldTerms"):
            log.commit = index
            if state.configuration.joint:
                self._dirty = True

    @property
    def is_over(self) -> bool:
        """Whether this member was removed, and that is committed: it leads no more (thesis, 4.2.2)."""
        return self.removed and self._log.history.latest_index <= self._log.commit

    @property
    def has_work(self) -> bool:
        """Whether `flush` would send or answer anything."""
        return self._dirty or self._can_start_round()

    def flush(self) -> None:
        """Sends each follower what it lacks and may get, and starts the reads' next round."""
        if self._dirty:
            self._dirty = False
            if self._state.configuration.outgoing:
                self._leave_joint()
            for peer in self.peers.values():
                self._send(peer)
            if self._transfer.to is not None and self._transfer.advance(self.peers):
                self._lease.drop()
        if self._can_start_round():
            # The guard that staleReads switches off: is this member still the leader?
            if self._lease.valid or self._state.config.break_rule == "staleReads":
                self._reads.start(self._beats, self._log.commit)
                self._answer(self._beats)
            else:
                self._beat(self._who_answers())
                self._reads.start(self._beats, self._log.commit)
                self._confirm()

    def hand_on(self) -> None:
        """Nobody waits for an election timeout when this leader goes: who has most is asked to campaign."""
        state = self._state
        voters = [node for node in state.configuration.voters if node in self.peers]
        if voters:
            heir = max(voters, key=self._match_of)
            state.messages.append(TimeoutNow(state.id, heir, state.term))

    @property
    def sending_snapshot(self) -> bool:
        """Whether a follower is being sent one and answers."""
        return any(peer.sending is not None and peer.sending.answering for peer in self.peers.values())

    def compactable(self, keep_after: int) -> int:
        """`keep_after`, or less: who is being sent the snapshot of now will need the entries behind it."""
        latest = self._log.snapshot.index
        sending = (peer.sending.meta.index for peer in self.peers.values() if peer.sending is not None)
        return min([keep_after, *(index for index in sending if index >= latest)])

    def _leave_joint(self) -> None:
        """Ends joint consensus once it is committed (thesis, 4.3)."""
        state, history = self._state, self._log.history
        if history.latest_index <= self._log.commit and self._transfer.to is None:
            self._append_configuration(state.configuration.left())

    def _append_configuration(self, configuration: Configuration) -> int:
        log, state = self._log, self._state
        index = log.last_index + 1
        data = encode_configuration(configuration)
        log.append([Entry(index, state.term, data, EntryKind.CONFIGURATION)])
        log.history.extend([(index, configuration)])
        state.configured()
        self.configured(index)
        return index

    def _leads_in_its_own_right(self) -> bool:
        """Whether an entry of this term is committed: before, the commit index may lag behind (6.4)."""
        log, state = self._log, self._state
        return log.term(log.commit) == state.term or state.config.break_rule == "readBeforeOwnTerm"

    def _can_start_round(self) -> bool:
        return self._reads.can_start and self._leads_in_its_own_right()

    def _confirm(self) -> None:
        """A quorum may have answered another heartbeat."""
        number = self._state.quorum.reached(self._round_of)
        self._lease.count()
        self._answer(number)

    def _answer(self, number: int) -> None:
        reads.answer(self._state, self._reads.confirm(number), self._reads.index)

    def _who_answers(self) -> Collection[Progress]:
        """As many as a read round needs besides this leader: those who answered last.

        Should one be silent, the next regular heartbeat, which goes to all, confirms the round, and who
        answers that is asked from then on. In joint consensus everybody is asked.
        """
        configuration = self._state.configuration
        if configuration.outgoing:
            return self.peers.values()
        voters = [self.peers[node] for node in configuration.voters if node in self.peers]
        needed = majority(len(configuration.voters)) - (len(configuration.voters) - len(voters))
        return sorted(voters, key=_round, reverse=True)[:needed]

    def _beat(self, peers: Iterable[Progress]) -> None:
        state, commit = self._state, self._log.commit
        self._beats += 1
        self._lease.beat(self._beats)
        for peer in peers:
            state.messages.append(
                Heartbeat(state.id, peer.node, state.term, min(peer.match, commit), self._beats)
            )

    def _send(self, peer: Progress) -> None:
        config, log = self._state.config, self._log
        while peer.next <= log.last_index and peer.next > log.offset and peer.can_send(config, log):
            first = peer.next
            entries = log.slice(first, config.max_entries_bytes_per_message)
            self._append(peer, first - 1, entries)
            peer.sent(first + len(entries) - 1)
            peer.inquire = False
        if peer.next <= log.offset or peer.sending is not None:
            self._send_snapshot(peer)
        elif peer.inquire:
            peer.inquire = False
            self._append(peer, peer.next - 1, [])

    def _append(self, peer: Progress, prev: int, entries: list[Entry]) -> None:
        state, log = self._state, self._log
        state.messages.append(
            Append(state.id, peer.node, state.term, prev, log.term(prev), log.commit, entries)
        )

    def _send_snapshot(self, peer: Progress) -> None:
        """The next parts of a snapshot that the host still has: the latest one or the one before."""
        state, log = self._state, self._log
        sending = peer.sending
        if sending is None or sending.meta not in (log.snapshot, log.previous_snapshot):
            config = state.config
            sending = snapshots.SnapshotSender(
                log.snapshot, config.snapshot_chunk_bytes, config.max_inflight_chunks
            )
            peer.send_snapshot(sending)
        for offset, length in sending.next_parts():
            snapshots.request(state, peer.node, sending.meta, offset, length)

    def _match_of(self, node: NodeId) -> int:
        peer = self.peers.get(node)
        return self._log.synced if peer is None else peer.match

    def _round_of(self, node: NodeId) -> int:
        peer = self.peers.get(node)
        return self._beats if peer is None else peer.round

    def _heard_of(self, node: NodeId) -> int:
        peer = self.peers.get(node)
        return self._now if peer is None else peer.heard
