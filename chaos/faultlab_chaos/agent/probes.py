"""One-way datagrams between pods: what proves that an edge is cut, or that it is not.

A socket is opened inside the receiving pod's network namespace and a datagram with a nonce is sent from
inside the sending pod's; whether the nonce arrives says whether the receiver hears the sender, and nothing
else. Under a cut the datagram is sent like any other and never arrives.

Sockets pin a dead pod's network while they are open, so each lives 10 s at most, whoever forgets it.
"""

import asyncio
import socket
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from faultlab_chaos.agent.containers import Container, ContainerFinder
from faultlab_chaos.agent.limits import (
    MAX_NONCE_LENGTH,
    MAX_NONCES_PER_SOCKET,
    MAX_PROBE_SOCKETS,
    PROBE_LIFETIME_S,
    check_collect,
    check_open,
    check_send,
)
from faultlab_chaos.contract.wire import (
    CollectedProbes,
    CollectProbes,
    OpenedProbes,
    OpenProbes,
    PodRef,
    ProbeDatagram,
    ProbeSocket,
    SendProbes,
    SentProbes,
)
from faultlab_chaos.errors import ChaosError, ContainerNotFound

_MAGIC: Final = b"faultlab-probe "
"""What a pod sends to this port by chance is no nonce."""
_MAX_DATAGRAM_BYTES: Final = len(_MAGIC) + MAX_NONCE_LENGTH


@dataclass
class _Receiver:
    """One open socket in one pod, and what arrived there. Beyond its bound nonces are dropped."""

    socket: socket.socket
    expiry: asyncio.TimerHandle | None = None
    nonces: set[str] = field(default_factory=set)


class Probes:
    """The probe sockets of one node. Its methods belong to one event loop; `worker` enters namespaces."""

    def __init__(
        self, finder: ContainerFinder, worker: Executor, lifetime_s: float = PROBE_LIFETIME_S
    ) -> None:
        self._finder = finder
        self._worker = worker
        self._lifetime_s = lifetime_s
        self._receivers: dict[str, _Receiver] = {}
        self._opened = 0
        self._arrival = asyncio.Event()

    async def open(self, request: OpenProbes) -> OpenedProbes:
        """A socket in each pod; a pod in which none could be opened has the reason in `error`."""
        check_open(request)
        loop = asyncio.get_running_loop()
        free = MAX_PROBE_SOCKETS - len(self._receivers)
        pods = request.pods[: max(free, 0)]
        made = await loop.run_in_executor(self._worker, self._open_inside, pods)
        sockets = [self._register(pod, got) for pod, got in zip(pods, made, strict=True)]
        full = f"{MAX_PROBE_SOCKETS} probe sockets are open on this node: collect them, or wait 10 s"
        sockets += [ProbeSocket(pod, 0, "", full) for pod in request.pods[len(pods) :]]
        return OpenedProbes(sockets=tuple(sockets))

    async def send(self, request: SendProbes) -> SentProbes:
        """Sends each datagram from inside its source; what could not be sent is told, not raised."""
        check_send(request)
        loop = asyncio.get_running_loop()
        return SentProbes(errors=await loop.run_in_executor(self._worker, self._send_inside, request))

    async def collect(self, request: CollectProbes) -> CollectedProbes:
        """Waits for the expected nonces (or as long as it may), closes the sockets, and says what came."""
        check_collect(request)
        expected = set(request.expected)
        watched = [socket_id for socket_id in request.socket_ids if socket_id in self._receivers]
        receivers = {socket_id: self._receivers[socket_id] for socket_id in watched}

        def complete() -> bool:
            arrived: set[str] = set().union(*(receiver.nonces for receiver in receivers.values()))
            return bool(expected) and expected <= arrived

        try:
            async with asyncio.timeout(request.wait_ms / 1000):
                while not complete():
                    self._arrival.clear()
                    await self._arrival.wait()
        except TimeoutError:
            pass  # Nonces that do not come are the very thing that a probe of a cut edge looks for.
        received = {
            socket_id: tuple(sorted(receiver.nonces))
            for socket_id, receiver in receivers.items()
            if socket_id in self._receivers
        }
        self.close(watched)
        return CollectedProbes(received=received)

    def close(self, socket_ids: Iterable[str] | None = None) -> None:
        """Closes these sockets, or all. Those that are closed already are no error."""
        for socket_id in list(self._receivers if socket_ids is None else socket_ids):
            receiver = self._receivers.pop(socket_id, None)
            if receiver is not None:
                if receiver.expiry is not None:
                    receiver.expiry.cancel()
                asyncio.get_running_loop().remove_reader(receiver.socket)
                receiver.socket.close()

    def _register(self, pod: PodRef, made: socket.socket | ChaosError) -> ProbeSocket:
        if isinstance(made, ChaosError):
            return ProbeSocket(pod, 0, "", str(made))
        loop = asyncio.get_running_loop()
        self._opened += 1
        socket_id = f"{self._opened}"
        receiver = _Receiver(made)
        receiver.expiry = loop.call_later(self._lifetime_s, self.close, [socket_id])
        self._receivers[socket_id] = receiver
        loop.add_reader(made, self._read, receiver)
        return ProbeSocket(pod, made.getsockname()[1], socket_id)

    def _read(self, receiver: _Receiver) -> None:
        for _ in range(MAX_NONCES_PER_SOCKET):
            try:
                datagram = receiver.socket.recv(_MAX_DATAGRAM_BYTES + 1)
            except OSError:
                break  # Nothing more for now; or an ICMP error, which concerns no receiver.
            known = datagram.startswith(_MAGIC) and len(datagram) <= _MAX_DATAGRAM_BYTES
            if known and len(receiver.nonces) < MAX_NONCES_PER_SOCKET:
                receiver.nonces.add(datagram[len(_MAGIC) :].decode(errors="replace"))
        self._arrival.set()

    def _open_inside(self, pods: tuple[PodRef, ...]) -> list[socket.socket | ChaosError]:
        found = self._finder.find(pods)
        return [self._open_one(found[pod]) for pod in pods]

    def _open_one(self, container: Container | ContainerNotFound) -> socket.socket | ChaosError:
        if isinstance(container, ContainerNotFound):
            return container
        try:
            with self._finder.open(container) as namespace:
                return namespace.run(_receiving_socket)
        except ChaosError as error:
            return error

    def _send_inside(self, request: SendProbes) -> dict[str, str]:
        errors: dict[str, str] = {}
        by_source: dict[PodRef, list[ProbeDatagram]] = {}
        for datagram in request.datagrams:
            by_source.setdefault(datagram.source, []).append(datagram)
        found = self._finder.find(by_source)
        for source, datagrams in by_source.items():
            container = found[source]
            try:
                if isinstance(container, ContainerNotFound):
                    raise container
                with self._finder.open(container) as namespace:
                    errors |= namespace.run(partial(_send_all, datagrams))
            except ChaosError as error:
                errors |= {datagram.nonce: str(error) for datagram in datagrams}
        return errors


def _receiving_socket() -> socket.socket | ChaosError:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        made.bind(("0.0.0.0", 0))
    except OSError as error:
        made.close()
        return ChaosError(f"no probe socket in this pod: {error.strerror}")
    return made


def _send_all(datagrams: list[ProbeDatagram]) -> dict[str, str]:
    """Nonce -> why it was not sent. Never blocks: a full send buffer is such a reason."""
    errors = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        for datagram in datagrams:
            try:
                socket.inet_aton(datagram.address)
                sender.sendto(_MAGIC + datagram.nonce.encode(), (datagram.address, datagram.port))
            except OSError as error:
                errors[datagram.nonce] = f"not sent to {datagram.address}:{datagram.port}: {error}"
    return errors
