"""A load run within one process: clients under way, the end, and the final read.

After the load has ended every key is read once more through the members in turn, as part of the
history: a write that was acknowledged and lost is found even if nobody happened to read it. It ends
after FINAL_READ_LIMIT_S, and how many keys were left unread by then is said.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from faultlab.contract.load import LoadConfig, LoadWindow
from faultlab.contract.member import PeerAddress
from faultlab.load.choice import Chooser, Operation
from faultlab.load.client import Client, Connect, Outcome, longest_operation_s, over_tcp
from faultlab.load.recorder import Recorder
from faultlab.load.schedule import Schedule

FINAL_READ_LIMIT_S = 20.0
FINAL_READ_RETRY_S = 0.1

SessionPhase = Literal["starting", "running", "finishing", "finished"]


def history_path(data_dir: str, worker: int) -> Path:
    """Where a worker writes its part of the history."""
    return Path(data_dir) / f"history-{worker}.ndjson"


class Session:
    """What the users of one process share. `sleep` is the event loop's (gevent's in production)."""

    def __init__(
        self,
        config: LoadConfig,
        *,
        worker: int,
        workers: int,
        start_ns: int,
        sleep: Callable[[float], None],
        clock: Callable[[], int] = time.monotonic_ns,
        connect: Connect = over_tcp,
    ) -> None:
        """`clock` counts the time of `sleep`, in nanoseconds; `connect` makes a way to a member."""
        self._config = config
        self._clock = clock
        self._connect = connect
        self._sleep = sleep
        self._timeout_s = config.operation_timeout_ms / 1000
        self._worker = worker
        self.start_ns = start_ns
        self.phase: SessionPhase = "starting"
        self.recorder = Recorder(
            history_path(config.data_dir, worker) if config.record else None,
            worker=worker,
            start_ns=start_ns,
            clock=clock,
        )
        self.chooser = Chooser(
            config.mix, config.keys, seed=config.seed, worker=worker, prefix=config.key_prefix
        )
        self._schedule = Schedule(config.arrival, workers=workers)
        self._users = 0
        self.drained = False
        """No operation of this process is open, and none will begin but the final read."""
        self._finishing = False
        self.unread = 0
        """Keys that the final read could not read in its time; known once the phase is finished."""

    @property
    def missed(self) -> int:
        return self._schedule.missed

    def new_client(self) -> Client:
        """A client for the next user. Members are dealt out in turn, across workers too."""
        members = self._config.members
        member = members[(self._users * max(self._config.workers, 1) + self._worker) % len(members)]
        self._users += 1
        self.phase = "running" if self.phase == "starting" else self.phase
        return self._client(member)

    def run_one(self, client: Client) -> tuple[Operation, Outcome] | None:
        """Waits for the client's next turn and performs one operation; None once the run is ending."""
        intended_ns = self._schedule.take(self._clock())
        if intended_ns is not None:
            self._sleep(max(intended_ns - self._clock(), 0) / 1e9)
        if self.phase not in ("starting", "running"):
            return None
        operation = self.chooser.next()
        return operation, client.perform(operation, intended_ns)

    def drain(self) -> None:
        """Ends the load and waits for open operations. Repeatable."""
        if self.phase in ("finishing", "finished"):
            return
        self.phase = "finishing"
        give_up_ns = self._clock() + int((longest_operation_s(self._config) + 1) * 1e9)
        while self.recorder.open and self._clock() < give_up_ns:
            self._sleep(0.01)
        self.drained = True

    def finish(self) -> None:
        """Reads every key if that is this worker's part, and closes the history.

        To be called once every worker has drained, or a write still open would not be read again.
        """
        if not self.drained or self._finishing:
            return
        self._finishing = True
        if self._worker == 0 and self._config.record:
            self._final_read()
        self.recorder.close()
        self.phase = "finished"

    def window(self) -> LoadWindow:
        return self.recorder.window()

    def _client(self, member: PeerAddress) -> Client:
        members = self._config.members
        return Client(
            member,
            self.recorder,
            self.chooser,
            timeout_s=self._timeout_s,
            members=members,
            retry_limit_s=self._config.retry_limit_ms / 1000 if self._config.retries else 0.0,
            sessions=self._config.sessions,
            sleep=self._sleep,
            connect=self._connect,
            clock=self._clock,
        )

    def _final_read(self) -> None:
        clients = [self._client(member) for member in self._config.members]
        give_up_ns = self._clock() + int(FINAL_READ_LIMIT_S * 1e9)
        try:
            for number, read in enumerate(self.chooser.reads()):
                turn = number
                while self._clock() < give_up_ns:
                    outcome = clients[turn % len(clients)].perform(read, None)
                    if outcome.type == "ok":
                        break
                    turn += 1
                    self._sleep(FINAL_READ_RETRY_S)
                else:
                    self.unread += 1
        finally:
            for client in clients:
                client.close()
