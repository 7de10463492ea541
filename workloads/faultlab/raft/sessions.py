"""Client sessions: a write that is sent again is answered again, and applied once (thesis, section 6.3).

A client opens a session, numbers its writes upwards and sends each as `REQ session number COMMAND ...`. What
a number was answered is kept; when the number comes again with the same command, the kept reply is given.
All of this is part of the replicated state, so that it survives leaders, restarts and snapshots, and so that
every member keeps, forgets and expires the same.

A session is its user's: for anybody else it does not exist, or kept replies would tell what the rules of the
client port do not let one read. A number that comes with another command is refused: the rules let this user
send that command, and not read the other's reply; and a client that numbers badly is told so.

Time is the log's: the leader stamps session commands with its wall clock when it proposes them, and log time
is the latest stamp so far. A leader whose clock is behind therefore stops log time rather than turning it
back; one whose clock is ahead expires sessions early, which clients are told of (`-SESSIONEXPIRED`).

Bounds, and what happens there: beyond MAX_SESSIONS or MAX_KEPT_BYTES the session that was used least recently
(in log order) goes; beyond KEPT_REPLIES or MAX_SESSION_BYTES of one session its lowest numbers go, and a
request with such a number, or a lower one, is refused with `-SESSIONSTALE`, never applied.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable

import msgspec

from faultlab.runtime.resp.encoder import Result, error_line

from .lists import GENERATIONS

MAX_SESSIONS = 10_000
KEPT_REPLIES = 256
"""Of one session: so many requests a client may have under way and still send all of them again."""
MAX_SESSION_BYTES = 4 * 1024 * 1024
MAX_KEPT_BYTES = 64 * 1024 * 1024
DEFAULT_TTL_MS = 10 * 60 * 1000
MAX_TTL_MS = 24 * 60 * 60 * 1000

_REPLY_OVERHEAD_BYTES = 128
"""Counted for each kept reply beside its text."""

EXPIRED = error_line(
    "SESSIONEXPIRED there is no such session: it expired, was closed, or gave way to newer ones; this request"
    " was not applied now, an earlier one with its number may have been; open another with SESSION OPEN"
)
STALE = error_line(
    f"SESSIONSTALE the number is below the {KEPT_REPLIES} latest of its session that are kept; it was not"
    " applied now, and may have been before; use numbers that rise"
)


Fingerprint = bytes
"""64 bits of a command's hash: whether it is the one that a number was used for."""


class New:
    """What `Sessions.recall` gives for a request that is to be applied."""


NEW = New()


class Session(msgspec.Struct):
    """One client's. `replies` are by number, lowest first; a number up to `floor` is stale."""

    id: int
    """The index of the entry that opened it."""
    user: str
    """Who had logged in then; "" where nobody needed to."""
    ttl_ms: int
    used_ms: int
    """Log time of its latest use."""
    floor: int
    replies: dict[int, Result]
    commands: dict[int, Fingerprint]
    """What each of `replies` answers."""
    kept_bytes: int
    generation: int = 0
    """Of the freeze after which this object was made; an older one belongs to a frozen copy too."""


class Sessions:
    """All sessions of one store, the least recently used first."""

    def __init__(
        self, *, ignore_numbers: bool = False, own_clock_ms: Callable[[], int] | None = None
    ) -> None:
        """Both arguments break a rule, for tests: numbers that were applied are applied again, and
        sessions expire by this member's clock in place of log time."""
        self._ignore_numbers = ignore_numbers
        self._own_clock_ms = own_clock_ms
        self._by_id: dict[int, Session] = {}
        self._deadlines: list[tuple[int, int]] = []
        """A heap of (deadline, id): each session once, with its deadline or an earlier one."""
        self._kept_bytes = 0
        self._generation = next(GENERATIONS)
        self.log_time_ms = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def advance(self, stamp_ms: int) -> None:
        """A stamped entry is applied: log time moves on, and with it go the sessions that are too old."""
        self.log_time_ms = max(self.log_time_ms, stamp_ms)
        now_ms = self._now_ms()
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] < now_ms:
            _, session_id = deadlines[0]
            session = self._by_id.get(session_id)
            if session is None:
                heapq.heappop(deadlines)
            elif (deadline := session.used_ms + session.ttl_ms) < now_ms:
                heapq.heappop(deadlines)
                self._remove(session)
            else:
                heapq.heapreplace(deadlines, (deadline, session_id))

    def open(self, session_id: int, user: str, ttl_ms: int) -> None:
        """Begins the session whose entry has the index `session_id`; it ends `ttl_ms` after its last use."""
        self._add(Session(session_id, user, ttl_ms, self._now_ms(), 0, {}, {}, 0, self._generation))
        while len(self._by_id) > MAX_SESSIONS:
            self._remove(next(iter(self._by_id.values())))

    def close(self, session_id: int, user: str) -> bool:
        """Ends a session of the user; whether there was one."""
        session = self._by_id.get(session_id)
        if session is None or session.user != user:
            return False
        self._remove(session)
        return True

    def recall(self, session_id: int, user: str, number: int, fingerprint: Fingerprint) -> "Result | New":
        """What the request was answered before, why it cannot be taken, or NEW. Uses the user's session, and
        leaves one of somebody else as it is."""
        session = self._by_id.get(session_id)
        if session is None or session.user != user:
            return EXPIRED
        del self._by_id[session_id]
        if session.generation != self._generation:
            session = msgspec.structs.replace(
                session,
                replies=session.replies.copy(),
                commands=session.commands.copy(),
                generation=self._generation,
            )
        self._by_id[session_id] = session
        session.used_ms = self._now_ms()
        if self._ignore_numbers:
            return NEW
        if number <= session.floor:
            return STALE
        kept = session.commands.get(number)
        if kept is None:
            return NEW
        return session.replies[number] if kept == fingerprint else _used_otherwise(session_id, number)

    def keep(self, session_id: int, number: int, fingerprint: Fingerprint, reply: Result) -> None:
        """Keeps the answer to the request for which `recall` said NEW just before."""
        session = self._by_id[session_id]
        replies = session.replies
        in_order = not replies or number > next(reversed(replies))
        cost = _cost(reply) - (_cost(replies[number]) if number in replies else 0)
        replies[number] = reply
        session.commands[number] = fingerprint
        if not in_order:
            session.replies = replies = dict(sorted(replies.items()))
        session.kept_bytes += cost
        self._kept_bytes += cost
        while len(replies) > KEPT_REPLIES or session.kept_bytes > MAX_SESSION_BYTES:
            lowest = next(iter(replies))
            dropped = _cost(replies.pop(lowest))
            del session.commands[lowest]
            session.kept_bytes -= dropped
            self._kept_bytes -= dropped
            session.floor = lowest
        while self._kept_bytes > MAX_KEPT_BYTES:
            self._remove(next(iter(self._by_id.values())))

    def freeze(self) -> list[Session]:
        """All sessions as they are, in order; nothing done to these objects later changes them."""
        self._generation = next(GENERATIONS)
        return list(self._by_id.values())

    def replace(self, sessions: Iterable[Session], log_time_ms: int) -> None:
        """Takes over frozen sessions, those used least recently first, in place of its own."""
        self._by_id.clear()
        self._deadlines.clear()
        self._kept_bytes = 0
        self._generation = next(GENERATIONS)
        self.log_time_ms = log_time_ms
        for session in sessions:
            self._add(session)

    def _add(self, session: Session) -> None:
        self._by_id[session.id] = session
        self._kept_bytes += session.kept_bytes
        heapq.heappush(self._deadlines, (session.used_ms + session.ttl_ms, session.id))
        if len(self._deadlines) > 2 * MAX_SESSIONS:
            self._deadlines = [(each.used_ms + each.ttl_ms, each.id) for each in self._by_id.values()]
            heapq.heapify(self._deadlines)

    def _remove(self, session: Session) -> None:
        del self._by_id[session.id]
        self._kept_bytes -= session.kept_bytes

    def _now_ms(self) -> int:
        return self.log_time_ms if self._own_clock_ms is None else self._own_clock_ms()


def fingerprint_of(command: bytes) -> Fingerprint:
    """Of the command in a request, as it is encoded."""
    return hashlib.blake2b(command).digest()[:8]


def kept_bytes(replies: Iterable[Result]) -> int:
    """What kept replies count for against the bounds."""
    return sum(map(_cost, replies))


def _used_otherwise(session_id: int, number: int) -> str:
    return error_line(
        f"ERR request number {number} of session {session_id} was used for another command; this one was not"
        " applied; give each request a number of its own"
    )


def _cost(reply: Result) -> int:
    return _REPLY_OVERHEAD_BYTES + (len(reply) if isinstance(reply, bytes | str) else 0)
