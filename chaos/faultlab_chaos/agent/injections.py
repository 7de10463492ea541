"""Keeps what owners want in force: level-triggered, with the kernel as the only memory that counts.

Whatever an owner does not want any more is undone; what it wants is made or has its lease renewed. The
agent's own memory says only in which namespaces to look, so a restarted agent goes on where the last one
stopped: the tables' names tell whose they are.

All methods block: call them from one thread, not the event loop's.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import wait
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from faultlab_chaos.agent.containers import Container, ContainerFinder
from faultlab_chaos.agent.limits import MAX_TABLES_PER_POD, check_sources, check_wanted
from faultlab_chaos.agent.workers import PodWorkers
from faultlab_chaos.contract.wire import (
    InjectionsStatus,
    InjectionState,
    PartitionInjection,
    PodRef,
    WantedInjections,
)
from faultlab_chaos.errors import ChaosError, ContainerNotFound, NamespaceRefused, RequestTooLate
from faultlab_chaos.injectors.namespaces import NetworkNamespace, host_namespaces
from faultlab_chaos.injectors.partition import Cut, Label, Partitions, of_owner, pod_of, table_name

T = TypeVar("T")

_log = logging.getLogger(__name__)
_SWEEP_GRACE_S: Final = 1.0


@dataclass
class _Wish:
    """One table that an owner wants in one namespace."""

    injection: PartitionInjection
    pod: PodRef
    sources: set[str]


@dataclass
class _Place:
    """A pod's namespace in which tables of ours stand or stood."""

    container: Container
    tables: dict[str, float] = field(default_factory=dict)
    """Table -> when its lease ends, on the monotonic clock."""


class InjectionKeeper:
    """The injections of one node."""

    def __init__(self, finder: ContainerFinder, clock: Callable[[], float] = time.monotonic) -> None:
        self._finder = finder
        self._clock = clock
        self._host = host_namespaces()
        self._workers = PodWorkers()
        self._places: dict[int, _Place] = {}

    def put(self, wanted: WantedInjections) -> InjectionsStatus:
        """Makes this owner's injections exactly these.

        Raises RequestRefused, or RequestTooLate after `valid_until_ms`, having done nothing.
        What cannot be applied (a pod that is gone, a kernel that refuses) is told in its state; the rest is
        done.
        """
        check_wanted(wanted)
        late_ms = self._clock_ms() - wanted.valid_until_ms
        if wanted.valid_until_ms and late_ms > 0:
            raise RequestTooLate(f"{late_ms} ms too late: what {wanted.owner} wants now, say again")
        states: list[InjectionState] = []
        opened: dict[int, NetworkNamespace] = {}
        try:
            wishes = self._open_wanted(wanted, opened, states)
            self._open_standing(wanted.owner, opened, wishes)
            states += self._settle(wanted.owner, opened, wishes)
        finally:
            for namespace in opened.values():
                namespace.close()
        return InjectionsStatus(tuple(states), self._clock_ms())

    def read(self) -> InjectionsStatus:
        """What stands in the kernel now, of all owners, in the pods that this agent knows of."""
        states: list[InjectionState] = []
        for inode, place in list(self._places.items()):
            cuts: list[Cut] = self._inside_place(inode, Partitions.read) or []
            states += [_state_of(cut, place.container) for cut in cuts if cut.remaining_ms > 0]
        return InjectionsStatus(tuple(states), self._clock_ms())

    def adopt(self) -> int:
        """Looks into every running container's network: keeps track of cuts that stand, removes expired ones.

        To be called once at the start. Returns how many cuts stand.
        """
        seen = set(self._host)
        for container in self._finder.running():
            try:
                with self._finder.open(container) as namespace:
                    if namespace.inode not in seen:
                        seen.add(namespace.inode)
                        self._adopt_in(namespace, container)
            except ChaosError as error:
                _log.warning("container %s not looked into: %s", container.container_id, error)
        return sum(len(place.tables) for place in self._places.values())

    def sweep(self) -> None:
        """Removes the empty tables of injections whose lease nobody renewed, and forgets dead pods."""
        now = self._clock()
        for inode, place in list(self._places.items()):
            ended = {table for table, ends in place.tables.items() if ends + _SWEEP_GRACE_S < now}
            if ended:
                self._inside_place(inode, partial(_remove_expired, tables=ended))
                self._forget(inode, ended)

    def heal_all(self) -> None:
        """Undoes every injection that this agent applied or adopted."""
        for inode, place in list(self._places.items()):
            tables = set(place.tables)
            self._inside_place(inode, partial(Partitions.heal, tables=tables))
            self._forget(inode, tables)

    def close(self) -> None:
        """Waits for what is still being closed; nothing may be called afterwards."""
        self._workers.shutdown()

    def _clock_ms(self) -> int:
        return int(self._clock() * 1000)

    def _open_wanted(
        self, wanted: WantedInjections, opened: dict[int, NetworkNamespace], states: list[InjectionState]
    ) -> dict[int, dict[str, _Wish]]:
        """Opens the namespaces of wanted pods; what cannot be applied goes to `states`."""
        wishes: dict[int, dict[str, _Wish]] = {}
        refusals = {injection.id: _refusal(injection) for injection in wanted.injections}
        found = self._finder.find({deaf.pod for injection in wanted.injections for deaf in injection.deaf})
        inodes = {pod: self._open(container, opened) for pod, container in found.items()}
        for injection in wanted.injections:
            for deaf in injection.deaf:
                inode = inodes[deaf.pod]
                refusal = refusals[injection.id] or (str(inode) if isinstance(inode, ChaosError) else "")
                if refusal or isinstance(inode, ChaosError):
                    states.append(_state(injection.id, wanted.owner, deaf.pod, message=refusal))
                elif not deaf.sources:
                    states.append(
                        _state(injection.id, wanted.owner, deaf.pod, applied=True, message="nothing to cut")
                    )
                else:
                    tables = wishes.setdefault(inode, {})
                    table = table_name(wanted.owner, injection.id)
                    wish = tables.setdefault(table, _Wish(injection, deaf.pod, set()))
                    wish.sources |= set(deaf.sources)
        return wishes

    def _open(
        self, container: Container | ContainerNotFound, opened: dict[int, NetworkNamespace]
    ) -> int | ChaosError:
        """The inode of its namespace, which is in `opened` then; or why it cannot be cut."""
        if isinstance(container, ContainerNotFound):
            return container
        try:
            namespace = self._finder.open(container)
        except ChaosError as error:
            return error
        if namespace.inode in self._host or namespace.inode in opened:
            namespace.close()
        if namespace.inode in self._host:
            return NamespaceRefused(
                f"container {container.container_id} is in the node's own network (hostNetwork): cutting it "
                "would cut the node; select pods with a network of their own"
            )
        opened.setdefault(namespace.inode, namespace)
        self._places.setdefault(namespace.inode, _Place(container)).container = container
        return namespace.inode

    def _open_standing(
        self, owner: str, opened: dict[int, NetworkNamespace], wishes: dict[int, dict[str, _Wish]]
    ) -> None:
        """Opens the namespaces in which this owner has something that it does not want any more."""
        for inode, place in list(self._places.items()):
            if inode in opened:
                continue
            if of_owner(owner, place.tables) - set(wishes.get(inode, {})):
                namespace = self._open_place(inode, place)
                if namespace is None:
                    del self._places[inode]
                else:
                    opened[inode] = namespace

    def _settle(
        self, owner: str, opened: dict[int, NetworkNamespace], wishes: dict[int, dict[str, _Wish]]
    ) -> list[InjectionState]:
        """Makes this owner's tables exactly `wishes`, in all opened namespaces at once."""
        states: list[InjectionState] = []
        started = []
        for inode, namespace in opened.items():
            wanted = wishes.get(inode, {})
            work = partial(self._settle_inside, owner=owner, place=self._places[inode], wishes=wanted)
            started.append((inode, self._workers.start(namespace, work)))
        wait(result for _, result in started)  # All of them: the caller closes the namespaces.
        for inode, result in started:
            place = self._places[inode]
            try:
                states += result.result()
            except ChaosError as error:
                _log.warning("network of container %s: %s", place.container.container_id, error)
                for wish in wishes.get(inode, {}).values():
                    states.append(_state(wish.injection.id, owner, wish.pod, message=str(error)))
            if not place.tables:
                del self._places[inode]
        return states

    def _settle_inside(
        self, partitions: Partitions, owner: str, place: _Place, wishes: dict[str, _Wish]
    ) -> list[InjectionState]:
        states = []
        standing = partitions.tables()
        unwanted = of_owner(owner, standing) - set(wishes)
        if unwanted:
            partitions.heal(unwanted)
            standing -= unwanted
        for table in of_owner(owner, place.tables) - set(wishes):
            del place.tables[table]
        for table, wish in wishes.items():
            message = self._cut(partitions, table, wish, owner, standing)
            if not message:
                standing.add(table)
                place.tables[table] = self._clock() + wish.injection.lease_ms / 1000
            lease_ms = 0 if message else wish.injection.lease_ms
            states.append(_state(wish.injection.id, owner, wish.pod, not message, message, lease_ms=lease_ms))
        return states

    def _cut(self, partitions: Partitions, table: str, wish: _Wish, owner: str, standing: set[str]) -> str:
        """Applies or renews one table; why not, if it could not be."""
        if table not in standing and len(standing) >= MAX_TABLES_PER_POD:
            return f"{len(standing)} injections stand in this pod: at most {MAX_TABLES_PER_POD} at once"
        label = Label(owner, wish.injection.id, wish.pod.namespace, wish.pod.name)
        lease_ms = wish.injection.lease_ms
        try:
            partitions.cut(table, label, sorted(wish.sources), lease_ms, standing=table in standing)
        except ChaosError as error:
            return str(error)
        return ""

    def _adopt_in(self, namespace: NetworkNamespace, container: Container) -> None:
        def look(partitions: Partitions) -> list[Cut]:
            cuts = partitions.read()
            _remove_expired(partitions, {cut.table for cut in cuts})
            return cuts

        for cut in self._workers.run(namespace, look):
            if cut.remaining_ms > 0:
                place = self._places.setdefault(namespace.inode, _Place(container))
                place.tables[cut.table] = self._clock() + cut.remaining_ms / 1000

    def _open_place(self, inode: int, place: _Place) -> NetworkNamespace | None:
        """A known namespace again, through its container or whatever process is left in it."""
        try:
            namespace = self._finder.open(place.container)
            if namespace.inode == inode:
                return namespace
            namespace.close()
        except ChaosError:
            pass  # The container was restarted or has ended; the pod may live on.
        return self._finder.open_inode(inode)

    def _inside_place(self, inode: int, work: Callable[[Partitions], T]) -> T | None:
        """Runs `work` on a known namespace; forgets it and returns None if nobody is in it any more."""
        namespace = self._open_place(inode, self._places[inode])
        if namespace is None:
            del self._places[inode]
            return None
        with namespace:
            try:
                return self._workers.run(namespace, work)
            except ChaosError as error:
                _log.warning("network namespace %d: %s", inode, error)
                return None

    def _forget(self, inode: int, tables: Iterable[str]) -> None:
        place = self._places.get(inode)
        if place is None:
            return
        for table in tables:
            place.tables.pop(table, None)
        if not place.tables:
            del self._places[inode]


def _remove_expired(partitions: Partitions, tables: set[str]) -> None:
    """Those of `tables` whose lease has ended: a renewal that came meanwhile keeps its table."""
    partitions.heal(cut.table for cut in partitions.read() if cut.table in tables and cut.remaining_ms == 0)


def _refusal(injection: PartitionInjection) -> str:
    """Why the whole injection is not applied; empty if nothing speaks against it."""
    refusal = check_sources(injection)
    if refusal:
        return refusal
    for source in sorted({source for deaf in injection.deaf for source in deaf.sources}):
        if _is_own_address(source):
            return (
                f"source {source} is an address of this node: cutting it would cut kubelet's probes and the "
                "lab itself; name pods by their pod address"
            )
    return ""


def _is_own_address(address: str) -> bool:
    """Asks the routing table; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((address, 9))
        except OSError:
            return False
        return bool(asked.getsockname()[0] == address)


def _state(
    injection: str, owner: str, pod: PodRef, applied: bool = False, message: str = "", *, lease_ms: int = 0
) -> InjectionState:
    return InjectionState(
        id=injection, owner=owner, pod=pod, applied=applied, message=message, lease_remaining_ms=lease_ms
    )


def _state_of(cut: Cut, container: Container) -> InjectionState:
    """A table that carries no label is told by its name."""
    label = cut.label
    return InjectionState(
        id=label.injection if label else cut.table,
        owner=label.owner if label else "",
        pod=pod_of(label, container.container_id),
        applied=True,
        lease_remaining_ms=cut.remaining_ms,
    )
