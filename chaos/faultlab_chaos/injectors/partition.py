"""Deafness: packets from given addresses are dropped when they arrive in a pod's network namespace.

Each injection of each owner has a table of its own there, so injections add up and removing one leaves the
others alone. The table's name carries both hashed, so that an agent that just started knows whose is what:

    table ip faultlab-OWNERHASH-INJECTIONHASH {
        set sources { type ipv4_addr; flags timeout; comment "WHO AND WHAT" }
        chain arrivals { type filter hook prerouting priority -350; ip saddr @sources drop }
    }

The lease is the elements' timeout: when it is over the kernel hears again, whoever is dead by then, and the
empty table that stays drops nothing. Kernels before 6.12 do not change the timeout of an element that
exists, so a renewal empties the set and fills it again in one transaction.
"""

import errno
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from faultlab_chaos.contract.wire import PodRef
from faultlab_chaos.errors import KernelRefused
from faultlab_chaos.injectors import nftables

TABLE_PREFIX: Final = "faultlab-"
_SET: Final = "sources"
_CHAIN: Final = "arrivals"
_UNLABELLED_POD: Final = PodRef(namespace="", name="", container_id="")


class Label(msgspec.Struct, frozen=True, array_like=True):
    """What a table says about itself. Left out of the kernel where names are so long that it does not fit."""

    owner: str
    injection: str
    namespace: str
    pod: str


class Cut(NamedTuple):
    """One table as it stands in the kernel."""

    table: str
    label: Label | None
    sources: tuple[str, ...]
    remaining_ms: int
    """Until the first of its addresses is heard again; 0: all are."""


def table_name(owner: str, injection: str) -> str:
    return f"{_owner_prefix(owner)}{_digest(injection, 16)}"


def of_owner(owner: str, tables: Iterable[str]) -> set[str]:
    """Those of `tables` that this owner made."""
    prefix = _owner_prefix(owner)
    return {table for table in tables if table.startswith(prefix)}


class Partitions:
    """The cuts of one network namespace, which the calling thread is in."""

    def __init__(self, kernel: nftables.Kernel) -> None:
        self._kernel = kernel

    def tables(self) -> set[str]:
        """The names of all tables that any agent of ours made here."""
        return {table for table in self._kernel.tables() if table.startswith(TABLE_PREFIX)}

    def read(self) -> list[Cut]:
        """What stands, expired cuts included."""
        cuts = []
        for table, comment in sorted(self._kernel.set_comments(_SET).items()):
            if table.startswith(TABLE_PREFIX):
                left_ms = self._kernel.elements(table, _SET)
                cuts.append(Cut(table, _label(comment), tuple(left_ms), min(left_ms.values(), default=0)))
        return cuts

    def cut(self, table: str, label: Label, sources: Sequence[str], lease_ms: int, *, standing: bool) -> None:
        """Drops packets from exactly these sources for the lease. `standing`: the table is there already.

        Raises KernelRefused; then it is as it was before.
        """
        fill = [nftables.flush_set(table, _SET), nftables.add_addresses(table, _SET, sources, lease_ms)]
        if standing:
            try:
                self._kernel.commit(fill)
                return
            except KernelRefused as refused:
                if refused.code != errno.ENOENT:
                    raise  # ENOENT: somebody took the table away since; make it anew.
        self._kernel.commit(
            [
                nftables.add_table(table),  # So that the deletion finds one, even if half made by hand.
                nftables.delete_table(table),
                nftables.add_table(table),
                nftables.add_address_set(table, _SET, msgspec.json.encode(label)),
                nftables.add_arrival_chain(table, _CHAIN),
                nftables.add_drop_rule(table, _CHAIN, _SET),
                *fill,
            ]
        )

    def heal(self, tables: Iterable[str]) -> None:
        """Removes these tables; those that are not there are no error."""
        present = sorted(set(tables) & self.tables())
        if present:
            self._kernel.commit([nftables.delete_table(table) for table in present])


def pod_of(label: Label | None, container_id: str) -> PodRef:
    """The pod that a table's label names, as far as it does."""
    if label is None:
        return msgspec.structs.replace(_UNLABELLED_POD, container_id=container_id)
    return PodRef(namespace=label.namespace, name=label.pod, container_id=container_id)


def _label(comment: bytes) -> Label | None:
    try:
        return msgspec.json.decode(comment, type=Label)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _owner_prefix(owner: str) -> str:
    return f"{TABLE_PREFIX}{_digest(owner, 8)}-"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
