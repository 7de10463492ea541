"""A cluster of member processes on loopback, and a client that sends one request and reads one reply."""

import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest

PROGRAM = "from faultlab.node import main; main()"


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, below those that the kernel gives to outgoing connections.

    Members dial each other before all of them listen; a port that the kernel may choose for one member's
    outgoing connection could be gone when the member it was meant for binds it.
    """
    found: list[int] = []
    for port in random.sample(range(10_240, 32_000), 2_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} ports are free between 10240 and 32000")


def wait_for(what: str, condition: Callable[[], Any], deadline_s: float = 20) -> Any:
    """The condition's first true value; fails with `what` when it does not come in time."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if value := condition():
                return value
        time.sleep(0.01)
    pytest.fail(f"after {deadline_s} s still not: {what}")


class Client:
    """One connection; `ask` never repeats a request."""

    def __init__(self, port: int, timeout_s: float = 10) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._reader = hiredis.Reader()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *args: str | bytes) -> None:
        self._socket.sendall(hiredis.pack_command(args))

    def reply(self) -> Any:
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("closed")
            self._reader.feed(data)
        return reply

    def ask(self, *args: str | bytes) -> Any:
        self.send(*args)
        return self.reply()

    def error(self, *args: str | bytes) -> str:
        reply = self.ask(*args)
        assert isinstance(reply, hiredis.ReplyError), reply
        return str(reply)


class Cluster:
    """Members by index; `settings` go into the configuration as it is spelled in JSON."""

    def __init__(self, directory: Path, size: int, **settings: Any) -> None:
        self.directory = directory
        self.size = size
        ports = free_ports(3 * size)
        self.client_ports, self.peer_ports, self.admin_ports = (
            ports[:size],
            ports[size : 2 * size],
            ports[2 * size :],
        )
        self._settings = settings
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        for index in range(size):
            self.config_path(index).write_text(json.dumps(self.config(index)))

    wait_for = staticmethod(wait_for)

    def config(self, index: int) -> dict[str, Any]:
        members = [
            {"name": f"demo-{i}", "host": "127.0.0.1", "clientPort": c, "peerPort": p, "adminPort": a}
            for i, (c, p, a) in enumerate(
                zip(self.client_ports, self.peer_ports, self.admin_ports, strict=True)
            )
        ]
        data_dir = str(self.directory / f"data-{index}")
        return {"cluster": "demo", "members": members, "dataDir": data_dir, **self._settings}

    def config_path(self, index: int) -> Path:
        return self.directory / f"config-{index}.json"

    def log_text(self, index: int) -> str:
        return (self.directory / f"{index}.log").read_text()

    def start(self, *indexes: int) -> None:
        for index in indexes or range(self.size):
            with (self.directory / f"{index}.log").open("ab") as log:
                options = ["--config", str(self.config_path(index)), "--member", f"demo-{index}"]
                self.processes[index] = subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, "raft", *options, "--listen", "127.0.0.1"], stderr=log
                )

    def signal(self, index: int, number: signal.Signals) -> None:
        self.processes[index].send_signal(number)

    def kill(self, index: int) -> None:
        """As a power cut to the process: SIGKILL."""
        process = self.processes.pop(index)
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        for index in list(self.processes):
            self.kill(index)

    def admin(self, index: int, path: str) -> bytes:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.admin_ports[index]}{path}", timeout=5
        ) as response:
            body: bytes = response.read()
            return body

    def status(self, index: int) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.admin(index, "/status"))
        return document

    def events(self, index: int) -> list[dict[str, Any]]:
        """All events until now."""
        url = f"http://127.0.0.1:{self.admin_ports[index]}/events"
        lines: list[bytes] = []
        with contextlib.suppress(TimeoutError), urllib.request.urlopen(url, timeout=0.3) as response:
            lines.extend(response)
        return [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]

    def leader(self, deadline_s: float = 20) -> int:
        """The member that all running ones follow, once they agree."""

        def agreed() -> list[int]:
            documents = [self.status(index) for index in self.processes]
            leaders = {document["leader"] for document in documents}
            terms = {document["term"] for document in documents}
            if len(leaders) != 1 or len(terms) != 1 or None in leaders:
                return []
            name = leaders.pop()
            return [index for index in self.processes if f"demo-{index}" == name]

        [index] = wait_for("a leader whom all follow", agreed, deadline_s)
        return int(index)

    def client(self, index: int, timeout_s: float = 10) -> Client:
        return Client(self.client_ports[index], timeout_s)


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    made: list[Cluster] = []

    def make(size: int = 3, **settings: Any) -> Cluster:
        directory = tmp_path / f"cluster-{len(made)}"
        directory.mkdir()
        cluster = Cluster(directory, size, **settings)
        made.append(cluster)
        cluster.start()
        return cluster

    yield make
    for cluster in made:
        cluster.stop()


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members with default settings, for tests that leave them running."""
    cluster = Cluster(tmp_path_factory.mktemp("shared"), 3)
    cluster.start()
    try:
        cluster.leader()
        yield cluster
        for index, process in cluster.processes.items():
            assert process.poll() is None, f"member {index} died: {cluster.log_text(index)[-2000:]}"
    finally:
        cluster.stop()
