"""The lab's own clients against real members that die, freeze and lose answers: everything happens once."""

import hashlib
import json
import secrets
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hiredis
import msgspec
import pytest

from faultlab.checker import check
from faultlab.contract.load import Arrival, Keys, LoadConfig, Mix
from faultlab.contract.member import PeerAddress
from faultlab.history.events import Event

if TYPE_CHECKING:
    from conftest import Cluster

MakeCluster = Callable[..., "Cluster"]

LOAD = "from faultlab.load.main import main; main()"
MIX = Mix(read=30, write=15, cas=10, append=25, incr=20)


@contextmanager
def losing_answers(port: int, every: int) -> Iterator[int]:
    """A port before `port` that passes everything on, but closes the connection in place of every so many
    answers to a write: the member did it, the client does not know."""
    writes = Counter[str]()
    lock = threading.Lock()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            requests, replies = hiredis.Reader(), hiredis.Reader()
            with socket.create_connection(("127.0.0.1", port), timeout=10) as member:
                while received := self.request.recv(65536):
                    requests.feed(received)
                    while (command := requests.gets()) is not False:
                        member.sendall(hiredis.pack_command(tuple(command)))
                        reply = b""
                        while replies.gets() is False:
                            reply += (part := member.recv(65536))
                            if not part:
                                return
                            replies.feed(part)
                        if command[0] in (b"REQ", b"INCR", b"RPUSH", b"SET", b"CAS"):
                            with lock:
                                writes["all"] += 1
                                if writes["all"] % every == 0:
                                    return
                        self.request.sendall(reply)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(5)


class Load:
    """The load's own process."""

    def __init__(self, directory: Path, ports: list[int], port: int, **settings: Any) -> None:
        members = tuple(PeerAddress(f"demo-{at}", "127.0.0.1", client_port=p) for at, p in enumerate(ports))
        config = LoadConfig(
            "demo",
            members,
            users=9,
            arrival=Arrival("constantRate", 300.0),
            mix=MIX,
            keys=Keys(count=4),
            operation_timeout_ms=500,
            data_dir=str(directory),
            key_prefix=secrets.token_hex(4),
            **settings,
        )
        path = directory / "load.json"
        path.write_bytes(msgspec.json.encode(config))
        self._url = f"http://127.0.0.1:{port}/faultlab/"
        with (directory / "load.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    LOAD,
                    "--config",
                    str(path),
                    "--listen",
                    "127.0.0.1",
                    "--port",
                    str(port),
                ],
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(15)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._get("status"))
        return document

    def finish(self) -> list[Event]:
        """Ends the load; its history."""
        urllib.request.urlopen(urllib.request.Request(self._url + "finish", method="POST"), timeout=5).close()
        deadline = time.monotonic() + 40
        while (status := self.status())["phase"] != "finished":
            assert time.monotonic() < deadline, status
            time.sleep(0.05)
        assert status["unread"] == 0
        return [msgspec.json.decode(line, type=Event) for line in self._get("history").splitlines()]

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self._url + path, timeout=10) as response:
            body: bytes = response.read()
            return body


def counted(events: list[Event]) -> Counter[str]:
    return Counter(event.type for event in events if event.type != "invoke")


@pytest.mark.parametrize("sessions", [True, False])
def test_lost_answers_are_retried_and_applied_once_or_without_sessions_twice_which_the_checker_finds(
    tmp_path: Path, shared_cluster: "Cluster", unused_tcp_port: int, sessions: bool
) -> None:
    with losing_answers(shared_cluster.client_ports[0], 7) as port:
        ports = [port, *shared_cluster.client_ports[1:3]]
        with Load(tmp_path, ports, unused_tcp_port, sessions=sessions) as load:
            shared_cluster.wait_for("enough has been done", lambda: load.status()["ok"] > 600)
            events = load.finish()
    assert sum(event.attempts > 1 for event in events) > 5
    found = check(events, "mixed")
    if sessions:
        assert found.result == "valid", found.message
        assert counted(events)["info"] == 0
    else:
        assert found.result == "invalid"


def test_leaders_that_die_freeze_and_come_back_from_snapshots_apply_nothing_twice_and_hide_few_answers(
    tmp_path: Path, make_cluster: MakeCluster, unused_tcp_port: int
) -> None:
    cluster = make_cluster(3, snapshotLogBytes=32 * 1024)
    cluster.leader()
    with Load(tmp_path, cluster.client_ports[:3], unused_tcp_port) as load:
        cluster.wait_for("the load has begun", lambda: load.status()["ok"] > 100)
        for _ in range(2):
            killed = cluster.leader()
            cluster.kill(killed)
            done = load.status()["ok"]
            cluster.wait_for("others go on", lambda done=done: load.status()["ok"] > done + 100)
            cluster.start(killed)
            frozen = cluster.leader()
            cluster.signal(frozen, signal.SIGSTOP)
            time.sleep(1.2)
            cluster.signal(frozen, signal.SIGCONT)
            cluster.leader()
        events = load.finish()
    writes = [event for event in events if event.f != "read" and event.type != "invoke"]
    retried = [event for event in writes if event.attempts > 1]
    found = check(events, "mixed")
    assert found.result == "valid", found.message
    assert retried
    assert [event.type for event in writes].count("info") <= len(retried) / 10, counted(events)
    assert any(cluster.status(index)["snapshotIndex"] > 0 for index in range(3))


def test_clients_log_in_where_the_members_ask_for_it(
    tmp_path: Path, make_cluster: MakeCluster, unused_tcp_port: int
) -> None:
    users = tmp_path / "users.json"
    user = {"name": "load", "passwordSha256": hashlib.sha256(b"secret").hexdigest()}
    users.write_text(json.dumps({"users": [user | {"rules": [{"prefix": "", "access": "all"}]}]}))
    login = tmp_path / "login"
    login.mkdir()
    (login / "username").write_text("load\n")
    (login / "password").write_text("secret\n")
    cluster = make_cluster(3, clientAuthFile=str(users))
    cluster.wait_for("a leader", lambda: cluster.leader() is not None)
    with Load(tmp_path, cluster.client_ports[:3], unused_tcp_port, login_dir=str(login)) as load:
        cluster.wait_for("enough has been done", lambda: load.status()["ok"] > 200)
        events = load.finish()
    assert check(events, "mixed").result == "valid"
    assert not [event for event in events if "NOAUTH" in (event.error or "")]
