"""The bridge of the world and the pods' sandboxes on it, over netlink.

The world's own network namespace has no interface but loopback and this bridge, and pods have no default
route: nothing that runs in a pod can reach the machine's network.

A thread that has entered a new namespace must not be used again, so each sandbox is made in a thread of its
own; pyroute2's sockets are bound to the thread and the namespace in which they were opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from faultlab_embedded.network.pool import AddressPool, PoolExhausted
from faultlab_embedded.node import syscalls as sc

SUBNET = "10.88.0.0/16"
PREFIX_LENGTH = 16
NODE_ADDRESS = "10.88.0.1"
BRIDGE = "faultlab0"
_FIRST_POD = 256  # 10.88.1.0 and up
_POOL_SIZE = 4096

T = TypeVar("T")


class NetworkError(Exception):
    """A sandbox cannot be made; the message says what the kernel refused."""


@dataclass(slots=True)
class Sandbox:
    """A pod's namespaces, held open by descriptors.

    `close` lets go of them; the kernel removes the interfaces.
    """

    address: str
    veth: str
    namespaces: dict[str, int] = field(default_factory=dict)
    """`net`, `uts`, `ipc` -> descriptor."""

    def close(self) -> None:
        """Idempotent."""
        for fd in self.namespaces.values():
            os.close(fd)
        self.namespaces.clear()


class Bridge:
    """The pods' network in the current network namespace. Call `start` once, there."""

    def __init__(self) -> None:
        self._pool = AddressPool(SUBNET, _FIRST_POD, _POOL_SIZE)
        self._index = 0
        self._count = 0

    def start(self) -> None:
        """Brings loopback up and makes the bridge with the node's address."""
        with IPRoute() as netlink:
            netlink.link("set", index=1, state="up")
            # With an address of its own the bridge keeps it when pods come and go.
            netlink.link("add", ifname=BRIDGE, kind="bridge", address="02:66:6c:00:00:01")
            self._index = netlink.link_lookup(ifname=BRIDGE)[0]
            netlink.addr("add", index=self._index, address=NODE_ADDRESS, prefixlen=PREFIX_LENGTH)
            netlink.link("set", index=self._index, state="up")

    async def create(self, hostname: str) -> Sandbox:
        """A new sandbox with an address and a host name. Raises NetworkError."""
        try:
            address = self._pool.take()
        except PoolExhausted as error:
            raise NetworkError(str(error)) from error
        self._count += 1
        sandbox = Sandbox(address, f"veth{self._count}")
        try:
            await in_own_thread(lambda: self._build(sandbox, hostname))
        except (OSError, NetlinkError) as error:
            await self.remove(sandbox)
            raise NetworkError(f"{type(error).__name__}: {error}") from error
        return sandbox

    async def remove(self, sandbox: Sandbox) -> None:
        """Takes the sandbox off the network (even if somebody still holds its namespace) and frees the
        address."""
        sandbox.close()
        await in_own_thread(lambda: _delete_link(sandbox.veth))
        self._pool.release(sandbox.address)

    def _build(self, sandbox: Sandbox, hostname: str) -> None:
        with contextlib.ExitStack() as stack:
            outside = stack.enter_context(IPRoute())
            sc.unshare(sc.CLONE_NEWNET | sc.CLONE_NEWUTS | sc.CLONE_NEWIPC)
            for kind in ("net", "uts", "ipc"):
                sandbox.namespaces[kind] = os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            sc.sethostname(hostname)
            with contextlib.suppress(OSError):  # a kernel without IPv6 has nothing to switch off
                Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
            inside = stack.enter_context(IPRoute())
            inside.link("set", index=1, state="up")
            peer = {"ifname": "eth0", "net_ns_fd": sandbox.namespaces["net"]}
            outside.link("add", ifname=sandbox.veth, kind="veth", master=self._index, state="up", peer=peer)
            eth0 = inside.link_lookup(ifname="eth0")[0]
            inside.addr("add", index=eth0, address=sandbox.address, prefixlen=PREFIX_LENGTH)
            inside.link("set", index=eth0, state="up")


def _delete_link(name: str) -> None:
    with IPRoute() as netlink:
        for index in netlink.link_lookup(ifname=name):
            with contextlib.suppress(NetlinkError):  # gone with its namespace meanwhile
                netlink.link("del", index=index)


async def in_own_thread(work: Callable[[], T]) -> T:
    """Runs `work` in a thread that is used for nothing else and waits for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            loop.call_soon_threadsafe(_settle, done, None, error)
        else:
            loop.call_soon_threadsafe(_settle, done, result, None)

    threading.Thread(target=run, name="own-namespace", daemon=True).start()
    return await done


def _settle(future: asyncio.Future[T], result: T | None, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]
