"""A leader's work: sending the log, counting who has it, confirming reads, and knowing when to give up.

Paper, 5.3 and 5.4.2; thesis, 6.2 (check-quorum), 6.4 (reads) and 10.2 (pipelining, writing in parallel
with the followers). Appends are made in `flush`, once a Ready, so everything proposed in one turn of the
host shares one message per follower. Followers learn the commit index with the next append or heartbeat;
no message is sent for that alone.
"""

from .errors import Busy, MalformedMessage
from .messages import Append, AppendResponse, Entry, Heartbeat, HeartbeatResponse
from .progress import Progress
from .quorum import reached
from .reads import ReadRounds
from .state import State


class Leadership:
    """What a member has only while it leads one term; made anew for each."""

    __slots__ = ("_beat_elapsed", "_dirty", "_log", "_now", "_reads", "_state", "peers")

    def __init__(self, state: State) -> None:
        """Begins with a no-op: entries of earlier terms commit only under one of this term (5.4.2)."""
        self._state = state
        self._log = log = state.log
        self.peers = {peer: Progress(peer, log.last_index + 1) for peer in state.peers}
        self._reads = ReadRounds(state.config.max_waiting_reads)
        self._now = 0
        self._beat_elapsed = 0
        self._dirty = True
        log.append([Entry(log.last_index + 1, state.term, b"")])

    def tick(self) -> bool:
        """One tick; whether to go on leading: False when no majority was heard for election_ticks."""
        config = self._state.config
        self._now += 1
        if config.check_quorum:
            heard = reached([self._now, *(peer.heard for peer in self.peers.values())])
            if self._now - heard >= config.election_ticks:
                return False
        self._beat_elapsed += 1
        if self._beat_elapsed >= config.heartbeat_ticks:
            self._beat_elapsed = 0
            for peer in self.peers.values():
                peer.nudged = False
            self._beat()
        return True

    def propose(self, payloads: list[bytes]) -> int:
        """Appends an entry for each and returns the first's index; Busy over max_uncommitted_bytes."""
        log, term = self._log, self._state.term
        waiting = log.bytes_after(log.commit)
        limit = self._state.config.max_uncommitted_bytes
        if waiting and waiting + sum(map(len, payloads)) > limit:
            raise Busy(f"{waiting} of at most {limit} bytes wait to be committed; try again later")
        first = log.last_index + 1
        log.append([Entry(index, term, data) for index, data in enumerate(payloads, first)])
        self._dirty = True
        return first

    def ask_read(self, context: int) -> None:
        """A read waits for the next round."""
        self._reads.ask(context)

    def abandon_reads(self) -> list[int]:
        """The reads that end with this leadership."""
        return self._reads.abandon()

    def take_append_response(self, response: AppendResponse) -> None:
        """A follower says how far its log is, or that it could not follow."""
        log, peer = self._log, self.peers[response.sender]
        if not 0 <= response.index <= log.last_index or response.hint_index < 0:
            raise MalformedMessage(
                f"{response.sender} answers for entry {response.index}, and the log ends at {log.last_index}"
            )
        peer.heard = self._now
        if response.rejected:
            agree = log.last_not_after(response.hint_index, response.hint_term)
            if peer.rejected(response.index, agree):
                self._dirty = True
            return
        if peer.accepted(response.index):
            self.count()
        if peer.next <= log.last_index:
            self._dirty = True

    def take_heartbeat_response(self, response: HeartbeatResponse) -> None:
        """A follower still knows no later term."""
        peer = self.peers[response.sender]
        peer.heard = self._now
        if response.round > peer.round:
            peer.round = response.round
            self._confirm_reads()
        if not peer.nudged and peer.match < self._log.last_index:
            peer.nudge()
            self._dirty = True

    def count(self) -> None:
        """Commits what a majority has synced, if that is of this term (5.4.2)."""
        log = self._log
        if self._state.config.break_rule == "commitWithoutMajority":
            index = log.synced
        else:
            index = reached([log.synced, *(peer.match for peer in self.peers.values())])
        if index > log.commit and log.term(index) == self._state.term:
            log.commit = index

    @property
    def has_work(self) -> bool:
        """Whether `flush` would send or answer anything."""
        return self._dirty or self._can_start_round()

    def flush(self) -> None:
        """Sends each follower what it lacks and may get, and starts the reads' next round."""
        if self._dirty:
            self._dirty = False
            for peer in self.peers.values():
                self._send_appends(peer)
        if self._can_start_round():
            self._reads.start(self._log.commit)
            # The guard that staleReads switches off: is this member still the leader?
            if self._state.config.break_rule == "staleReads":
                self._state.read_states += self._reads.confirm(self._reads.number)
            else:
                self._beat()
                self._confirm_reads()

    def _can_start_round(self) -> bool:
        log = self._log
        return self._reads.can_start and log.term(log.commit) == self._state.term

    def _confirm_reads(self) -> None:
        number = reached([self._reads.number, *(peer.round for peer in self.peers.values())])
        self._state.read_states += self._reads.confirm(number)

    def _beat(self) -> None:
        state, commit, number = self._state, self._log.commit, self._reads.number
        for peer in self.peers.values():
            state.messages.append(Heartbeat(state.id, peer.node, state.term, min(peer.match, commit), number))

    def _send_appends(self, peer: Progress) -> None:
        config, log = self._state.config, self._log
        while peer.next <= log.last_index and peer.can_send(config.max_inflight_messages):
            first = peer.next
            entries = log.slice(first, config.max_entries_bytes_per_message)
            self._append(peer, first - 1, entries)
            peer.sent(first + len(entries) - 1)
            peer.inquire = False
        if peer.inquire:
            peer.inquire = False
            self._append(peer, peer.next - 1, [])

    def _append(self, peer: Progress, prev: int, entries: list[Entry]) -> None:
        state, log = self._state, self._log
        state.messages.append(
            Append(state.id, peer.node, state.term, prev, log.term(prev), log.commit, entries)
        )
