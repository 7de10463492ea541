"""Members as processes on loopback: what clients and the lab see of them."""

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import hiredis
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry

from faultlab.raft.commands import MAX_KEY_BYTES, MAX_VALUE_BYTES

if TYPE_CHECKING:
    from conftest import Cluster

MakeCluster = Callable[..., "Cluster"]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("member", [0, 1, 2])
def test_redis_py_works_on_every_member(shared_cluster: "Cluster", protocol: int, member: int) -> None:
    port = shared_cluster.client_ports[member]
    with redis.Redis(port=port, protocol=protocol, retry=Retry(NoBackoff(), 0)) as client:
        assert client.ping()
        assert client.set("k", "1")
        assert client.get("k") == b"1"
        assert client.incr("k", 2) == 3
        assert client.set("k", "x", nx=True) is None
        assert client.set("k", "y", get=True) == b"3"
        assert client.mset({"a": "1", "b": "2"})
        assert client.mget("a", "none", "b") == [b"1", None, b"2"]
        assert client.exists("a", "b", "none") == 2
        assert client.delete("a", "b") == 2
        assert client.execute_command("CAS", "k", "y", "z") == 1
        assert client.info("raft")["member"] == f"demo-{member}"
        assert len(client.command()) == client.command_count()
        with pytest.raises(redis.ResponseError, match="not supported"):
            client.set("k", "v", ex=10)
        with pytest.raises(redis.ResponseError, match="not an integer"):
            client.incr("k")
        pipeline = client.pipeline(transaction=False)
        for number in range(100):
            pipeline.set("p", number).get("p")
        assert pipeline.execute() == [item for n in range(100) for item in (True, b"%d" % n)]


def test_what_one_member_acknowledged_every_member_reads(shared_cluster: "Cluster") -> None:
    clients = [shared_cluster.client(index) for index in range(3)]
    for number in range(60):
        assert clients[number % 3].ask("SET", "shared", str(number)) == b"OK"
        assert clients[(number + 1) % 3].ask("GET", "shared") == b"%d" % number


def test_meta_names_the_leader_and_its_term_on_every_member(shared_cluster: "Cluster") -> None:
    leader = shared_cluster.leader()
    answered_by = [f"demo-{leader}".encode(), shared_cluster.status(leader)["term"]]
    for index in range(3):
        with shared_cluster.client(index) as client:
            assert client.ask("CLIENT", "META", "ON") == b"OK"
            assert client.ask("SET", "m", "1") == [b"OK", answered_by]
            assert client.ask("GET", "m") == [b"1", answered_by]
            assert client.ask("CAS", "m", "0", "2") == [0, answered_by]


def test_the_lab_sees_status_readiness_events_and_metrics(shared_cluster: "Cluster") -> None:
    leader = shared_cluster.leader()
    with shared_cluster.client(0) as client:
        for number in range(200):
            client.ask("SET", "k", str(number))
    statuses = [shared_cluster.status(index) for index in range(3)]
    assert all(status["ready"] and status["system"] == "raft" for status in statuses)
    assert [status["role"] for status in statuses].count("leader") == 1
    assert set(statuses[leader]["peers"]) == {f"demo-{i}" for i in range(3)} - {f"demo-{leader}"}
    assert shared_cluster.admin(0, "/readyz") == b"ok\n"
    assert f"faultlab_raft_term {statuses[0]['term']}.0".encode() in shared_cluster.admin(0, "/metrics")
    shared_cluster.wait_for(
        "everything applied everywhere",
        lambda: len({shared_cluster.status(i)["appliedIndex"] for i in range(3)}) == 1,
    )
    events = [shared_cluster.events(index) for index in range(3)]
    for index, member_events in enumerate(events):
        assert [event["id"] for event in member_events] == list(range(1, len(member_events) + 1))
        assert {event["member"] for event in member_events} == {f"demo-{index}"}
        assert member_events[0]["type"] == "Started"
    assert "LeaderElected" in {event["type"] for event in events[leader]}
    checkpoints = [
        {event["index"]: event["digest"] for event in member_events if event["type"] == "Applied"}
        for member_events in events
    ]
    shared = set.intersection(*(set(points) for points in checkpoints))
    assert shared
    assert all(index % 64 == 0 for index in shared)
    assert all(checkpoints[0][index] == points[index] for index in shared for points in checkpoints)


def test_keys_and_values_over_the_limit_are_refused_and_the_connection_goes_on(
    shared_cluster: "Cluster",
) -> None:
    for index in range(3):
        with shared_cluster.client(index) as client:
            assert "longer than" in client.error("SET", b"k" * (MAX_KEY_BYTES + 1), b"v")
            assert "longer than" in client.error("SET", b"k", b"v" * (MAX_VALUE_BYTES + 1))
            assert client.ask("SET", b"k" * MAX_KEY_BYTES, b"v" * MAX_VALUE_BYTES) == b"OK"
            assert client.ask("GET", b"k" * MAX_KEY_BYTES) == b"v" * MAX_VALUE_BYTES
            assert client.ask("DEL", b"k" * MAX_KEY_BYTES) == 1


def test_a_request_over_the_limit_closes_the_connection_with_an_error(shared_cluster: "Cluster") -> None:
    with shared_cluster.client(0) as client, pytest.raises((ConnectionError, hiredis.ReplyError)):
        raise client.ask("SET", b"k", b"v" * 20_000_000)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(st.binary(max_size=80), st.sampled_from([b"*3\r\n", b"$3\r\nSET\r\n", b"*1\r\n", b"\r\n"]))
    ),
    st.integers(0, 1),
)
def test_garbage_on_any_port_leaves_the_member_serving(
    shared_cluster: "Cluster", chunks: list[bytes], which: int
) -> None:
    port = (shared_cluster.client_ports, shared_cluster.peer_ports)[which][0]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        try:
            for chunk in chunks:
                sock.sendall(chunk)
        except ConnectionError:
            pass
    with shared_cluster.client(0) as client:
        assert client.ask("SET", "alive", "yes") == b"OK"


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
def test_redis_cli_works(shared_cluster: "Cluster") -> None:
    def cli(*args: str) -> str:
        port = str(shared_cluster.client_ports[1])
        return subprocess.run(
            ["redis-cli", "-p", port, *args], capture_output=True, text=True, timeout=20
        ).stdout

    assert cli("SET", "cli", "v") == "OK\n"
    assert cli("-3", "GET", "cli") == "v\n"
    assert "wrong number of arguments" in cli("GET")
    assert "raft_role:" in cli("INFO")


@pytest.mark.skipif(shutil.which("redis-benchmark") is None, reason="redis-benchmark is not installed")
def test_redis_benchmark_works(shared_cluster: "Cluster") -> None:
    port = str(shared_cluster.client_ports[0])
    command = [
        "redis-benchmark",
        "-p",
        port,
        "-c",
        "20",
        "-n",
        "3000",
        "-t",
        "ping,set,get,incr,mset",
        "-P",
        "4",
        "-q",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("requests per second") == 6


class Writer(threading.Thread):
    """Sets key i to i on one member after another, and remembers what was acknowledged."""

    def __init__(self, cluster: "Cluster", name: int) -> None:
        super().__init__(daemon=True)
        self.cluster, self.prefix = cluster, f"w{name}"
        self.member = name % cluster.size
        self.acknowledged: list[int] = []
        self.unknown: list[int] = []
        self.ending = threading.Event()

    def run(self) -> None:
        client = None
        number = 0
        while not self.ending.is_set():
            number += 1
            try:
                client = client or self.cluster.client(self.member, timeout_s=5)
                reply = client.ask("SET", f"{self.prefix}-{number}", str(number))
            except OSError:
                client = None
                self.member = (self.member + 1) % self.cluster.size
                time.sleep(0.01)
                continue
            if reply == b"OK":
                self.acknowledged.append(number)


def test_no_acknowledged_write_is_lost_when_leaders_are_killed(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    writers = [Writer(cluster, number) for number in range(6)]
    cluster.leader()
    for writer in writers:
        writer.start()
    for _ in range(2):
        enough = sum(len(writer.acknowledged) for writer in writers) + 200
        while sum(len(writer.acknowledged) for writer in writers) < enough:
            time.sleep(0.01)
        leader = cluster.leader()
        cluster.kill(leader)
        successor = cluster.leader()
        assert successor != leader
        cluster.start(leader)
        cluster.leader()
    for writer in writers:
        writer.ending.set()
        writer.join(10)
    for index in range(3):
        cluster.kill(index)
    cluster.start()
    cluster.leader()
    with cluster.client(0) as client:
        for writer in writers:
            lost = [n for n in writer.acknowledged if client.ask("GET", f"{writer.prefix}-{n}") != b"%d" % n]
            assert lost == []
    assert sum(len(writer.acknowledged) for writer in writers) > 400


def test_a_failover_is_told_in_events(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    first = cluster.leader()
    term = cluster.status(first)["term"]
    cluster.kill(first)
    second = cluster.leader()
    events = cluster.events(second)
    # A busy machine may have lost and found the leader before.
    assert [e["leader"] for e in events if e["type"] == "LeaderLost"][-1:] == [f"demo-{first}"]
    assert [e["term"] for e in events if e["type"] == "LeaderElected"][-1:] == [
        cluster.status(second)["term"]
    ]
    assert cluster.status(second)["term"] > term


def test_redirect_names_the_leaders_client_port(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3, onFollower="redirect")
    leader = cluster.leader()
    for index in range(3):
        with cluster.client(index) as client:
            if index == leader:
                assert client.ask("SET", "k", "v") == b"OK"
            else:
                moved = f"MOVED 0 127.0.0.1:{cluster.client_ports[leader]}"
                assert client.error("SET", "k", "v") == moved
                assert client.error("GET", "k") == moved


@pytest.mark.parametrize("reads", ["stale", "linearizable"])
def test_without_a_leader_reads_are_answered_only_where_they_may_be_stale(
    make_cluster: MakeCluster, reads: str
) -> None:
    cluster = make_cluster(3, reads=reads)
    leader = cluster.leader()
    with cluster.client(leader) as client:
        assert client.ask("SET", "k", "v") == b"OK"
    left = (leader + 1) % 3
    applied = cluster.status(leader)["appliedIndex"]
    cluster.wait_for("applied there", lambda: cluster.status(left)["appliedIndex"] >= applied)
    for index in range(3):
        if index != left:
            cluster.kill(index)
    cluster.wait_for("the leader is given up", lambda: cluster.status(left)["leader"] is None)
    with cluster.client(left) as client:
        assert client.error("SET", "k", "w").startswith("NOTLEADER no leader is known")
        if reads == "stale":
            assert client.ask("GET", "k") == b"v"
        else:
            assert client.error("GET", "k").startswith("NOTLEADER")
    with pytest.raises(OSError, match="503"):
        cluster.admin(left, "/readyz")
    assert cluster.admin(left, "/healthz") == b"ok\n"


def test_a_leader_without_a_majority_says_unknown_and_never_ok(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    leader = cluster.leader()
    follower = (leader + 1) % 3
    with cluster.client(leader) as direct, cluster.client(follower) as forwarded:
        assert direct.ask("SET", "k", "before") == b"OK"
        assert forwarded.ask("SET", "k", "before") == b"OK"
        for index in range(3):
            if index != leader:
                cluster.signal(index, signal.SIGSTOP)
        started = time.monotonic()
        direct.send("SET", "k", "after")
        reply = direct.reply()
        assert isinstance(reply, hiredis.ReplyError)
        assert str(reply).startswith("UNKNOWN")
        assert 1.5 < time.monotonic() - started < 6
        cluster.wait_for("the leader steps down", lambda: cluster.status(leader)["role"] != "leader")
        assert direct.error("SET", "k", "later").startswith("NOTLEADER")
        for index in range(3):
            if index != leader:
                cluster.signal(index, signal.SIGCONT)
        cluster.leader()
        assert forwarded.ask("GET", "k") in (b"before", b"after")


def test_a_forwarded_write_whose_leader_is_stopped_is_unknown_in_bounded_time(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(3)
    leader = cluster.leader()
    with cluster.client((leader + 1) % 3) as client:
        assert client.ask("SET", "k", "before") == b"OK"
        cluster.signal(leader, signal.SIGSTOP)
        assert client.error("SET", "k", "after").startswith("UNKNOWN")
        cluster.signal(leader, signal.SIGCONT)


def test_a_follower_that_was_stopped_for_a_while_does_not_depose_the_leader(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(3, preVote=False)
    leader = cluster.leader()
    stopped = (leader + 1) % 3
    term = cluster.status(leader)["term"]
    for _ in range(3):
        cluster.signal(stopped, signal.SIGSTOP)
        time.sleep(1.2)
        cluster.signal(stopped, signal.SIGCONT)
        with cluster.client(stopped) as client:
            assert client.ask("SET", "k", "v") == b"OK"
    assert cluster.leader() == leader
    assert cluster.status(stopped)["term"] == term


def test_a_cluster_of_one_serves(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1)
    cluster.leader()
    with cluster.client(0) as client:
        assert client.ask("SET", "k", "v") == b"OK"
        assert client.ask("GET", "k") == b"v"
    cluster.kill(0)
    cluster.start(0)
    cluster.leader()
    with cluster.client(0) as client:
        assert client.ask("GET", "k") == b"v"


def test_sigterm_ends_a_busy_member_cleanly_within_a_second(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    cluster.leader()
    writers = [Writer(cluster, number) for number in range(3)]
    for writer in writers:
        writer.start()
    cluster.wait_for("writes", lambda: all(writer.acknowledged for writer in writers))
    process = cluster.processes[0]
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert time.monotonic() - started < 1.5
    for writer in writers:
        writer.ending.set()
        writer.join(10)
    assert "Traceback" not in cluster.log_text(0)
