"""Logs are cut behind snapshots; who was away gets the snapshot, in parts, while clients go on."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from raft_trio import Trio

from faultlab.raft.messages import InstallSnapshot
from faultlab.raft.node import RaftNode
from faultlab.raft.storage import snapshots as storage_snapshots
from faultlab.raft.storage.errors import DamagedLog
from faultlab.runtime.files import File, RealFiles

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

        def compacted() -> bool:
            # A slow disk's snapshots cover more at a time, and the rest is not enough for another.
            assert client.ask("SET", "more", "v" * 100_000) == b"OK"
            return bool(cluster.status(0)["firstIndex"] > 8)

        cluster.wait_for("compaction", compacted)
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


def behind(trio: Trio) -> tuple[RaftNode, RaftNode]:
    """A leader, and a follower that was away until its leader's log began behind what it has."""
    leader = trio.lead()
    away = next(node for node in trio.nodes.values() if node is not leader)
    last = away.core.last_index
    trio.down.add(away.member_id)
    for n in range(60):
        assert trio.write(leader, f"k{n % 7}", b"v" * 50_000).told == ["+OK"]
    assert leader.core.first_index > last + 1
    return leader, away


def flip_a_bit(snapshot: Path) -> None:
    data = bytearray(snapshot.read_bytes())
    data[len(data) // 2] ^= 4
    snapshot.write_bytes(data)


def latest_snapshot(directory: Path, name: str) -> Path:
    return max((directory / name).glob("**/*.snap"))


def test_a_leader_whose_snapshot_is_damaged_ends_before_it_sends_any_and_another_sends_its_own(
    make_trio: Callable[..., Trio], tmp_path: Path
) -> None:
    trio = make_trio(snapshot_log_bytes=1_000_000)
    leader, away = behind(trio)
    flip_a_bit(latest_snapshot(tmp_path, leader.member_id))
    trio.down.remove(away.member_id)
    trio.run(300)
    [(name, error)] = trio.broken
    assert (name, type(error)) == (leader.member_id, DamagedLog)
    assert "is damaged" in str(error)
    assert "Replace it" in str(error)
    assert leader.snapshots.parts_sent == 0
    assert away.core.snapshots_refused == 0
    assert away.snapshots.installed == 1
    other = trio.nodes[away.core.leader or ""]
    assert other is not leader
    assert trio.write(other, "k", b"v").told == ["+OK"]
    trio.run(100)
    assert away.store.fingerprint() == other.store.fingerprint()


@pytest.mark.parametrize("times", [1, 3])
def test_a_snapshot_that_is_damaged_on_the_way_is_sent_again_and_nobody_ends(
    make_trio: Callable[..., Trio], times: int
) -> None:
    trio = make_trio(snapshot_log_bytes=1_000_000)
    leader, away = behind(trio)

    def flip(message: InstallSnapshot) -> InstallSnapshot:
        if message.data and away.core.snapshots_refused < times:
            return msgspec.structs.replace(message, data=b"\0" + message.data[1:])
        return message

    trio.on_part = flip
    trio.down.remove(away.member_id)
    for _ in range(100):
        trio.run(100)
        if away.snapshots.installed:
            break
    trio.run(100)
    assert away.core.snapshots_refused == times
    assert away.snapshots.installed == 1
    assert trio.broken == []
    assert leader.core.role == "leader"
    assert away.store.fingerprint() == leader.store.fingerprint()


def test_a_snapshot_is_verified_by_short_jobs_and_once_for_all_who_ask(
    make_trio: Callable[..., Trio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_snapshots, "BLOCK_BYTES", 10_000)
    trio = make_trio(snapshot_log_bytes=1_000_000)
    leader, away = behind(trio)
    read: list[int] = []
    open_file = RealFiles.open

    def count_reads(files: RealFiles, path: Path, create: bool = False) -> File:
        if path.suffix == ".snap" and f"/{leader.member_id}/" in str(path):
            read.append(1)
        return open_file(files, path, create)

    monkeypatch.setattr(RealFiles, "open", count_reads)
    jobs = trio.disks[leader.member_id].done
    trio.down.remove(away.member_id)
    trio.run(200)
    assert away.snapshots.installed == 1
    assert len(read) == 1 + leader.snapshots.parts_sent
    assert trio.disks[leader.member_id].done - jobs >= leader.core.snapshot.size / 40_000
