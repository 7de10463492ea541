"""What Locust runs: the user class, and the lab's routes beside Locust's own page.

With workers, Locust's master holds the page and tells the workers to finish; they report what they
counted twice a second by a message of their own, since Locust's statistics know nothing of `info`.
"""

import heapq
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import msgspec
from flask import Response
from locust import User, constant, events, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from faultlab.contract.load import LoadConfig, LoadStatus, LoadWindow
from faultlab.history.events import read_events
from faultlab.load.client import Client, over_tcp
from faultlab.load.login import read_login
from faultlab.load.recorder import merge_windows
from faultlab.load.session import Session, history_path

log = logging.getLogger("faultlab.load")

CONFIG = msgspec.json.decode(Path(os.environ["FAULTLAB_LOAD_CONFIG"]).read_bytes(), type=LoadConfig)
START_NS = int(os.environ["FAULTLAB_LOAD_START_NS"])
REPORT_INTERVAL_S = 0.5
PAUSE_AFTER_FAILURE_S = 0.05
"""A closed loop over a member that refuses at once would otherwise spin."""


class WorkerReport(msgspec.Struct):
    """What a worker tells the master of itself."""

    phase: str
    totals: dict[str, int]
    missed: int
    window: LoadWindow
    first_completion_ns: int | None
    unread: int
    drained: bool


class Coordinator:
    """Knows the run as a whole: this process's session, or the workers' reports."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.environment: Environment | None = None
        self._reports: dict[str, WorkerReport] = {}
        self._finishing = False
        self._closing = False

    def attach(self, environment: Environment) -> None:
        """Called once Locust has its runner: joins the session to it."""
        self.environment = environment
        runner = environment.runner
        if isinstance(runner, MasterRunner):
            runner.register_message("faultlab-report", self._take_report)
            return
        worker = runner.worker_index if isinstance(runner, WorkerRunner) else 0
        self.session = Session(
            CONFIG,
            worker=max(worker, 0),
            workers=CONFIG.workers,
            start_ns=START_NS,
            sleep=gevent.sleep,
            connect=partial(over_tcp, login=read_login(CONFIG)),
        )
        if isinstance(runner, WorkerRunner):
            session = self.session
            runner.register_message("faultlab-drain", lambda **_: gevent.spawn(session.drain))
            runner.register_message("faultlab-finish", lambda **_: gevent.spawn(session.finish))
            gevent.spawn(self._report_forever, runner)

    def finish(self) -> None:
        """Ends the load; workers finish only once all of them have drained (see `_take_report`)."""
        self._finishing = True
        if self.session:
            self.session.drain()
            self.session.finish()
        elif self.environment and self.environment.runner:
            self.environment.runner.send_message("faultlab-drain")

    def status(self) -> LoadStatus:
        reports = [self._own_report()] if self.session else list(self._reports.values())
        now_ns, now = time.monotonic_ns(), datetime.now(UTC)
        return LoadStatus(
            name=CONFIG.name,
            phase=self._phase([report.phase for report in reports]),
            ok=sum(report.totals["ok"] for report in reports),
            fail=sum(report.totals["fail"] for report in reports),
            info=sum(report.totals["info"] for report in reports),
            missed=sum(report.missed for report in reports),
            users=getattr(self.environment and self.environment.runner, "user_count", 0) or 0,
            window=merge_windows([report.window for report in reports]),
            monotonic_ns=now_ns,
            wall_time=now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            started_at_monotonic_ns=START_NS,
            running_since_monotonic_ns=min(
                (r.first_completion_ns for r in reports if r.first_completion_ns is not None), default=None
            ),
            unread=sum(report.unread for report in reports),
        )

    def history(self) -> Iterator[bytes]:
        """The history so far, merged by time over all workers."""
        if self.session:
            self.session.recorder.flush()
        parts = [history_path(CONFIG.data_dir, worker) for worker in range(CONFIG.workers)]
        if len(parts) == 1:
            yield from _chunks(parts[0])
            return
        streams = [read_events(part) for part in parts if part.exists()]
        for event in heapq.merge(*streams, key=lambda event: event.time):
            yield msgspec.json.encode(event) + b"\n"

    def _phase(self, phases: list[str]) -> Any:
        if len(phases) < (1 if self.session else CONFIG.workers):
            return "starting"
        if all(phase == "finished" for phase in phases):
            return "finished"
        if self._finishing or any(phase in ("finishing", "finished") for phase in phases):
            return "finishing"
        return "running" if any(phase == "running" for phase in phases) else "starting"

    def _own_report(self) -> WorkerReport:
        assert self.session is not None
        session = self.session
        recorder = session.recorder
        return WorkerReport(
            session.phase,
            recorder.totals,
            session.missed,
            session.window(),
            recorder.first_completion_ns,
            session.unread,
            session.drained,
        )

    def _report_forever(self, runner: WorkerRunner) -> None:
        while True:
            if self.session:
                self.session.recorder.flush()
                runner.send_message("faultlab-report", msgspec.to_builtins(self._own_report()))
            gevent.sleep(REPORT_INTERVAL_S)

    def _take_report(self, environment: Environment, msg: Any, **_: Any) -> None:
        self._reports[msg.node_id] = msgspec.convert(msg.data, WorkerReport)
        drained = [report for report in self._reports.values() if report.drained]
        if self._finishing and not self._closing and len(drained) == CONFIG.workers:
            self._closing = True
            environment.runner.send_message("faultlab-finish")


def _chunks(path: Path) -> Iterator[bytes]:
    if not path.exists():
        return
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 18):
            yield chunk


coordinator = Coordinator()


class MemberUser(User):
    """One client pinned to one member. Locust's statistics get its latencies from the intended start."""

    wait_time = constant(0)

    def on_start(self) -> None:
        if coordinator.session is None:
            raise StopUser
        self.client: Client = coordinator.session.new_client()

    def on_stop(self) -> None:
        self.client.close()

    @task
    def operate(self) -> None:
        session = coordinator.session
        if session is None:
            raise StopUser
        done = session.run_one(self.client)
        if done is None:
            raise StopUser
        operation, outcome = done
        self.environment.events.request.fire(
            request_type="RESP",
            name=operation.f,
            response_time=outcome.latency_ms,
            response_length=0,
            exception=None if outcome.answered else RuntimeError(outcome.error),
            context={},
        )
        if not outcome.answered and CONFIG.arrival.mode == "closedLoop":
            gevent.sleep(PAUSE_AFTER_FAILURE_S)


@events.init.add_listener
def _on_init(environment: Environment, **_: Any) -> None:
    coordinator.attach(environment)
    if environment.web_ui is None:
        return
    app = environment.web_ui.app

    @app.get("/faultlab/status")
    def status() -> Response:
        return Response(msgspec.json.encode(coordinator.status()), mimetype="application/json")

    @app.post("/faultlab/finish")
    def finish() -> Response:
        gevent.spawn(coordinator.finish)
        return Response("{}", status=202, mimetype="application/json")

    @app.get("/faultlab/history")
    def history() -> Response:
        return Response(coordinator.history(), mimetype="application/x-ndjson")


@events.quitting.add_listener
def _on_quitting(environment: Environment, **_: Any) -> None:
    """Without a page nobody posts to /faultlab/finish: the end of Locust's run is the end of the load."""
    if coordinator.session and environment.parsed_options and environment.parsed_options.headless:
        coordinator.finish()
