"""Three members in networks of their own; the leader is cut off and let back. Prints what it measured.

Run by test_healing.py inside namespaces made for it: everything ends with them.
"""

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from faultlab_chaos.injectors import nftables
from faultlab_chaos.injectors.namespaces import NetworkNamespace
from faultlab_chaos.injectors.partition import Label, Partitions, table_name

PROGRAM = "from faultlab.node import main; main()"
CUT_S = 4.0
SIZE = 3


class Member:
    """A process in a network of its own on the bridge."""

    def __init__(self, index: int, bridge: int, config: Path) -> None:
        self.name, self.address = f"demo-{index}", f"10.78.0.{10 + index}"
        self.sleeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        path = f"/proc/{self.sleeper.pid}/ns/net"
        own = Path("/proc/self/ns/net").stat().st_ino
        while Path(path).stat().st_ino == own:
            time.sleep(0.002)
        self.network = NetworkNamespace(path)
        with IPRoute() as route:
            veth = f"veth{index}"
            route.link(
                "add", ifname=veth, kind="veth", peer={"ifname": "eth0", "net_ns_pid": self.sleeper.pid}
            )
            route.link("set", index=route.link_lookup(ifname=veth)[0], master=bridge, state="up")
        self.network.run(self._configure)
        log = (config.parent / f"{self.name}.log").open("wb")
        command = [sys.executable, "-c", PROGRAM, "raft", "--config", str(config), "--member", self.name]
        self.process = self.network.run(lambda: subprocess.Popen(command, stderr=log))

    def _configure(self) -> None:
        with IPRoute() as route:
            eth0 = route.link_lookup(ifname="eth0")[0]
            route.addr("add", index=eth0, address=self.address, prefixlen=24)
            for index in (1, eth0):
                route.link("set", index=index, state="up")

    def status(self) -> dict[str, Any] | None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://{self.address}:7002/status") as answer,
        ):
            document: dict[str, Any] = json.loads(answer.read())
            return document
        return None

    def deafen(self, sources: list[str]) -> None:
        def work() -> None:
            with nftables.kernel() as kernel:
                label = Label("test", "cut", "test", self.name)
                Partitions(kernel).cut(table_name("test", "cut"), label, sources, 60_000, standing=False)

        self.network.run(work)

    def heal(self) -> None:
        def work() -> None:
            with nftables.kernel() as kernel:
                partitions = Partitions(kernel)
                partitions.heal(partitions.tables())

        self.network.run(work)


def agreed(members: list[Member]) -> str | None:
    """The leader whom all of them follow in one term."""
    documents = [member.status() for member in members]
    views = {(document["leader"], document["term"]) for document in documents if document is not None}
    if None in documents or len(views) != 1:
        return None
    return next(iter(views))[0]


def until_agreed(members: list[Member], deadline_s: float = 15) -> tuple[str, float]:
    """The leader, and how long it took."""
    started = time.monotonic()
    while (leader := agreed(members)) is None:
        assert time.monotonic() - started < deadline_s, [member.status() for member in members]
        time.sleep(0.005)
    return leader, time.monotonic() - started


def main() -> None:
    directory = Path(sys.argv[1])
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        route.link("add", ifname="br0", kind="bridge")
        bridge = route.link_lookup(ifname="br0")[0]
        route.link("set", index=bridge, state="up")
        route.addr("add", index=bridge, address="10.78.0.1", prefixlen=24)
    peers = [{"name": f"demo-{i}", "host": f"10.78.0.{10 + i}"} for i in range(SIZE)]
    members = []
    for index in range(SIZE):
        config = directory / f"config-{index}.json"
        data_dir = str(directory / f"data-{index}")
        config.write_text(json.dumps({"cluster": "demo", "members": peers, "dataDir": data_dir}))
        members.append(Member(index, bridge, config))
    leader, _ = until_agreed(members)
    [cut_off] = [member for member in members if member.name == leader]
    rest = [member for member in members if member is not cut_off]
    cut_off.deafen([member.address for member in rest])
    for member in rest:
        member.deafen([cut_off.address])
    cut_at = time.monotonic()
    while agreed(rest) in (None, leader):
        assert time.monotonic() - cut_at < 15
        time.sleep(0.005)
    failover_s = time.monotonic() - cut_at
    time.sleep(max(0.0, CUT_S - failover_s))
    status = cut_off.status()
    assert status is not None
    for member in members:
        member.heal()
    _, healed_s = until_agreed(members)
    print(
        json.dumps(
            {
                "cutOffRole": status["role"],
                "failoverMs": failover_s * 1000,
                "healedMs": healed_s * 1000,
            }
        )
    )


main()
