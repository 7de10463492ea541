"""Every bound of the agent in one place, and the checks of what comes in against them.

Beyond a bound a request is refused whole (400), so that nothing is half done; the number of probe sockets
is the exception, where each socket is refused by itself.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from faultlab_chaos.contract.wire import (
    CollectProbes,
    OpenProbes,
    PartitionInjection,
    PodRef,
    SendProbes,
    WantedInjections,
)
from faultlab_chaos.errors import RequestRefused

MAX_BODY_BYTES: Final = 1 << 20
MAX_INJECTIONS_PER_OWNER: Final = 64
MAX_DEAF_PODS: Final = 256
MAX_SOURCES: Final = 1024
MAX_TABLES_PER_POD: Final = 64
MAX_NAME_LENGTH: Final = 512
MIN_LEASE_MS: Final = 500
MAX_LEASE_MS: Final = 60_000
MAX_PROBE_PODS: Final = 256
MAX_PROBE_SOCKETS: Final = 256
MAX_DATAGRAMS: Final = 1024
MAX_NONCE_LENGTH: Final = 128
MAX_NONCES_PER_SOCKET: Final = 1024
MAX_COLLECT_WAIT_MS: Final = 5_000
PROBE_LIFETIME_S: Final = 10.0
_MAX_PORT: Final = 65_535


def check_wanted(wanted: WantedInjections) -> None:
    """Raises RequestRefused for what no injection can be made of."""
    _name("owner", wanted.owner)
    _count("injections", len(wanted.injections), MAX_INJECTIONS_PER_OWNER)
    ids = [injection.id for injection in wanted.injections]
    for twice in {name for name in ids if ids.count(name) > 1}:
        raise RequestRefused(f"injection {twice!r} is listed twice: give each id once")
    for injection in wanted.injections:
        _name("injection id", injection.id)
        _count(f"deaf pods of {injection.id}", len(injection.deaf), MAX_DEAF_PODS)
        if not MIN_LEASE_MS <= injection.lease_ms <= MAX_LEASE_MS:
            raise RequestRefused(
                f"leaseMs of {injection.id} is {injection.lease_ms}: "
                f"expected {MIN_LEASE_MS} to {MAX_LEASE_MS}"
            )
        for deafness in injection.deaf:
            _pod(deafness.pod)
            _count(f"sources of {injection.id}", len(deafness.sources), MAX_SOURCES)


def check_sources(injection: PartitionInjection) -> str:
    """Why the addresses of this injection cannot be cut; empty if they can.

    Not a refusal of the whole request: the owner's other faults are to be renewed all the same.
    """
    for deafness in injection.deaf:
        for source in deafness.sources:
            try:
                address = ipaddress.IPv4Address(source)
            except ValueError:
                return f"source {source!r} is not an IPv4 address: name pods by their IPv4 pod address"
            if address.is_loopback or address.is_unspecified or address.is_multicast:
                return f"source {source} is no pod's address: a pod always hears itself"
    return ""


def check_open(request: OpenProbes) -> None:
    _count("pods", len(request.pods), MAX_PROBE_PODS)
    for pod in request.pods:
        _pod(pod)


def check_send(request: SendProbes) -> None:
    _count("datagrams", len(request.datagrams), MAX_DATAGRAMS)
    for datagram in request.datagrams:
        _pod(datagram.source)
        if not 0 < datagram.port <= _MAX_PORT:
            raise RequestRefused(f"port {datagram.port} of nonce {datagram.nonce!r}: expected 1 to 65535")
    _nonces(datagram.nonce for datagram in request.datagrams)


def check_collect(request: CollectProbes) -> None:
    _count("socketIds", len(request.socket_ids), MAX_PROBE_SOCKETS)
    _count("expected", len(request.expected), MAX_DATAGRAMS)
    _nonces(request.expected)
    if not 0 <= request.wait_ms <= MAX_COLLECT_WAIT_MS:
        raise RequestRefused(f"waitMs is {request.wait_ms}: expected 0 to {MAX_COLLECT_WAIT_MS}")


def _nonces(nonces: Iterable[str]) -> None:
    for nonce in nonces:
        if not 0 < len(nonce.encode()) <= MAX_NONCE_LENGTH:
            raise RequestRefused(f"nonce {nonce[:20]!r}: expected 1 to {MAX_NONCE_LENGTH} bytes")


def _pod(pod: PodRef) -> None:
    for part in (pod.namespace, pod.name, pod.container_id):
        if len(part) > MAX_NAME_LENGTH:
            raise RequestRefused(f"a pod has a name of {len(part)} characters: at most {MAX_NAME_LENGTH}")


def _name(what: str, value: str) -> None:
    if not 0 < len(value) <= MAX_NAME_LENGTH:
        raise RequestRefused(f"{what} has {len(value)} characters: expected 1 to {MAX_NAME_LENGTH}")


def _count(what: str, count: int, most: int) -> None:
    if count > most:
        raise RequestRefused(f"{count} {what}: at most {most} are taken at once")
