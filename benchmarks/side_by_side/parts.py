"""The parts of a run, each measured, shown and kept."""

import contextlib
import json
import os
import random
import re
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from . import etcd_binaries, failover, growth, partition, targets
from .cluster import Cluster, ClusterFactory, Timing
from .etcd_cluster import EtcdCluster
from .faultlab_cluster import FaultlabCluster, LeaseCluster, default_timing
from .load import LoadDriver, Round, Workload
from .processes import BenchmarkError
from .pysyncobj_cluster import PySyncObjCluster, is_installed

PARTS = ("load", "redis", "kill", "partition", "transfer", "replay", "memory", "members", "values", "steady")
SYSTEMS = ("faultlab", "etcd", "pysyncobj")
WORKLOADS = [
    *(Workload("write", size, connections) for size in (64, 1024) for connections in (1, 50, 500)),
    *(Workload("read", 64, connections) for connections in (1, 50, 500)),
    Workload("mixed", 64, 50),
]
_REDIS_TESTS = "ping_inline,ping_mbulk,set,get,incr,mset"
_REDIS_LINE = re.compile(r"(.+): ([\d.]+) requests per second, p50=([\d.]+) msec")
_REDIS_TIMEOUT_S = 120
_TRANSFER_ROUNDS = 20


class Options(msgspec.Struct, frozen=True):
    """How much is measured."""

    quick: bool
    load_rounds: int
    seconds: float
    rounds: int
    steady_s: float
    without: tuple[str, ...]


class Case(msgspec.Struct, frozen=True):
    """One cluster whose leader is taken away again and again."""

    what: str
    system: str
    timing: Timing | None
    rounds: int


class Run:
    """The systems, and what was measured so far."""

    def __init__(self, options: Options, directory: Path, console: Console) -> None:
        self._options = options
        self._directory = directory
        self._console = console
        self._timing = default_timing()
        self._binaries: dict[str, str] = {}
        self._makers: dict[str, ClusterFactory] = {"faultlab": FaultlabCluster}
        if "etcd" not in options.without:
            try:
                self._binaries = etcd_binaries.find_or_build()
                self._makers["etcd"] = partial(EtcdCluster, binaries=self._binaries)
            except BenchmarkError as error:
                console.print(f"etcd is left out, and with it whatever is compared to it: {error}")
        if "pysyncobj" not in options.without:
            if is_installed():
                self._makers["pysyncobj"] = PySyncObjCluster
            else:
                console.print("PySyncObj is not installed (pip install pysyncobj): left out")
        self._results: dict[str, Any] = {}
        self.verdicts: list[targets.Verdict] = []
        self.failed: list[str] = []
        """Parts that could not be measured."""

    def part(self, name: str) -> None:
        """Measures one part and shows it, or says why that cannot be."""
        begun = time.monotonic()
        self._console.rule(f"{name} (load average {os.getloadavg()[0]:.1f})", align="left")
        measure: Callable[[], None] = getattr(self, f"_measure_{name}")
        try:
            measure()
        except (BenchmarkError, subprocess.SubprocessError) as error:
            self.failed.append(name)
            self._console.print(f"{name} could not be measured: {error}", markup=False)
        self._say(f"{time.monotonic() - begun:.0f} s")

    def document(self) -> dict[str, Any]:
        """Everything measured, and the verdicts."""
        return {
            "timing": msgspec.to_builtins(self._timing),
            **self._results,
            "targets": msgspec.to_builtins(self.verdicts),
            "failed": self.failed,
        }

    def _say(self, line: str) -> None:
        self._console.print(f"  {line}")

    def _measure_load(self) -> None:
        loads: dict[Workload, dict[str, list[Round]]] = {}
        with contextlib.ExitStack() as stack:
            makers: dict[str, ClusterFactory] = {**self._makers, "lease": LeaseCluster}
            drivers = {
                name: LoadDriver(stack.enter_context(make(self._directory)), self._options.seconds)
                for name, make in makers.items()
            }
            for workload in WORKLOADS:
                systems = [name for name in drivers if _has_part_in(workload, name)]
                rounds = loads[workload] = {name: [] for name in systems}
                for _ in range(self._options.load_rounds):
                    for name in systems:
                        rounds[name].append(drivers[name].run(workload))
                rates = [f"{name} {rounds[name][-1].per_second:,.0f}/s" for name in systems]
                self._say(f"{workload.name}: {', '.join(rates)}")
        targets.show_loads(self._console, loads)
        self.verdicts += targets.load_verdicts(loads)
        self._results["load"] = {
            workload.name: {name: [_as_document(r) for r in rounds] for name, rounds in by_system.items()}
            for workload, by_system in loads.items()
        }

    def _measure_redis(self) -> None:
        """redis-benchmark's own tests, one request at a time and 16 in a pipeline."""
        found: dict[str, dict[str, float]] = {}
        with FaultlabCluster(self._directory) as cluster:
            host, port = cluster.client_address(cluster.await_leader())
            for pipeline in (1, 16):
                count = (1_000 if self._options.quick else 30_000) * (1 if pipeline == 1 else 2)
                command = ["redis-benchmark", "-h", host, "-p", str(port), "-t", _REDIS_TESTS, "-q"]
                command += ["-n", str(count), "-P", str(pipeline), "-r", "100000", "--precision", "2"]
                output = _run(command)
                for what, rate, p50 in _REDIS_LINE.findall(output.replace("\r", "\n")):
                    found[f"{what}, pipeline {pipeline}"] = {"perSecond": float(rate), "p50Ms": float(p50)}
        if not found:
            raise BenchmarkError(f"redis-benchmark said nothing that can be read: {output[-300:]}")
        for what, numbers in found.items():
            self._say(f"{what}: {numbers['perSecond']:,.0f}/s, p50 {numbers['p50Ms']:.2f} ms")
        self._results["redisBenchmark"] = found

    def _measure_kill(self) -> None:
        times = {}
        for case in self._failovers():
            with self._make_timed(case) as cluster:
                rng = random.Random(case.rounds)
                times[f"kill: {case.what}"] = failover.after_kill(cluster, case.rounds, rng, self._say)
        self._keep_times("kill", times)
        self.verdicts += targets.kill_verdicts(times[f"kill: {self._ours()}"])

    def _measure_partition(self) -> None:
        times = {}
        for case in self._failovers():
            options = ["--binaries", json.dumps(self._binaries)]
            if case.timing is not None:
                options += ["--election-ms", str(case.timing.election_ms)]
                options += ["--heartbeat-ms", str(case.timing.heartbeat_ms)]
            times[f"partition: {case.what}"] = partition.inside_namespaces(
                case.system, self._directory, options, case.rounds
            )
        self._keep_times("partition", times)

    def _failovers(self) -> list[Case]:
        """What to take the leader from: ours; etcd at the same timeouts and as it comes, in fewer rounds."""
        ours, rounds = self._timing, self._options.rounds
        cases = [Case(self._ours(), "faultlab", ours, rounds)]
        if "etcd" in self._makers:
            same = f"etcd {ours.election_ms}/{ours.heartbeat_ms} ms"
            cases.append(Case(same, "etcd", ours, max(1, rounds // 2)))
            cases.append(Case("etcd 1000/100 ms (its defaults)", "etcd", None, max(1, rounds // 5)))
        return cases

    def _make_timed(self, case: Case) -> Cluster:
        return self._makers[case.system](self._directory, timing=case.timing)

    def _ours(self) -> str:
        return f"faultlab {self._timing.election_ms}/{self._timing.heartbeat_ms} ms (defaults)"

    def _measure_transfer(self) -> None:
        rounds = 3 if self._options.quick else _TRANSFER_ROUNDS
        times = {}
        for name, make in self._makers.items():
            if name != "pysyncobj":
                with make(self._directory) as cluster:
                    times[f"transfer: {name}"] = failover.at_transfer(cluster, rounds, self._say)
        self._keep_times("transfer", times)
        self.verdicts += targets.transfer_verdicts(times["transfer: faultlab"])

    def _keep_times(self, part: str, times: dict[str, failover.Times]) -> None:
        targets.show_times(self._console, times)
        self._results[part] = {what: measured.rounds for what, measured in times.items()}

    def _measure_replay(self) -> None:
        measured = growth.replay(self._directory, 20_000 if self._options.quick else 1_000_000)
        self._say(
            f"{measured.entries:,} entries, {measured.log_mb:.0f} MiB of log: ready after"
            f" {measured.until_ready_s:.1f} s, then {measured.resident_mb:.0f} MiB resident"
        )
        self._results["replay"] = msgspec.to_builtins(measured)
        self.verdicts += targets.replay_verdicts(measured)

    def _measure_memory(self) -> None:
        keys = 10_000 if self._options.quick else 100_000
        found = {}
        for name, make in self._makers.items():
            if name != "pysyncobj":
                found[name] = growth.memory(make, self._directory, keys)
                self._say(f"{name}: {keys:,} keys of 64 bytes took {max(found[name]):.0f} MiB in a member")
        self._results["memoryMb"] = {"keys": keys, **found}

    def _measure_members(self) -> None:
        series = growth.by_members(self._compared(), self._directory, self._options.seconds, self._say)
        self._keep_series("members", "64-byte writes at 50 connections, as members go", series)

    def _measure_values(self) -> None:
        makers = {**self._compared(), "faultlab": partial(FaultlabCluster, settings=growth.ROOMY)}
        series = growth.by_value(makers, self._directory, self._options.seconds, self._say)
        self._keep_series("values", "Writes at 50 connections, as bytes go", series)

    def _compared(self) -> dict[str, ClusterFactory]:
        return {name: make for name, make in self._makers.items() if name != "pysyncobj"}

    def _keep_series(self, part: str, title: str, series: dict[str, dict[int, Round]]) -> None:
        targets.show_series(self._console, title, part, series)
        self._results[part] = {
            name: {str(at): _as_document(r) for at, r in rounds.items()} for name, rounds in series.items()
        }

    def _measure_steady(self) -> None:
        seconds = 5.0 if self._options.quick else self._options.steady_s
        with FaultlabCluster(self._directory, timing=self._timing) as cluster:
            measured = growth.steady(cluster, seconds, self._say)
        self._say(f"{measured.per_second:,.0f} writes/s on average, {measured.elections} elections")
        self._results["steady"] = msgspec.to_builtins(measured)
        self.verdicts += targets.steady_verdicts(measured)


def _has_part_in(workload: Workload, system: str) -> bool:
    """PySyncObj has no linearizable reads, and as many writes a second whatever their size. A lease is for
    reads."""
    if system == "pysyncobj":
        return workload.kind == "write" and workload.value_bytes == 64
    return system != "lease" or workload.kind == "read"


def _as_document(measured: Round) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(measured)
    return {**document, "clientShare": measured.client_share, "counts": measured.counts}


def _run(command: list[str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, timeout=_REDIS_TIMEOUT_S, check=False)
    return run.stdout
