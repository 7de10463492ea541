"""One client: at home at one member, at most one operation open, every operation recorded.

What a reply means for the history is decided here and nowhere else: ok it happened, fail it
certainly did not, info nobody knows.

**Sessions and retries.** A client opens a session by itself and sends each write within it, under a number
of its own (`REQ`). Where the outcome is unknown - no answer in time, a connection lost, `-UNKNOWN` - it sends
the same number again, at the other members in turn, until somebody says what became of it or its time for
that is over. The session sees to it that the write is applied once however often it arrives, so the history
holds it as the one operation that it is: from the first invocation to the answer that it finally had. Only
without an answer is it `info`. A refusal of what was sent again proves nothing about what was sent before, so
it is no answer; a refusal of what was sent once is one (`fail`), and is not retried. Reads are sent once.

**Home.** Whatever happened, the next operation begins at home, so every side of a cut keeps the clients that
are at home there; one whose home cannot decide anything spends a bounded time elsewhere before it is back.
Where members redirect, a client stays with the member that it was sent to for as long as that one answers and
leads; then it asks at home again. The history names the members that each operation really went to.
"""

import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, NamedTuple, Protocol

import hiredis

from faultlab.contract.load import LoadConfig
from faultlab.contract.member import PeerAddress
from faultlab.history.events import EventType
from faultlab.load.choice import Chooser, Operation
from faultlab.load.login import Login
from faultlab.load.recorder import Recorder
from faultlab.load.resp import ClientError, Connection, Indefinite, NotSent, Reply

INDEFINITE_ERRORS = ("UNKNOWN",)
"""Error codes after which the operation may have happened; every other error reply is definite."""

_REFUSALS = ("NOTLEADER", "BUSY", "MOVED")
"""Error codes that say nothing of what was sent before."""
_LOST_SESSIONS = ("SESSIONEXPIRED", "SESSIONSTALE")

RETRY_PAUSE_S = 0.05
"""Before an operation is sent again, but for the first time: an election takes longer than that."""

UNEQUAL = "the value was another"
"""Why a cas that was decided did not swap."""


class Outcome(NamedTuple):
    """How an operation ended, as it goes into the history and into Locust's statistics."""

    type: EventType
    value: Any
    latency_ms: float
    error: str | None

    @property
    def answered(self) -> bool:
        """Whether the system did its work: a cas that lost its race was decided, though it is a `fail`."""
        return self.type == "ok" or self.error == UNEQUAL


class Connected(Protocol):
    """A way to one member, as `resp.Connection` is one."""

    def request(self, command: tuple[str, ...], timeout_s: float) -> Reply:
        """Sends it once; raises Indefinite, and then the way is closed."""
        ...

    def close(self) -> None: ...


Connect = Callable[[PeerAddress, float], Connected]
"""Makes a way to a member within so many seconds; raises NotSent."""


def over_tcp(member: PeerAddress, timeout_s: float, login: Login | None = None) -> Connected:
    """A connection to the member's client port."""
    return Connection(member.host, member.client_port, timeout_s, login)


class _Answer(NamedTuple):
    """What sending an operation came to."""

    type: EventType
    member: PeerAddress
    value: Any = None
    error: str | None = None
    term: int | None = None


def longest_operation_s(config: LoadConfig) -> float:
    """How long one operation can take: a session, a connection and an answer, and then the retries."""
    return 4 * config.operation_timeout_ms / 1000 + config.retries * config.retry_limit_ms / 1000


class Client:
    """Performs operations one after another. Connects when needed."""

    def __init__(
        self,
        member: PeerAddress,
        recorder: Recorder,
        chooser: Chooser,
        *,
        timeout_s: float,
        members: Sequence[PeerAddress] = (),
        retry_limit_s: float = 0.0,
        sessions: bool = True,
        sleep: Callable[[float], None] = time.sleep,
        connect: Connect = over_tcp,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`members`: whom a redirect may name, and who is asked what became of an operation. `clock` counts
        the time of `sleep`, in nanoseconds."""
        self.member = member
        """Whom the next operation goes to."""
        self._home = member
        self._members = {(each.host, each.client_port): each for each in (member, *members)}
        self._recorder = recorder
        self._chooser = chooser
        self._timeout_s = timeout_s
        self._retry_limit_s = retry_limit_s
        self._sessions = sessions
        self._sleep = sleep
        self._connect = connect
        self._clock = clock
        self._connection: Connected | None = None
        self._process = recorder.new_process()
        self._session: int | None = None
        self._number = 0

    def perform(self, operation: Operation, intended_ns: int | None) -> Outcome:
        """Has the operation done, once, and records both its ends."""
        invoked_ns = self._recorder.invoke(self._process, operation, self.member.name, intended_ns)
        since_ns = invoked_ns if intended_ns is None else intended_ns
        command, answer = operation.command(), None
        if self._sessions and operation.f != "read":
            command, answer = self._numbered(command)
        answer = answer or self._send(operation, command)
        attempts = 1
        if answer.type == "info" and self._retry_limit_s and operation.f != "read":
            answer, attempts = self._retry(operation, command, answer)
        latency_ms = self._recorder.complete(
            self._process,
            operation,
            answer.type,
            since_ns=since_ns,
            member=answer.member.name,
            value=answer.value,
            term=answer.term,
            error=answer.error,
            attempts=attempts,
        )
        if answer.type == "info":
            self._process = self._recorder.new_process()
        elif answer.type == "ok":
            self._learn(operation, answer.value)
        return Outcome(answer.type, answer.value, latency_ms, answer.error)

    def close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def _numbered(self, command: tuple[str, ...]) -> tuple[tuple[str, ...], _Answer | None]:
        """The command under the next number of the session; an answer where no session could be opened."""
        if self._session is None:
            member = self.member
            try:
                reply = self._connected().request(("SESSION", "OPEN"), self._timeout_s)
            except ClientError as error:
                self._go_home()
                return command, _Answer("fail", member, error=f"no session, so nothing was sent: {error}")
            if not isinstance(reply.value, int):
                self._heed(str(reply.value))
                return command, _Answer("fail", member, error=str(reply.value))
            self._session, self._number = reply.value, 0
        self._number += 1
        return ("REQ", str(self._session), str(self._number), *command), None

    def _send(self, operation: Operation, command: tuple[str, ...]) -> _Answer:
        """Sends it for the first time."""
        member = self.member
        try:
            reply = self._connected().request(command, self._timeout_s)
        except NotSent as refusal:
            self._go_home()
            return _Answer("fail", member, error=str(refusal))
        except Indefinite as doubt:
            self._go_home()
            return _Answer("info", member, error=str(doubt))
        if isinstance(reply.value, hiredis.ReplyError):
            self._heed(str(reply.value))
        return _judge(operation, reply, member)

    def _retry(self, operation: Operation, command: tuple[str, ...], doubt: _Answer) -> tuple[_Answer, int]:
        """Asks one member after another what became of it; the answer, and how often it was sent."""
        deadline_ns = self._clock() + int(self._retry_limit_s * 1e9)
        others = cycle(self._ring_after(doubt.member))
        target: PeerAddress | None = None
        attempts = 1
        while (left_s := (deadline_ns - self._clock()) / 1e9) > 0:
            member, target = target or next(others), None
            attempts += 1
            answer = self._ask(operation, command, member, min(left_s, self._timeout_s))
            code, _, rest = (answer.error or "").partition(" ")
            if answer.type != "info" and code not in _REFUSALS:
                return answer, attempts
            if code in _LOST_SESSIONS:
                self._session = None
                return answer, attempts
            if code == "MOVED":
                target = self._named(rest)
            doubt = doubt._replace(member=member)
            self._sleep(min(RETRY_PAUSE_S, left_s))
        return doubt, attempts

    def _ask(
        self, operation: Operation, command: tuple[str, ...], member: PeerAddress, timeout_s: float
    ) -> _Answer:
        """Sends it again, over a connection for just that."""
        try:
            connection = self._connect(member, timeout_s)
            try:
                answer = _judge(operation, connection.request(command, timeout_s), member)
            finally:
                connection.close()
        except ClientError as error:
            return _Answer("info", member, error=str(error))
        lost = (answer.error or "").partition(" ")[0] in _LOST_SESSIONS
        return answer._replace(type="info") if lost else answer

    def _ring_after(self, member: PeerAddress) -> list[PeerAddress]:
        ring = list(self._members.values())
        at = ring.index(member) + 1
        return [*ring[at:], *ring[:at]]

    def _connected(self) -> Connected:
        if self._connection is None:
            self._connection = self._connect(self.member, self._timeout_s)
        return self._connection

    def _heed(self, error: str) -> None:
        """Does what an error reply asks for."""
        code, _, rest = error.partition(" ")
        if code == "MOVED":
            self._move(self._named(rest) or self.member)
        elif code == "NOTLEADER":
            self._move(self._home)
        elif code in _LOST_SESSIONS:
            self._session = None

    def _named(self, target: str) -> PeerAddress | None:
        """The member that a redirect names (`0 HOST:PORT`), None where there is no such member."""
        host, _, port = target.rpartition(" ")[2].rpartition(":")
        return self._members.get((host, int(port))) if port.isdigit() else None

    def _go_home(self) -> None:
        """The connection is not good any more."""
        self.close()
        self.member = self._home

    def _move(self, member: PeerAddress) -> None:
        """The next operation goes to `member`, over a connection of its own."""
        if member is not self.member:
            self.close()
            self.member = member

    def _learn(self, operation: Operation, value: Any) -> None:
        if operation.type != "register":
            return
        if operation.f == "read":
            self._chooser.saw(operation.key, value)
        elif operation.f == "write":
            self._chooser.saw(operation.key, str(operation.value))
        elif isinstance(operation.value, list):
            self._chooser.saw(operation.key, operation.value[1])


def _judge(operation: Operation, reply: Reply, member: PeerAddress) -> _Answer:
    """What one reply proves about the one time that it answers."""
    outcome, value, error = _verdict(operation, reply.value)
    return _Answer(outcome, member, value, error, reply.term)


def _verdict(operation: Operation, value: Any) -> tuple[EventType, Any, str | None]:
    if isinstance(value, hiredis.ReplyError):
        message = str(value)
        return ("info" if message.partition(" ")[0] in INDEFINITE_ERRORS else "fail"), None, message
    if operation.f == "read" and operation.type == "list" and isinstance(value, list):
        return "ok", _text(b"".join(value)) if value else None, None
    if operation.f == "read" and (value is None or isinstance(value, bytes)):
        return "ok", None if value is None else _text(value), None
    if operation.f == "write" and value == b"OK":
        return "ok", None, None
    if operation.f == "cas" and value in (0, 1):
        return ("ok", None, None) if value == 1 else ("fail", None, UNEQUAL)
    if operation.f in ("append", "incr") and isinstance(value, int):
        return "ok", value, None
    return "info", None, f"unexpected reply to {operation.f}: {value!r}"[:200]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
