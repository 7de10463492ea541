"""What grows: a long log at the start, memory with keys, throughput with members and with values."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from .cluster import Cluster, ClusterFactory
from .etcd_cluster import EtcdCluster
from .faultlab_cluster import FaultlabCluster
from .load import KEY_SPACE, LoadDriver, Round, Workload
from .processes import BenchmarkError, await_that

SIZES = (1, 3, 5, 7)
VALUE_BYTES = (64, 1024, 4096, 16_384, 65_536)
_FILL_TIMEOUT_S = 300
_REPLAY_TIMEOUT_S = 120.0
_NEVER_COMPACTED = {"snapshotLogBytes": 1 << 40}
ROOMY = {"snapshotLogBytes": 1 << 30}
"""Large values written without a pause are too much for the default, which answers -BUSY while it waits for a
snapshot. etcd keeps everything meanwhile: nothing is compacted on either side."""


class Replay(msgspec.Struct, frozen=True, rename="camel"):
    """A start with a long log."""

    entries: int
    log_mb: float
    until_ready_s: float
    """From the start of the process until everything is applied and a leader is known."""
    resident_mb: float


def replay(directory: Path, entries: int) -> Replay:
    """A member alone writes `entries` entries, none of which a snapshot replaces, and is started again."""
    with FaultlabCluster(directory, 1, settings=_NEVER_COMPACTED) as cluster:
        host, port = cluster.client_address(0)
        command = ["redis-benchmark", "-h", host, "-p", str(port), "-c", "16", "-P", "64", "-n", str(entries)]
        command += ["-r", str(KEY_SPACE), "-q", "SET", "key:__rand_int__", "x" * 64]
        run = subprocess.run(command, capture_output=True, text=True, timeout=_FILL_TIMEOUT_S, check=False)
        if "Error" in run.stdout:
            raise BenchmarkError(f"could not fill the log: {run.stdout[-500:]}")
        cluster.stop(0)
        begun = time.monotonic()
        cluster.start(0)

        def replayed() -> bool:
            cluster.process(0)
            status = cluster.status(0)
            return status is not None and status["ready"] and status["appliedIndex"] >= entries

        await_that(replayed, f"the replay of {entries} entries", _REPLAY_TIMEOUT_S, pause_s=0.01)
        taken_s = time.monotonic() - begun
        log_bytes = (cluster.status(0) or {}).get("logBytes", 0)
        return Replay(entries, log_bytes / 2**20, taken_s, cluster.resident_mb()[0])


def memory(make: ClusterFactory, directory: Path, keys: int = KEY_SPACE) -> list[float]:
    """MiB that each member grew by, from `keys` new keys with values of 64 bytes."""
    with make(directory) as cluster:
        before = cluster.resident_mb()
        _fill(cluster, keys)
        return [after - b for after, b in zip(cluster.resident_mb(), before, strict=True)]


def _fill(cluster: Cluster, keys: int) -> None:
    if isinstance(cluster, EtcdCluster):
        command = [cluster.binaries["benchmark"], f"--endpoints={cluster.endpoint(cluster.await_leader())}"]
        command += ["--conns=50", "--clients=200", "put", "--sequential-keys", "--key-size=16"]
        command += [f"--key-space-size={keys}", f"--total={keys}", "--val-size=64"]
        subprocess.run(command, capture_output=True, timeout=_FILL_TIMEOUT_S, check=True)
    else:
        _fill_resp(cluster, keys)


def _fill_resp(cluster: Cluster, keys: int) -> None:
    """Each key once, 500 at a time; redis-benchmark has only random keys."""
    address = cluster.client_address(cluster.await_leader())
    with socket.create_connection(address, 30) as connection, connection.makefile("rb") as replies:
        for first in range(0, keys, 500):
            batch = range(first, min(first + 500, keys))
            connection.sendall(
                b"".join(
                    b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$64\r\n%b\r\n" % (key, b"x" * 64)
                    for key in batch
                )
            )
            for _ in batch:
                if (reply := replies.readline()) != b"+OK\r\n":
                    raise BenchmarkError(f"a SET was answered {reply!r}")


def by_members(
    makers: dict[str, ClusterFactory], directory: Path, seconds: float, say: Callable[[str], None]
) -> dict[str, dict[int, Round]]:
    """Writes of 64 bytes at 50 connections, in clusters of 1, 3, 5 and 7."""
    workload = Workload("write", 64, 50)
    results: dict[str, dict[int, Round]] = {name: {} for name in makers}
    for size in SIZES:
        for name, make in makers.items():
            with make(directory, size) as cluster:
                results[name][size] = LoadDriver(cluster, seconds).run(workload)
            say(f"{name}, {size} members: {results[name][size].per_second:,.0f}/s")
    return results


def by_value(
    makers: dict[str, ClusterFactory], directory: Path, seconds: float, say: Callable[[str], None]
) -> dict[str, dict[int, Round]]:
    """Writes at 50 connections with ever larger values."""
    results: dict[str, dict[int, Round]] = {name: {} for name in makers}
    with contextlib.ExitStack() as stack:
        drivers = {
            name: LoadDriver(stack.enter_context(make(directory)), seconds) for name, make in makers.items()
        }
        for value_bytes in VALUE_BYTES:
            for name, driver in drivers.items():
                results[name][value_bytes] = driver.run(Workload("write", value_bytes, 50))
                say(f"{name}, {value_bytes} bytes: {results[name][value_bytes].per_second:,.0f}/s")
    return results


class Steady(msgspec.Struct, frozen=True, rename="camel"):
    """A long time under full load."""

    seconds: float
    per_second: float
    elections: int
    election_ms: int
    heartbeat_ms: int


def steady(cluster: Cluster, seconds: float, say: Callable[[str], None]) -> Steady:
    """Writes at 50 and 500 connections in turn, as fast as they go; counts the elections."""
    assert cluster.timing is not None
    driver = LoadDriver(cluster, 5.0)
    begun, term, operations = time.monotonic(), cluster.term(), 0
    while (elapsed := time.monotonic() - begun) < seconds:
        for connections in (50, 500):
            operations += driver.run(Workload("write", 64, connections)).operations
        say(f"{elapsed:.0f} s: {cluster.term() - term} elections")
    elapsed = time.monotonic() - begun
    timing = cluster.timing
    return Steady(
        elapsed, operations / elapsed, cluster.term() - term, timing.election_ms, timing.heartbeat_ms
    )
