"""One round of one load on one cluster: operations a second, latencies, and who used the CPU.

etcd is driven by its own `benchmark`, the others by redis-benchmark. Both are compiled closed-loop
clients: every connection has one request under way. Both talk to the leader. Keys have 16 bytes and are
drawn from 100,000; reads ask for one key whose value has the size of the round. `mixed` runs one client
that reads and one that writes at the same time, each with half the connections.
"""

import re
import resource
import subprocess
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from .cluster import Cluster
from .etcd_cluster import EtcdCluster
from .processes import BenchmarkError

KEY_SPACE = 100_000
MAX_CLIENT_SHARE = 0.5
_TIMEOUT_S = 120
_FIRST_OPERATIONS = 400
_MAX_OPERATIONS = 2_000_000
_REDIS_SUMMARY = re.compile(r"latency summary \(msec\):\s+avg.*\n\s*(.*)")
_REDIS_PERCENTILE = re.compile(r"^([\d.]+)% <= ([\d.]+) milliseconds \(cumulative count \d+\)$", re.MULTILINE)
_REDIS_RATE = re.compile(r"throughput summary: ([\d.]+) requests per second")
_ETCD_RATE = re.compile(r"Requests/sec:\s+([\d.e+]+)")
_ETCD_PERCENTILE = re.compile(r"^\s+([\d.]+)% in ([\d.e+-]+) secs", re.MULTILINE)


class Workload(msgspec.Struct, frozen=True):
    """What the clients do."""

    kind: Literal["write", "read", "mixed"]
    value_bytes: int
    connections: int

    @property
    def name(self) -> str:
        size = f"{self.value_bytes} B" if self.value_bytes < 1024 else f"{self.value_bytes // 1024} KiB"
        return f"{self.kind} {size} x {self.connections}"


class Latencies(msgspec.Struct, frozen=True, rename="camel"):
    """Of one client program, in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float


class Round(msgspec.Struct, frozen=True, rename="camel"):
    """What one round gave."""

    operations: int
    per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    client_cpu_s: float
    server_cpu_s: float
    resident_mb: list[float]
    elections: int

    @property
    def client_share(self) -> float:
        """Of the CPU that client and servers used together."""
        return self.client_cpu_s / max(self.client_cpu_s + self.server_cpu_s, 1e-9)

    @property
    def counts(self) -> bool:
        """Not when the client was the larger part of the work, or the cluster was busy electing."""
        return self.client_share <= MAX_CLIENT_SHARE and not self.elections


Command = tuple[list[str], Callable[[str], Latencies]]


class LoadDriver:
    """Runs workloads for about `seconds` each, learning from one run how many operations fit in the next."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self._operations: dict[Workload, list[int]] = {}

    def warm_up(self, workload: Workload) -> None:
        """A short run that teaches how fast the cluster is, and writes the key that is read."""
        if workload.kind != "write":
            self._execute([self._command("seed", workload.value_bytes, 1, 1)])
        parts = _parts(workload)
        rates = [float(_FIRST_OPERATIONS)] * len(parts)
        for seconds in (0.2, 0.7):
            counts = [
                _bounded(rate * seconds, connections)
                for rate, (_, connections) in zip(rates, parts, strict=True)
            ]
            results = self._execute(
                [
                    self._command(kind, workload.value_bytes, connections, count)
                    for (kind, connections), count in zip(parts, counts, strict=True)
                ]
            )
            rates = [result.per_second for result in results]
        self._operations[workload] = [
            _bounded(rate * self._seconds, connections)
            for rate, (_, connections) in zip(rates, parts, strict=True)
        ]

    def run(self, workload: Workload) -> Round:
        """One round; warms up first if it has not been."""
        if workload not in self._operations:
            self.warm_up(workload)
        counts = self._operations[workload]
        parts = _parts(workload)
        commands = [
            self._command(kind, workload.value_bytes, connections, count)
            for (kind, connections), count in zip(parts, counts, strict=True)
        ]
        term, server_cpu = self._cluster.term(), self._cluster.cpu_s()
        client_cpu = _children_cpu_s()
        results = self._execute(commands)
        client_cpu = _children_cpu_s() - client_cpu
        server_cpu = self._cluster.cpu_s() - server_cpu
        self._operations[workload] = [
            _bounded(result.per_second * self._seconds, connections)
            for result, (_, connections) in zip(results, parts, strict=True)
        ]
        return Round(
            operations=sum(counts),
            per_second=sum(result.per_second for result in results),
            p50_ms=max(result.p50_ms for result in results),
            p99_ms=max(result.p99_ms for result in results),
            p999_ms=max(result.p999_ms for result in results),
            client_cpu_s=client_cpu,
            server_cpu_s=server_cpu,
            resident_mb=self._cluster.resident_mb(),
            elections=self._cluster.term() - term,
        )

    def _execute(self, commands: list[Command]) -> list[Latencies]:
        """Runs the clients side by side and reads their reports."""
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for command, _ in commands
        ]
        results = []
        try:
            deadline = time.monotonic() + _TIMEOUT_S
            for process, (command, read) in zip(running, commands, strict=True):
                output, _ = process.communicate(timeout=deadline - time.monotonic())
                try:
                    results.append(read(output))
                except (IndexError, StopIteration, TypeError, ValueError) as error:
                    shown = output[-500:]
                    raise BenchmarkError(f"{' '.join(command)[:200]} said:\n{shown}") from error
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        return results

    def _command(self, kind: str, value_bytes: int, connections: int, count: int) -> Command:
        if isinstance(self._cluster, EtcdCluster):
            return self._etcd_command(self._cluster, kind, value_bytes, connections, count), read_etcd
        return self._redis_command(kind, value_bytes, connections, count), read_redis

    def _redis_command(self, kind: str, value_bytes: int, connections: int, count: int) -> list[str]:
        leader = self._cluster.await_leader()
        host, port = self._cluster.client_address(leader)
        command = ["redis-benchmark", "-h", host, "-p", str(port), "-c", str(connections), "-n", str(count)]
        command += ["-r", str(KEY_SPACE), "--precision", "3"]
        if kind == "read":
            return [*command, "GET", "key:000000000000"]
        key = "key:000000000000" if kind == "seed" else "key:__rand_int__"
        return [*command, "SET", key, "x" * value_bytes]

    @staticmethod
    def _etcd_command(
        cluster: EtcdCluster, kind: str, value_bytes: int, connections: int, count: int
    ) -> list[str]:
        if kind == "seed":
            put = [cluster.binaries["etcdctl"], "--endpoints", cluster.endpoint(0), "put"]
            return [*put, "key:000000000000", "x" * value_bytes]
        endpoints = ",".join(cluster.endpoint(index) for index in range(len(cluster.places)))
        command = [cluster.binaries["benchmark"], f"--endpoints={endpoints}", "--target-leader", "--precise"]
        command += [f"--conns={connections}", f"--clients={connections}"]
        if kind == "read":
            return [*command, "range", "key:000000000000", "--consistency=l", f"--total={count}"]
        command += ["put", "--key-size=16", f"--key-space-size={KEY_SPACE}"]
        return [*command, f"--val-size={value_bytes}", f"--total={count}"]


def _parts(workload: Workload) -> list[tuple[str, int]]:
    """The client programs of a workload: what each does, and with how many connections."""
    if workload.kind == "mixed":
        half = max(1, workload.connections // 2)
        return [("read", half), ("write", half)]
    return [(workload.kind, workload.connections)]


def _bounded(operations: float, connections: int) -> int:
    """As many for each connection."""
    each = max(1, round(min(operations, _MAX_OPERATIONS) / connections))
    return each * connections


def _children_cpu_s() -> float:
    """Of the client programs that have ended; the servers run on."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def read_redis(output: str) -> Latencies:
    """What redis-benchmark reported; raises ValueError and the like for what is no report."""
    if "Error from server" in output:
        raise ValueError(output)
    text = output.replace("\r", "\n")
    _, _, p50, _, p99, _ = map(float, _REDIS_SUMMARY.search(text)[1].split())  # type: ignore[index]
    listing = text[text.index("Latency by percentile") :].split("\n\n")[0]
    # Listed at 99.902 % and other steps of its histogram, not at 99.9 %.
    p999 = next(float(ms) for percent, ms in _REDIS_PERCENTILE.findall(listing) if float(percent) >= 99.9)
    return Latencies(float(_REDIS_RATE.search(text)[1]), p50, p99, p999)  # type: ignore[index]


def read_etcd(output: str) -> Latencies:
    """What etcd's `benchmark` reported (or etcdctl's `OK`); raises ValueError and the like."""
    if output.strip() == "OK":
        return Latencies(0.0, 0.0, 0.0, 0.0)
    if "Error distribution" in output:
        raise ValueError(output)
    listed = [
        (float(percent), float(seconds) * 1000) for percent, seconds in _ETCD_PERCENTILE.findall(output)
    ]
    # Percentiles with less than one operation beyond them are not listed: then the highest listed.
    p50, p99, p999 = (
        next((ms for at, ms in listed if at >= wanted), listed[-1][1]) for wanted in (50, 99, 99.9)
    )
    return Latencies(float(_ETCD_RATE.search(output)[1]), p50, p99, p999)  # type: ignore[index]
