"""Partitions without root: members in networks of their own, on a bridge inside fresh namespaces.

Run as a program inside `unshare` (see `inside_namespaces`), so that all of it ends with its first process.
A member is cut off by taking its cable off the bridge: packets are lost in silence, in both directions.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from faultlab_chaos.injectors.namespaces import NetworkNamespace

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from side_by_side import failover
from side_by_side.cluster import Cluster, Place, Timing
from side_by_side.etcd_cluster import EtcdCluster
from side_by_side.faultlab_cluster import FaultlabCluster
from side_by_side.processes import BenchmarkError, Process, await_that

_BRIDGE = "10.78.0.1"
_SECONDS_PER_ROUND = 15
_START_S = 60


def inside_namespaces(system: str, directory: Path, options: Sequence[str], rounds: int) -> failover.Times:
    """Runs the rounds of one system; BenchmarkError where the machine allows no namespaces."""
    unshare = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-nmpf", "--mount-proc", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        raise BenchmarkError("no namespaces on this machine: see `faultlab doctor`")
    command = [*unshare, sys.executable, __file__, system, str(directory), str(rounds), *options]
    timeout_s = _START_S + rounds * _SECONDS_PER_ROUND
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"{rounds} partitions took more than {timeout_s} s") from None
        finally:
            process.kill()
    if process.returncode != 0:
        raise BenchmarkError(f"the rounds inside the namespaces failed; see above ({process.returncode})")
    return failover.Times(json.loads(output.splitlines()[-1]))


class Cables:
    """A network for each member, all on one bridge."""

    def __init__(self, size: int, directory: Path) -> None:
        self._route = IPRoute()
        self._route.link("set", index=1, state="up")
        self._route.link("add", ifname="br0", kind="bridge")
        self._bridge = self._index("br0")
        self._route.link("set", index=self._bridge, state="up")
        self._route.addr("add", index=self._bridge, address=_BRIDGE, prefixlen=24)
        self._sleepers = [self._network(number, directory) for number in range(size)]

    @property
    def places(self) -> list[Place]:
        return [
            Place(f"10.78.0.{10 + number}", (7000, 7001, 7002), self._enter(sleeper))
            for number, sleeper in enumerate(self._sleepers)
        ]

    def cut(self, number: int) -> float:
        """Takes the cable off; gives the monotonic time of it in seconds."""
        self._route.link("set", index=self._index(f"veth{number}"), master=0)
        return time.monotonic()

    def heal(self, number: int) -> None:
        """Plugs it in again."""
        self._route.link("set", index=self._index(f"veth{number}"), master=self._bridge)

    def _network(self, number: int, directory: Path) -> Process:
        sleeper = Process(["unshare", "--net", "sleep", "infinity"], directory / "networks.log")
        own = Path("/proc/self/ns/net").stat().st_ino
        theirs = Path(f"/proc/{sleeper.pid}/ns/net")
        await_that(lambda: theirs.stat().st_ino != own, "a network", pause_s=0.002)
        peer = {"ifname": "eth0", "net_ns_pid": sleeper.pid}
        self._route.link("add", ifname=f"veth{number}", kind="veth", peer=peer)
        self._route.link("set", index=self._index(f"veth{number}"), master=self._bridge, state="up")
        NetworkNamespace(str(theirs)).run(lambda: self._configure(number))
        return sleeper

    @staticmethod
    def _configure(number: int) -> None:
        with IPRoute() as route:
            eth0 = route.link_lookup(ifname="eth0")[0]
            route.addr("add", index=eth0, address=f"10.78.0.{10 + number}", prefixlen=24)
            for index in (1, eth0):
                route.link("set", index=index, state="up")

    def _index(self, name: str) -> int:
        index: int = self._route.link_lookup(ifname=name)[0]
        return index

    @staticmethod
    def _enter(sleeper: Process) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{sleeper.pid}/ns/net", "--")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=["faultlab", "etcd"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--size", type=int, default=3)
    parser.add_argument("--election-ms", type=int, default=0)
    parser.add_argument("--heartbeat-ms", type=int, default=0)
    parser.add_argument("--binaries", type=json.loads, default={})
    options = parser.parse_args()
    cables = Cables(options.size, options.directory)
    timing = Timing(options.election_ms, options.heartbeat_ms) if options.election_ms else None
    arguments: dict[str, Any] = {"places": cables.places, "timing": timing}
    cluster: Cluster
    if options.system == "etcd":
        cluster = EtcdCluster(options.directory, binaries=options.binaries, **arguments)
    else:
        cluster = FaultlabCluster(options.directory, **arguments)

    def say(line: str) -> None:
        print(f"  partition: {line}", file=sys.stderr, flush=True)

    with cluster:
        rng = random.Random(options.rounds)
        times = failover.after_cut(cluster, options.rounds, rng, cables.cut, cables.heal, say)
    print(json.dumps(times.rounds))


if __name__ == "__main__":
    main()
