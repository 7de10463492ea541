"""Clients: each asks for one thing after another, and asks again where that is safe.

A client with a session numbers its writes and sends one again, under the same number, until somebody has
answered or it has tried often enough. One without sends a write again only after a definite refusal. Reads
are always sent again. The history has one invocation and one completion for all of it, so a write that was
applied twice shows: as a count that is too high, or a list with a value twice.

Lists stand in the history as counters: RPUSH answers the length, as INCR would, and a read of the list tells
its length.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

import msgspec

from faultlab.history.events import Event, EventType
from faultlab.raft.commands import COMMANDS, prepare
from faultlab.runtime.resp.encoder import Result
from faultlab.runtime.resp.handler import Kind

from .loop import Loop
from .options import ClientOptions
from .trace import Recorder

Submit = Callable[[str, Kind, bytes, "Attempt"], bool]
"""(machine, kind, command, where the answer goes): False when nobody listens there."""

_DEFINITE = ("-NOTLEADER", "-BUSY", "-MOVED")
"""Error codes after which nothing happened."""


class Request(msgspec.Struct, frozen=True):
    """What one operation asks, in RESP and as the history has it."""

    name: str
    args: tuple[bytes, ...]
    f: str
    key: str
    value: Any = None

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return COMMANDS[self.name].kind is Kind.READ


class Attempt:
    """One sending of a request: the Slot in which its answer arrives."""

    __slots__ = ("_client", "_machine", "_number")

    def __init__(self, client: "Client", number: int, machine: str) -> None:
        self._client = client
        self._number = number
        self._machine = machine

    def resolve(self, result: Result, member: str | None, term: int | None) -> None:
        """As Slot.resolve: the answer sets out to the client."""
        del member, term
        self._client.answered_from_afar(self._number, self._machine, result)


class Client:
    """One of them."""

    def __init__(self, crowd: "Crowd", number: int, session: bool) -> None:
        self._crowd = crowd
        self._number = number
        self._uses_session = session
        self._session: int | None = None
        self._process = number
        self._last_write = 0
        self._request: Request | None = None
        self._attempt = 0
        """Of all attempts of this client: an answer to another one than the present comes too late."""
        self._tries = 0
        self._uncertain = False
        """Whether an attempt at the present request may have worked."""
        self._favourite = ""
        self._sent_to = ""

    def begin(self) -> None:
        """Time for the next operation, if there is one."""
        crowd = self._crowd
        if self._request is not None:
            return
        if self._uses_session and self._session is None:
            ttl = b"%d" % crowd.options.session_ttl_ms
            self._start(Request("SESSION", (b"OPEN", b"TTL", ttl), "", ""))
            return
        request = crowd.next_request(self._number)
        if request is None:
            return
        crowd.record(self._process, "invoke", request, request.value)
        if not request.reads:
            self._last_write += 1
        self._start(request)

    def _start(self, request: Request) -> None:
        self._request = request
        self._tries = 0
        self._uncertain = False
        self._send()

    def _send(self) -> None:
        crowd, request = self._crowd, self._request
        assert request is not None
        self._tries += 1
        self._attempt += 1
        wanders = crowd.rng.random() < crowd.options.wander
        machine = crowd.anybody() if wanders or not self._favourite else self._favourite
        self._sent_to = machine
        number = self._attempt
        delay_ns = crowd.delay_ns()
        crowd.loop.after(delay_ns, self._arrive, number, machine, request)
        crowd.loop.after(crowd.options.patience_ns, self._timed_out, number)

    def _arrive(self, number: int, machine: str, request: Request) -> None:
        crowd = self._crowd
        name, args = request.name, [request.name.encode(), *request.args]
        kind = COMMANDS[name].kind
        if self._session is not None and kind is Kind.WRITE and request.f:
            name, args = "REQ", [b"REQ", b"%d" % self._session, b"%d" % self._last_write, *args]
        command = prepare(COMMANDS[name], args)
        assert isinstance(command, bytes), command
        if not crowd.submit(machine, kind, command, Attempt(self, number, machine)):
            crowd.loop.after(crowd.delay_ns(), self._take, number, "-NOTLEADER nobody listens there")

    def answered_from_afar(self, number: int, machine: str, result: Result) -> None:
        """The member has answered; the client hears of it a little later."""
        del machine
        if number == self._attempt:
            self._crowd.loop.after(self._crowd.delay_ns(), self._take, number, result)

    def _timed_out(self, number: int) -> None:
        self._take(number, "-TIMEOUT no answer")

    def _take(self, number: int, result: Result) -> None:
        """What came of an attempt, in the client's own eyes."""
        request = self._request
        if number != self._attempt or request is None:
            return
        self._attempt += 1
        if isinstance(result, str) and result.startswith("-"):
            self._refused(request, result)
            return
        self._favourite = self._sent_to
        if not request.f:
            assert isinstance(result, int)
            self._session = result
            self._finish()
        else:
            self._crowd.check_answer(self._number, request, result)
            self._complete(
                request, "fail" if request.f == "cas" and result == 0 else "ok", _shown(request, result)
            )

    def _refused(self, request: Request, error: str) -> None:
        self._favourite = _moved_to(error) or ""
        if error.startswith(("-SESSIONEXPIRED", "-SESSIONSTALE")):
            self._session = None
            self._crowd.seen("session expired")
            self._complete(request, "info" if self._uncertain else "fail", None, error)
            return
        if error.startswith("-BUSY"):
            self._crowd.seen("busy")
        certain = error.startswith(_DEFINITE) or request.reads
        if not certain:
            self._uncertain = True
        again = certain or self._session is not None or not request.f
        if again and (self._tries < self._crowd.options.attempts or not request.f):
            if self._uncertain:
                self._crowd.seen("write retried by a session")
            self._crowd.loop.after(self._crowd.pause_ns(self._tries), self._again, self._attempt)
        else:
            self._complete(request, "info" if self._uncertain else "fail", None, error)

    def _again(self, number: int) -> None:
        if number == self._attempt and self._request is not None:
            self._send()

    def _complete(self, request: Request, outcome: EventType, value: Any, error: str | None = None) -> None:
        crowd = self._crowd
        crowd.record(self._process, outcome, request, value, error)
        if outcome == "info":
            self._process = crowd.new_process()
        crowd.completed(answered=error is None)
        self._finish()

    def _finish(self) -> None:
        crowd = self._crowd
        self._request = None
        crowd.loop.after(crowd.think_ns(), self.begin)


class Crowd:
    """All clients of a run, and the history of what they saw."""

    def __init__(
        self,
        loop: Loop,
        rng: Random,
        options: ClientOptions,
        delay_ns: int,
        span_ns: int,
        machines: Callable[[], Sequence[str]],
        submit: Submit,
        recorder: Recorder,
        watcher: "Watcher",
    ) -> None:
        """`span_ns`: in how much time the operations are to be begun, about; `machines`: whom to ask."""
        self.loop = loop
        self.rng = rng
        self.options = options
        self.submit = submit
        self.history: list[Event] = []
        self.completions = 0
        """Operations that were answered, and not with an error."""
        self._delay_ns = delay_ns
        self._think_ns = 0.6 * span_ns * options.count / max(1, options.operations)
        self._machines = machines
        self._recorder = recorder
        self._watcher = watcher
        self._left = options.operations
        self._hurried = 0
        self._written = 0
        self._last_seen: dict[tuple[int, str], str] = {}
        sessions = round(options.sessions * options.count)
        self._clients = [Client(self, number, number < sessions) for number in range(options.count)]
        self._processes = options.count

    def start(self) -> None:
        """Everybody begins, not all at once."""
        for client in self._clients:
            self.loop.after(self.think_ns(), client.begin)

    def ask_more(self, operations: int) -> None:
        """So many operations more, and all that are left, as soon as the clients get to them."""
        self._left += operations
        self.hurry(self._left)

    def hurry(self, operations: int) -> None:
        """The next so many operations come without time to think."""
        self._hurried = operations
        for client in self._clients:
            self.loop.after(self.think_ns(), client.begin)

    @property
    def left(self) -> int:
        """Operations that are still to be begun."""
        return self._left

    @property
    def operations(self) -> int:
        """Begun so far."""
        return self._written

    # What the clients ask of it.

    def next_request(self, client: int) -> Request | None:
        """The client's next operation; None when all have been begun."""
        if self._left <= 0:
            return None
        self._left -= 1
        self._hurried -= self._hurried > 0
        self._written += 1
        rng, options = self.rng, self.options
        number = rng.randrange(options.keys)
        reads = rng.random() < options.reads
        family = rng.randrange(3)
        if family == 0:
            return _register(
                f"r{number}", reads, rng, self._value(), self._last_seen.get((client, f"r{number}"))
            )
        if family == 1:
            name, f = ("GET", "get") if reads else ("INCR", "incr")
            return Request(name, (b"c%d" % number,), f, f"c{number}")
        key = b"l%d" % number
        if reads:
            return Request("LRANGE", (key, b"0", b"-1"), "get", key.decode())
        return Request("RPUSH", (key, self._value().encode()), "incr", key.decode())

    def _value(self) -> str:
        """One that nobody has written before."""
        return f"v{self._written}".ljust(self.options.value_bytes, ".")

    def check_answer(self, client: int, request: Request, result: Result) -> None:
        """Notes what was read; a list that shows a value twice was appended to twice."""
        if request.name == "GET" and isinstance(result, bytes):
            self._last_seen[(client, request.key)] = result.decode()
        elif (
            request.name == "LRANGE"
            and isinstance(result, list)
            and len(result) != len(dict.fromkeys(map(str, result)))
        ):
            self._watcher.violated(
                "", f"session exactly-once: the list {request.key} has a value twice: {result}"
            )

    def record(
        self, process: int, kind: EventType, request: Request, value: Any, error: str | None = None
    ) -> None:
        """One line of the history."""
        self.history.append(Event(process, kind, request.f, request.key, value, self.loop.now, error=error))
        self._recorder.note(
            "invoke" if kind == "invoke" else "complete",
            number=process,
            text=f"{kind} {request.f} {request.key} {value if error is None else error}",
        )

    def completed(self, *, answered: bool) -> None:
        """An operation is over."""
        self.completions += answered

    def new_process(self) -> int:
        """A number for a client whose last operation nobody knows the end of."""
        self._processes += 1
        return self._processes - 1

    def seen(self, what: str) -> None:
        """Something worth a coverage mark happened to a client."""
        self._watcher.client_saw(what)

    def anybody(self) -> str:
        """A machine to ask."""
        return self.rng.choice(self._machines())

    def delay_ns(self) -> int:
        """Of one way between a client and a member."""
        return int(self._delay_ns * self.rng.uniform(0.5, 1.5))

    def pause_ns(self, tries: int) -> int:
        """Before a request is sent again."""
        return int(self._delay_ns * self.rng.uniform(1, 2) * (1 << min(tries, 6)))

    def think_ns(self) -> int:
        """Before a client's next operation."""
        mean_ns = self._delay_ns if self._hurried else self._think_ns
        return int(mean_ns * self.rng.uniform(0.2, 1.8))


class Watcher(Protocol):
    """Who hears of what clients see."""

    def violated(self, member: str, what: str) -> None:
        """A promise was broken."""
        ...

    def client_saw(self, what: str) -> None:
        """A client saw something worth a coverage mark."""
        ...


def _register(key: str, reads: bool, rng: Random, value: str, last_seen: str | None) -> Request:
    if reads:
        return Request("GET", (key.encode(),), "get", key)
    if last_seen is not None and rng.random() < 0.4:
        return Request(
            "CAS", (key.encode(), last_seen.encode(), value.encode()), "cas", key, [last_seen, value]
        )
    return Request("SET", (key.encode(), value.encode()), "set", key, value)


def _moved_to(error: str) -> str | None:
    if not error.startswith("-MOVED"):
        return None
    return error.rpartition(" ")[2].partition(":")[0]


def _shown(request: Request, result: Result) -> Any:
    """The answer as the history has it."""
    if request.name == "LRANGE":
        assert isinstance(result, list)
        return str(len(result)) if result else None
    if request.f == "get":
        return result.decode() if isinstance(result, bytes) else None
    if request.f == "set":
        return "OK"
    return result
