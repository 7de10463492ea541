"""A node with pods for the agent's tests: a bridge, sleeping processes in networks of their own, state files.

Runs only inside namespaces made for it (see test_in_namespaces.py): everything goes with them.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from faultlab_chaos.contract import wire
from faultlab_chaos.contract.wire import Deafness, PartitionInjection, PodRef, WantedInjections
from faultlab_chaos.injectors import nftables
from faultlab_chaos.injectors.namespaces import NetworkNamespace
from faultlab_chaos.injectors.partition import Partitions

T = TypeVar("T")
KEY = "a-key-for-tests-only"
URL = "http://127.0.0.1:7010"
NODE_ADDRESS = "10.77.0.1"
_PREFIX_LENGTH = 24


async def until(what: str, condition: Callable[[], bool], deadline_s: float = 5.0) -> float:
    """Waits for a condition; the seconds that it took. Fails with `what` at the deadline."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < deadline_s, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.01)
    return time.monotonic() - started


class Pod:
    """A process in a network of its own, on the node's bridge."""

    def __init__(self, index: int, roots: Path) -> None:
        self.index = index
        self.address = f"10.77.0.{10 + index}"
        self.veth = f"veth{index}"
        self.container_id = f"{index:x}" * 64
        self.roots = roots
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._thread = ThreadPoolExecutor(1)
        own = os.stat("/proc/self/ns/net").st_ino
        deadline = time.monotonic() + 5
        while os.stat(f"/proc/{self.process.pid}/ns/net").st_ino == own:
            assert time.monotonic() < deadline, "unshare --net did not make a network"
            time.sleep(0.002)
        self._connect()
        self.write_state()

    @property
    def ref(self) -> PodRef:
        return PodRef("faultlab", f"demo-{self.index}", f"containerd://{self.container_id}")

    def write_state(self, **changed: Any) -> None:
        directory = self.roots / self.container_id
        directory.mkdir(exist_ok=True)
        state = {"id": self.container_id, "init_process_pid": self.process.pid, "namespace_paths": {}}
        (directory / "state.json").write_text(json.dumps(state | changed))

    def inside(self, work: Callable[[], T]) -> T:
        """Runs `work` in this pod's network."""

        def enter() -> T:
            with NetworkNamespace(f"/proc/{self.process.pid}/ns/net") as namespace:
                return namespace.run(work)

        return self._thread.submit(enter).result()

    def second_process(self) -> subprocess.Popen[bytes]:
        """Another process in this pod's network. The caller ends it."""
        network = f"/proc/{self.process.pid}/ns/net"
        made = subprocess.Popen(["nsenter", f"--net={network}", "sleep", "infinity"])
        wanted, deadline = os.stat(network).st_ino, time.monotonic() + 5
        while os.stat(f"/proc/{made.pid}/ns/net").st_ino != wanted:
            assert time.monotonic() < deadline, "nsenter did not enter"
            time.sleep(0.002)
        return made

    def tables(self) -> set[str]:
        """What of ours stands in this pod's kernel tables, expired or not."""

        def read() -> set[str]:
            with nftables.kernel() as kernel:
                return Partitions(kernel).tables()

        return self.inside(read)

    def heal(self) -> None:
        """Removes everything of ours from this pod's kernel tables, behind the agent's back."""

        def remove() -> None:
            with nftables.kernel() as kernel:
                partitions = Partitions(kernel)
                partitions.heal(partitions.tables())

        self.inside(remove)

    def datagram_socket(self) -> socket.socket:
        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            made.bind((self.address, 0))
            return made

        return self.inside(make)

    def end(self) -> None:
        """Its end of the cable goes first: the kernel takes a while for a dead process' network."""
        with IPRoute() as route, suppress(NetlinkError):
            route.link("del", ifname=self.veth)
        shutil.rmtree(self.roots / self.container_id)
        self.process.kill()
        self.process.wait()
        self._thread.shutdown()

    def _connect(self) -> None:
        with IPRoute() as route:
            peer = {"ifname": "eth0", "net_ns_pid": self.process.pid}
            route.link("add", ifname=self.veth, kind="veth", peer=peer)
            link = route.link_lookup(ifname=self.veth)[0]
            route.link("set", index=link, state="up", master=route.link_lookup(ifname="bridge")[0])

        def configure() -> None:
            with IPRoute() as route:
                link = route.link_lookup(ifname="eth0")[0]
                route.addr("add", index=link, address=self.address, prefixlen=_PREFIX_LENGTH)
                route.link("set", index=link, state="up")
                route.link("set", index=1, state="up")

        self.inside(configure)


class Node:
    """The bridge, the pods and the agent, with a client of it."""

    def __init__(self, directory: Path) -> None:
        self.roots = directory / "containers"
        self.roots.mkdir()
        self.key_file = directory / "key"
        self.key_file.write_text(KEY + "\n")
        self.pods: list[Pod] = []
        self.agent: subprocess.Popen[bytes] | None = None
        self._options: tuple[str, ...] = ()
        self.http: aiohttp.ClientSession
        with IPRoute() as route:
            route.link("set", index=1, state="up")
            if not route.link_lookup(ifname="bridge"):
                route.link("add", ifname="bridge", kind="bridge")
                bridge = route.link_lookup(ifname="bridge")[0]
                route.addr("add", index=bridge, address=NODE_ADDRESS, prefixlen=_PREFIX_LENGTH)
                route.link("set", index=bridge, state="up")

    def add_pods(self, count: int) -> list[Pod]:
        made = [Pod(len(self.pods) + index, self.roots) for index in range(count)]
        self.pods += made
        return made

    def tidy(self) -> None:
        """Back to three pods under nothing."""
        while len(self.pods) > 3:
            self.pods.pop().end()
        for pod in self.pods:
            pod.heal()
            pod.write_state()

    async def start_agent(self, *options: str) -> None:
        """Starts the agent and waits until it answers; nothing if one runs with the same options."""
        if self.agent is not None and self._options == options:
            return
        if self.agent is not None:
            self.end_agent(signal.SIGKILL)
        self._options = options
        self._spawn_agent()
        deadline = time.monotonic() + 10
        while True:
            assert self.agent is not None
            assert self.agent.poll() is None, "the agent ended at its start"
            assert time.monotonic() < deadline, "the agent does not answer"
            try:
                async with self.http.get(f"{URL}/healthz") as answer:
                    assert answer.status == 200
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)

    def agent_size(self) -> tuple[int, int]:
        """Resident memory in kB, and open descriptors."""
        assert self.agent is not None
        status = Path(f"/proc/{self.agent.pid}/status").read_text()
        resident_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return resident_kb, len(os.listdir(f"/proc/{self.agent.pid}/fd"))

    def _spawn_agent(self) -> None:
        command = [sys.executable, "-m", "faultlab_chaos.main", "--key-file", str(self.key_file)]
        command += ["--listen", "127.0.0.1:7010", "--runtime-root", str(self.roots), *self._options]
        self.agent = subprocess.Popen(command)

    def end_agent(self, number: signal.Signals) -> None:
        assert self.agent is not None
        self.agent.send_signal(number)
        self.agent.wait(5)
        self.agent = None

    async def call(self, method: str, path: str, body: Any = None, *, key: str = KEY) -> tuple[int, bytes]:
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        headers = {"Authorization": f"Bearer {key}"}
        async with self.http.request(method, URL + path, data=data, headers=headers) as answer:
            return answer.status, await answer.read()

    async def ask(self, kind: type[T], method: str, path: str, body: Any = None) -> T:
        status, answer = await self.call(method, path, body)
        assert status == 200, answer
        return msgspec.json.decode(answer, type=kind)

    async def put(self, owner: str, *injections: PartitionInjection) -> list[wire.InjectionState]:
        wanted = WantedInjections(owner=owner, injections=injections)
        status = await self.ask(wire.InjectionsStatus, "PUT", "/v1/injections", wanted)
        return list(status.injections)

    async def standing(self) -> list[wire.InjectionState]:
        return list((await self.ask(wire.InjectionsStatus, "GET", "/v1/injections")).injections)

    async def probe(self, pairs: Sequence[tuple[Pod, Pod]], wait_ms: int = 300) -> set[tuple[Pod, Pod]]:
        """Those of the pairs (from, to) whose datagram arrived."""
        opened = await self.ask(
            wire.OpenedProbes, "POST", "/v1/probes/open", wire.OpenProbes(tuple(to.ref for _, to in pairs))
        )
        assert not any(each.error for each in opened.sockets), opened
        nonces = {f"{a.index}-{b.index}": (a, b) for a, b in pairs}
        datagrams = tuple(
            wire.ProbeDatagram(a.ref, b.address, each.port, nonce)
            for (nonce, (a, b)), each in zip(nonces.items(), opened.sockets, strict=True)
        )
        sent = await self.ask(wire.SentProbes, "POST", "/v1/probes/send", wire.SendProbes(datagrams))
        assert not sent.errors
        ids = tuple(each.socket_id for each in opened.sockets)
        collect = wire.CollectProbes(ids, wait_ms, tuple(nonces))
        collected = await self.ask(wire.CollectedProbes, "POST", "/v1/probes/collect", collect)
        return {nonces[nonce] for arrived in collected.received.values() for nonce in arrived}

    def end(self) -> None:
        if self.agent is not None:
            self.end_agent(signal.SIGKILL)
        for pod in self.pods:
            pod.end()


def deaf(pod: Pod, *sources: Pod) -> Deafness:
    return Deafness(pod.ref, tuple(source.address for source in sources))


def injection(name: str, *deafnesses: Deafness, lease_ms: int = 5000) -> PartitionInjection:
    return PartitionInjection(id=f"faultlab/{name}/uid", lease_ms=lease_ms, deaf=deafnesses)
