"""Which pod has which address. Pure."""

from __future__ import annotations

import ipaddress


class PoolExhausted(Exception):
    """Every address of the pods' subnet is taken."""


class AddressPool:
    """Hands out host addresses of `subnet` from `first` on, each at most once at a time.

    A released address goes to the back: it comes again only after all others, so that a peer that remembers a
    dead pod's address does not meet a stranger there.
    """

    def __init__(self, subnet: str, first: int, size: int) -> None:
        network = ipaddress.ip_network(subnet)
        if first < 1 or first + size > network.num_addresses - 1:
            raise ValueError(f"{size} addresses from number {first} on do not fit into {subnet}")
        self._base = int(network.network_address) + first
        self._size = size
        self._next = 0
        self._taken: set[int] = set()

    def take(self) -> str:
        """An address that nobody has. Raises PoolExhausted."""
        if len(self._taken) == self._size:
            raise PoolExhausted(f"all {self._size} pod addresses are in use; delete pods and try again")
        while self._next in self._taken:
            self._next = (self._next + 1) % self._size
        number, self._next = self._next, (self._next + 1) % self._size
        self._taken.add(number)
        return str(ipaddress.ip_address(self._base + number))

    def release(self, address: str) -> None:
        """Gives an address back. One that was not taken is ignored."""
        self._taken.discard(int(ipaddress.ip_address(address)) - self._base)
