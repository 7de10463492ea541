"""Logs are cut behind snapshots; who was away gets the snapshot, in parts, while clients go on."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Client, Cluster

MakeCluster = Callable[..., "Cluster"]

KB = "x" * 1000


def fill(client: "Client", prefix: str, count: int, value: str = KB) -> None:
    for start in range(0, count, 50):
        pairs = [part for n in range(start, min(start + 50, count)) for part in (f"{prefix}{n}", value)]
        assert client.ask("MSET", *pairs) == b"OK"


def caught_up(cluster: "Cluster", behind: int, leader: int) -> bool:
    return bool(cluster.status(behind)["appliedIndex"] >= cluster.status(leader)["commitIndex"])


def test_a_log_is_cut_behind_its_snapshots_and_a_restart_goes_on_from_there(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(1, snapshotLogBytes=500_000)
    cluster.leader()
    with cluster.client(0) as client:
        for _ in range(30):
            fill(client, "k", 100)
            client.ask("INCR", "n")
    cluster.wait_for("a snapshot", lambda: cluster.status(0)["snapshotIndex"] > 40)
    before = cluster.status(0)
    assert 1 < before["firstIndex"] <= before["snapshotIndex"] + 1
    assert before["logBytes"] < 500_000 + 2 * 1024 * 1024  # and a segment
    assert "SnapshotTaken" in {event["type"] for event in cluster.events(0)}
    cluster.kill(0)
    cluster.start(0)
    cluster.leader()
    cluster.wait_for("all applied", lambda: cluster.status(0)["appliedIndex"] >= before["appliedIndex"])
    assert "behind a snapshot of 0" not in cluster.log_text(0).splitlines()[-8:]
    with cluster.client(0) as client:
        assert client.ask("GET", "n") == b"30"
        assert client.ask("GET", "k99") == KB.encode()
        assert client.ask("INCR", "n") == 31


def test_who_was_away_is_brought_back_by_a_snapshot_while_clients_write(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3, snapshotLogBytes=300_000)
    leader = cluster.leader()
    away = (leader + 1) % 3
    others = [index for index in range(3) if index != away]
    with cluster.writers(others, value=KB) as writers:
        writers.wait_for_more(100)
        cluster.kill(away)
        last = cluster.status(leader)["lastIndex"]
        cluster.wait_for("compaction beyond what it has", lambda: cluster.status(leader)["firstIndex"] > last)
        cluster.start(away)
        cluster.wait_for("a snapshot there", lambda: cluster.status(away)["snapshotIndex"] > last)
        writers.wait_for_more(100)
    cluster.wait_for("caught up", lambda: caught_up(cluster, away, leader))
    types = {event["type"] for event in cluster.events(away)}
    assert "SnapshotInstalled" in types
    cluster.kill(others[0])
    survivor = cluster.leader()
    with cluster.client(survivor) as client:
        assert writers.lost(client) == []
    digests = [
        {event["index"]: event["digest"] for event in cluster.events(index) if event["type"] == "Applied"}
        for index in (away, others[1])
    ]
    shared = digests[0].keys() & digests[1].keys()
    assert shared
    assert all(digests[0][index] == digests[1][index] for index in shared)


class Breaking:
    """Passes connections on to a port, and drops the one that has carried `after` bytes, once."""

    def __init__(self, target: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.after = 1 << 60
        self.broke = threading.Event()
        self.carried = 0
        self._target = target
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except ConnectionRefusedError:
                near.close()
                continue
            except OSError:
                return
            for source, sink, counts in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._carry, args=(source, sink, counts), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        through = 0
        try:
            while data := source.recv(65536):
                sink.sendall(data)
                if counts:
                    through += len(data)
                    self.carried += len(data)
                    if through > self.after and not self.broke.is_set():
                        self.broke.set()
                        break
        except OSError:
            pass
        for one in (source, sink):
            one.close()


@pytest.fixture
def breaking() -> Iterator[Callable[[int], Breaking]]:
    made: list[Breaking] = []

    def make(target: int) -> Breaking:
        made.append(Breaking(target))
        return made[-1]

    yield make
    for one in made:
        one.listener.close()


def test_a_snapshot_goes_on_where_its_link_broke(
    make_cluster: MakeCluster, breaking: Callable[[int], Breaking]
) -> None:
    cluster = make_cluster(1, snapshotLogBytes=4_000_000)
    cluster.leader()
    with cluster.client(0) as client:
        for n in range(12):
            assert client.ask("SET", f"k{n}", "v" * 1_000_000) == b"OK"
    cluster.wait_for("compaction", lambda: cluster.status(0)["firstIndex"] > 8)
    proxy = breaking(cluster.peer_ports[1])
    proxy.after = 5_000_000
    wanted = {"members": [cluster.address(0), {**cluster.address(1), "peerPort": proxy.port}]}
    _, document = cluster.post(0, "/membership", wanted)
    cluster.ids[1] = document["configuration"]["learners"][0]["id"]
    cluster.start(1)
    cluster.wait_for("the vote", lambda: cluster.post(0, "/membership", wanted)[0] == 200)
    assert proxy.broke.is_set()
    # From the beginning again it would have been 5 MB and at least 12 MB.
    assert 12_000_000 < proxy.carried < 15_500_000
    with cluster.client(1) as client:
        assert client.ask("GET", "k11") == b"v" * 1_000_000
