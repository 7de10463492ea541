"""The load's own clients in virtual time.

A client of the load is written as anybody would write one: it sends, waits, sleeps. Here each user is a
greenlet; where it would wait, it is put aside until the simulation has come that far. So the sessions,
retries and judgements are the very ones that run in a load pod.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hiredis
from greenlet import getcurrent, greenlet

from faultlab.contract.load import LoadConfig, LoadStatus
from faultlab.contract.member import PeerAddress
from faultlab.load.client import Client
from faultlab.load.resp import Indefinite, NotSent, Reply
from faultlab.load.session import Session, history_path
from faultlab.raft.commands import COMMANDS, prepare
from faultlab.runtime.resp.encoder import Result
from faultlab.sim.world import SimWorld

ONE_WAY_NS = 150_000
"""Between a client and a member."""


class Users:
    """The load of one scenario: as many greenlets as it has users."""

    def __init__(self, world: SimWorld, config: LoadConfig, pod: str, now: Callable[[], str]) -> None:
        """`pod` is the load's name in cuts; `now` is the wall time of the simulation."""
        self.world = world
        self.pod = pod
        self._config = config
        self._now = now
        self._hub = getcurrent()
        self._started_at_ns = world.loop.now
        self._session = Session(
            config,
            worker=0,
            workers=1,
            start_ns=world.loop.now,
            sleep=self.sleep,
            clock=lambda: world.loop.now,
            connect=self._connect,
        )
        for _ in range(config.users):
            user = greenlet(self._use, parent=self._hub)
            world.loop.after(ONE_WAY_NS, user.switch, self._session.new_client())

    def finish(self) -> None:
        """As `POST /faultlab/finish`: ends the load, reads everything once more, closes the history."""
        if self._session.phase in ("starting", "running"):
            ending = greenlet(self._end, parent=self._hub)
            self.world.loop.after(0, ending.switch)

    def status(self) -> LoadStatus:
        """As `GET /faultlab/status`."""
        session = self._session
        totals = session.recorder.totals
        return LoadStatus(
            name=self._config.name,
            phase=session.phase,
            ok=totals["ok"],
            fail=totals["fail"],
            info=totals["info"],
            missed=session.missed,
            users=self._config.users,
            window=session.window(),
            monotonic_ns=self.world.loop.now,
            wall_time=self._now(),
            started_at_monotonic_ns=self._started_at_ns,
            running_since_monotonic_ns=session.recorder.first_completion_ns,
            unread=session.unread,
        )

    @property
    def history(self) -> Path:
        """The file that the history is written to."""
        return history_path(self._config.data_dir, 0)

    def sleep(self, duration_s: float) -> None:
        """Puts the calling greenlet aside for so long."""
        self.world.loop.after(max(1, int(duration_s * 1e9)), getcurrent().switch)
        self.put_aside()

    def put_aside(self) -> Any:
        """Lets the simulation go on until something switches back to the calling greenlet, with what."""
        return self._hub.switch()

    def _use(self, client: Client) -> None:
        while self._session.run_one(client) is not None:
            # A closed loop offers the next operation at once; time passes with each request.
            pass
        client.close()

    def _end(self) -> None:
        self._session.drain()
        self._session.finish()

    def _connect(self, member: PeerAddress, timeout_s: float) -> "SimConnection":
        connection = SimConnection(self, member.name)
        connection.open(timeout_s)
        return connection


class _Waiting:
    """A greenlet that waits for one answer, or for its time to be up; a Slot."""

    def __init__(self, users: Users, member: str) -> None:
        self._users = users
        self._member = member
        self._greenlet = getcurrent()
        self._over = False

    def resolve(self, result: Result, member: str | None, term: int | None) -> None:
        """As Slot.resolve: the answer sets out."""
        world = self._users.world
        if world.network.hears(self._users.pod, self._member):
            world.loop.after(ONE_WAY_NS, self._wake, (result, member, term))

    def wait(self, timeout_s: float) -> Any:
        """What came; None when nothing came in time."""
        self._users.world.loop.after(int(timeout_s * 1e9), self._wake, None)
        return self._users.put_aside()

    def _wake(self, with_what: Any) -> None:
        if not self._over:
            self._over = True
            self._greenlet.switch(with_what)


class SimConnection:
    """A way from the load to one member; `faultlab.load.client.Connected`."""

    def __init__(self, users: Users, member: str) -> None:
        self._users = users
        self._member = member

    def open(self, timeout_s: float) -> None:
        """The handshake; raises NotSent where nobody listens, or nothing gets through."""
        waiting, world = _Waiting(self._users, self._member), self._users.world

        def arrive() -> None:
            if self._reaches():
                listening = world.machines[self._member].process is not None
                waiting.resolve("+OK" if listening else None, None, None)

        world.loop.after(ONE_WAY_NS, arrive)
        answer = waiting.wait(timeout_s)
        if answer is None:
            raise NotSent(f"connect to {self._member}: timed out")
        if answer[0] is None:
            raise NotSent(f"connect to {self._member}: connection refused")

    def request(self, command: tuple[str, ...], timeout_s: float) -> Reply:
        """Sends it once; raises Indefinite where no answer comes."""
        waiting = _Waiting(self._users, self._member)
        self._users.world.loop.after(ONE_WAY_NS, self._arrive, command, waiting)
        answer = waiting.wait(timeout_s)
        if answer is None:
            raise Indefinite("no answer within the operation's timeout")
        result, member, term = answer
        return Reply(_as_parsed(result), member, term)

    def close(self) -> None:
        """Nothing is kept."""

    def _arrive(self, command: tuple[str, ...], waiting: _Waiting) -> None:
        if not self._reaches():
            return
        spec = COMMANDS[command[0]]
        prepared = prepare(spec, [part.encode("utf-8", "surrogateescape") for part in command])
        if isinstance(prepared, str):
            waiting.resolve(prepared, None, None)
        else:
            self._users.world.submit(self._member, spec.kind, prepared, waiting)

    def _reaches(self) -> bool:
        return self._users.world.network.hears(self._member, self._users.pod)


def _as_parsed(result: Result) -> Any:
    """A reply as hiredis gives it."""
    if isinstance(result, str):
        return hiredis.ReplyError(result[1:]) if result.startswith("-") else result[1:].encode()
    return result
