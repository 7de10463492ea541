"""One client: at home at one member, at most one operation open, every operation recorded.

What a reply means for the history is decided here and nowhere else: ok it happened, fail it
certainly did not, info nobody knows.

Where members redirect, a client stays with the member that it was sent to for as long as that one
answers and leads; then it asks at home again. So every side of a cut keeps the clients that are at home
there, and the history names the member that each operation really went to.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import hiredis

from faultlab.contract.member import PeerAddress
from faultlab.history.events import EventType
from faultlab.load.choice import Chooser, Operation
from faultlab.load.recorder import Recorder
from faultlab.load.resp import Connection, Indefinite, NotSent, Reply

INDEFINITE_ERRORS = ("UNKNOWN",)
"""Error codes after which the operation may have happened; every other error reply is definite."""


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


class Client:
    """Performs operations one after another. Connects when needed, never within an operation twice."""

    def __init__(
        self,
        member: PeerAddress,
        recorder: Recorder,
        chooser: Chooser,
        *,
        timeout_s: float,
        members: Sequence[PeerAddress] = (),
    ) -> None:
        """`members`: whom a redirect may name."""
        self.member = member
        """Whom the next operation goes to."""
        self._home = member
        self._members = {(each.host, each.client_port): each for each in (member, *members)}
        self._recorder = recorder
        self._chooser = chooser
        self._timeout_s = timeout_s
        self._connection: Connection | None = None
        self._process = recorder.new_process()

    def perform(self, operation: Operation, intended_ns: int | None) -> Outcome:
        """Offers the operation once and records both its ends."""
        member = self.member
        invoked_ns = self._recorder.invoke(self._process, operation, member.name, intended_ns)
        since_ns = invoked_ns if intended_ns is None else intended_ns
        term: int | None = None
        value: Any = None
        error: str | None = None
        outcome: EventType
        try:
            reply = self._connected().request(operation.command(), self._timeout_s)
        except NotSent as refusal:
            outcome, error = "fail", str(refusal)
            self._move(self._home)
        except Indefinite as doubt:
            outcome, error = "info", str(doubt)
            self._connection = None
            self._move(self._home)
        else:
            outcome, value, error = self._judge(operation, reply)
            term = reply.term
        latency_ms = self._recorder.complete(
            self._process,
            operation,
            outcome,
            since_ns=since_ns,
            member=member.name,
            value=value,
            term=term,
            error=error,
        )
        if outcome == "info":
            self._process = self._recorder.new_process()
        elif outcome == "ok":
            self._learn(operation, value)
        return Outcome(outcome, value, latency_ms, error)

    def close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None:
            address = self.member.host, self.member.client_port
            self._connection = Connection(*address, timeout_s=self._timeout_s)
        return self._connection

    def _judge(self, operation: Operation, reply: Reply) -> tuple[EventType, Any, str | None]:
        value = reply.value
        if isinstance(value, hiredis.ReplyError):
            return self._judge_error(str(value))
        if operation.f == "read" and (value is None or isinstance(value, bytes)):
            return "ok", value.decode("utf-8", "surrogateescape") if value is not None else None, None
        if operation.f == "write" and value == b"OK":
            return "ok", None, None
        if operation.f == "cas" and value in (0, 1):
            return ("ok", None, None) if value == 1 else ("fail", None, UNEQUAL)
        return "info", None, f"unexpected reply to {operation.f}: {value!r}"[:200]

    def _judge_error(self, message: str) -> tuple[EventType, Any, str | None]:
        code, _, rest = message.partition(" ")
        if code in INDEFINITE_ERRORS:
            return "info", None, message
        if code == "MOVED":
            self._follow(rest)
        elif code == "NOTLEADER":
            self._move(self._home)
        return "fail", None, message

    def _follow(self, target: str) -> None:
        """A redirect: the next operation goes to the member that it names (`0 HOST:PORT`)."""
        host, _, port = target.rpartition(" ")[2].rpartition(":")
        named = self._members.get((host, int(port))) if port.isdigit() else None
        if named is not None:
            self._move(named)

    def _move(self, member: PeerAddress) -> None:
        """The next operation goes to `member`, over a connection of its own."""
        if member is not self.member:
            self.close()
            self.member = member

    def _learn(self, operation: Operation, value: Any) -> None:
        if operation.f == "read":
            self._chooser.saw(operation.key, value)
        elif operation.f == "write":
            self._chooser.saw(operation.key, str(operation.value))
        elif isinstance(operation.value, list):
            self._chooser.saw(operation.key, operation.value[1])
