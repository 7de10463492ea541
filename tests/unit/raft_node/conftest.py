"""A cluster of member processes on loopback, and a client that sends one request and reads one reply."""

import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import hiredis
import pytest
from raft_trio import Trio

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


MAX_SIZE = 6


class Cluster:
    """Members by index; `settings` go into the configuration as it is spelled in JSON."""

    def __init__(self, directory: Path, size: int, **settings: Any) -> None:
        self.directory = directory
        self.size = size
        ports = free_ports(3 * MAX_SIZE)
        self.client_ports, self.peer_ports, self.admin_ports = (
            ports[:MAX_SIZE],
            ports[MAX_SIZE : 2 * MAX_SIZE],
            ports[2 * MAX_SIZE :],
        )
        self.settings = settings
        self.ids: dict[int, str] = {}
        """As the operator would write them into the configuration."""
        self.headers: dict[str, str] = {}
        """Of orders."""
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    program = (sys.executable, "-c", PROGRAM)
    wait_for = staticmethod(wait_for)

    def address(self, index: int) -> dict[str, Any]:
        return {
            "name": f"demo-{index}",
            "host": "127.0.0.1",
            "clientPort": self.client_ports[index],
            "peerPort": self.peer_ports[index],
            "adminPort": self.admin_ports[index],
        }

    def config(self, index: int) -> dict[str, Any]:
        known = sorted({*range(self.size), index})
        members = [{**self.address(i), **({"id": self.ids[i]} if i in self.ids else {})} for i in known]
        return {
            "cluster": "demo",
            "members": members,
            "dataDir": str(self.data_dir(index)),
            **self.settings,
        }

    def data_dir(self, index: int) -> Path:
        return self.directory / f"data-{index}"

    def config_path(self, index: int) -> Path:
        return self.directory / f"config-{index}.json"

    def log_text(self, index: int) -> str:
        return (self.directory / f"{index}.log").read_text()

    def start(self, *indexes: int, arguments: tuple[str, ...] = ()) -> None:
        for index in indexes or range(self.size):
            self.config_path(index).write_text(json.dumps(self.config(index)))
            with (self.directory / f"{index}.log").open("ab") as log:
                options = ["--config", str(self.config_path(index)), "--member", f"demo-{index}", *arguments]
                self.processes[index] = subprocess.Popen(
                    [*self.program, "raft", *options, "--listen", "127.0.0.1"], stderr=log
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

    def post(self, index: int, path: str, document: Any) -> tuple[int, dict[str, Any]]:
        """Status and document of the answer."""
        url = f"http://127.0.0.1:{self.admin_ports[index]}{path}"
        request = urllib.request.Request(url, json.dumps(document).encode(), self.headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def change_members(
        self, indexes: Sequence[int], replace: Sequence[str] = (), deadline_s: float = 20
    ) -> None:
        """As the operator does it: asks whoever leads, again and again, until it is reached. Learners are
        started under their new ids."""
        wanted = {"members": [self.address(index) for index in indexes], "replace": list(replace)}
        at = self.leader()

        def reached() -> bool:
            nonlocal at
            status, document = self.post(at, "/membership", wanted)
            if status == 409:
                at = int(document["leader"].removeprefix("demo-")) if document["leader"] else at
                return False
            assert status in (200, 202), (status, document)
            for member in document["configuration"]["learners"]:
                index = int(member["name"].removeprefix("demo-"))
                if self.ids.get(index) != member["id"]:
                    self.ids[index] = member["id"]
                    self.start(index)
            return status == 200

        wait_for(f"voters {list(indexes)}", reached, deadline_s)
        self.size = max(indexes) + 1
        # Who is new may vote before its admin port, which opens last, is open.
        running = [index for index in indexes if index in self.processes]
        wait_for("every status", lambda: all(self.status(index) for index in running), deadline_s)

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

    def writers(self, members: Sequence[int], count: int = 4, value: str = "") -> "Writers":
        return Writers(self, members, count, value)

    def client(self, index: int, timeout_s: float = 10) -> Client:
        return Client(self.client_ports[index], timeout_s)


class Writers:
    """Clients that set keys of their own, each only once, on one member after another, and remember what was
    acknowledged when. `ask` never repeats a request."""

    def __init__(self, cluster: Cluster, members: Sequence[int], count: int = 4, value: str = "") -> None:
        self._cluster, self._members, self._value = cluster, members, value
        self._ending = threading.Event()
        self.acknowledged: list[list[tuple[int, float]]] = [[] for _ in range(count)]
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(count)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(15)

    @property
    def count(self) -> int:
        return sum(map(len, self.acknowledged))

    def wait_for_more(self, count: int) -> None:
        target = self.count + count
        wait_for(f"{count} more writes; errors: {self.errors[-3:]}", lambda: self.count >= target)

    def longest_gap_s(self, since: float = 0) -> float:
        """The longest time in which nothing was acknowledged to anybody."""
        times = sorted(at for mine in self.acknowledged for _, at in mine if at >= since)
        return max(b - a for a, b in pairwise(times))

    def lost(self, client: Client) -> list[str]:
        """Acknowledged writes that are not there."""
        keys = [f"w{n}-{number}" for n, mine in enumerate(self.acknowledged) for number, _ in mine]
        values: list[Any] = []
        for start in range(0, len(keys), 500):
            values += client.ask("MGET", *keys[start : start + 500])
        return [
            key
            for key, value in zip(keys, values, strict=True)
            if value != f"{key.partition('-')[2]}{self._value}".encode()
        ]

    def _run(self, n: int) -> None:
        client, at, number = None, n, 0
        while not self._ending.is_set():
            number += 1
            try:
                client = client or self._cluster.client(self._members[at % len(self._members)], timeout_s=5)
                reply = client.ask("SET", f"w{n}-{number}", f"{number}{self._value}")
            except OSError as error:
                self.errors.append(str(error))
                client = None
                at += 1
                time.sleep(0.01)
                continue
            if reply == b"OK":
                self.acknowledged[n].append((number, time.monotonic()))
            else:
                self.errors.append(str(reply))
                time.sleep(0.002)


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


@pytest.fixture
def make_trio(tmp_path: Path) -> Iterator[Callable[..., Trio]]:
    made: list[Trio] = []

    def make(**settings: Any) -> Trio:
        made.append(Trio(tmp_path, **settings))
        return made[-1]

    yield make
    for trio in made:
        trio.close()


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
