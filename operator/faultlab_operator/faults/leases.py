"""Leases of all faults on all nodes: what is wanted is told to every agent each second, or it ends there.

What is wanted of a node is computed afresh from the resources each time (`wanted`), never remembered, so
that an operator that starts again, or a fault that is deleted, needs no case of its own. One task a node:
an agent that does not answer delays no other.

A fault is whole or it is not there: where one node's lease of it ran out, it is withheld from the others
until that node's agent is back. Half of a cut would isolate somebody whom no agent lets go, and would be
called by a name that it does not deserve.

What may never happen: a node told of a part of what is wanted of it (the agent undoes what is left out),
or a renewal that waits for a check, a status or another node's answer.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Collection, Mapping

from faultlab_chaos.contract.wire import InjectionsStatus, PartitionInjection, WantedInjections
from faultlab_operator.core.clock import Clock
from faultlab_operator.faults.agents import REQUEST_TIMEOUT_S, Agents
from faultlab_operator.faults.errors import AgentError

log = logging.getLogger(__name__)

OWNER = "faultlab-operator"
LEASE_MS = 3000
LEASE_S = LEASE_MS / 1000
RENEW_EVERY_S = 1.0
RETRY_EVERY_S = 0.25
VALID_MS = int(REQUEST_TIMEOUT_S * 1000)
"""For how long an agent may do what it is told: no longer than the answer is waited for."""

Wanted = Mapping[str, tuple[PartitionInjection, ...]]
"""By node, everything that should stand there now."""


class NodeLease:
    """One node's agent, told again and again what is wanted, until nothing is and it has said so."""

    def __init__(self, node: str, agents: Agents, clock: Clock) -> None:
        self.node = node
        self.wanted: tuple[PartitionInjection, ...] = ()
        self.told: tuple[PartitionInjection, ...] = ()
        """What is wanted, without the faults that are withheld."""
        self.confirmed: tuple[PartitionInjection, ...] | None = None
        """What the agent last confirmed; None before the first answer."""
        self.error: str = ""
        """Why the last request failed; empty when it did not."""
        self.applied: dict[tuple[str, str], str] = {}
        """(fault, pod) -> why the agent could not apply it; empty when it did."""
        self.found: frozenset[str] | None = None
        """Faults of ours that stood on the node when this operator first spoke to its agent."""
        self.lapsed: set[str] = set()
        """Faults whose lease may have run out before it was renewed, or before they were to end."""
        self._due: dict[str, float] = {}
        """Wanted fault -> when its lease ends, or began to be missing for longer than one."""
        self._free_at = 0.0
        self._agents_clock: tuple[int, float] | None = None
        """What the agent's clock showed, and when it was asked on ours; None: to be asked again."""
        self._agents = agents
        self._clock = clock
        self._wake = asyncio.Event()
        self.next_answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with the next answer or failure; then there is another."""

    def want(self, wanted: tuple[PartitionInjection, ...], withheld: Collection[str] = frozenset()) -> None:
        """Takes effect at once if it differs from what was wanted before."""
        told = tuple(each for each in wanted if each.id not in withheld)
        self.wanted = wanted
        if told != self.told:
            self.told = told
            known, due = self._due, self._clock.monotonic() + LEASE_S
            self._due = {each.id: known.get(each.id, due) for each in told}
            self.lapsed |= {gone for gone in known.keys() - self._due.keys() if known[gone] < due - LEASE_S}
            self._wake.set()

    @property
    def settled(self) -> bool:
        return self.confirmed == self.told

    def free_at(self) -> float:
        """Monotonic time from when on nothing that the agent was ever told can still stand in the kernel."""
        return self._free_at

    def overdue(self, fault: str) -> bool:
        """Whether the agent is told of the fault and it does not stand, as far as is known: nobody renewed
        it."""
        return self._due.get(fault, math.inf) < self._clock.monotonic()

    async def run(self) -> None:
        """Renews until cancelled. A node on which nothing is wanted is left alone once its agent has
        said so or, should the agent be gone, once every lease there has ended."""
        while True:
            self._wake.clear()
            started = self._clock.monotonic()
            await self._renew()
            pause = RETRY_EVERY_S if self.error else RENEW_EVERY_S
            pause -= self._clock.monotonic() - started
            idle = not self.wanted and (self.settled or self._clock.monotonic() >= self.free_at())
            with contextlib.suppress(TimeoutError):
                # Not wait_for: Python 3.11's loses a cancellation that comes as the event is set.
                async with asyncio.timeout(None if idle else max(0.0, pause)):
                    await self._wake.wait()

    async def _renew(self) -> None:
        wanted = self.told
        try:
            status, sent_at = await self._tell(wanted)
        except AgentError as error:
            if str(error) != self.error:
                log.warning("%s", error)
            self.error, self._agents_clock = str(error), None
        else:
            self._note_lapses(wanted)
            self.error, self.confirmed = "", wanted
            self._free_at = sent_at + LEASE_S
            self._due |= {each.id: sent_at + LEASE_S for each in wanted if each.id in self._due}
            self.applied = {
                (state.id, state.pod.name): "" if state.applied else state.message or "not applied"
                for state in status.injections
                if state.owner == OWNER
            }
        answered, self.next_answer = self.next_answer, asyncio.get_running_loop().create_future()
        answered.set_result(None)

    async def _tell(self, wanted: tuple[PartitionInjection, ...]) -> tuple[InjectionsStatus, float]:
        """What the agent answered, and when it was told at the earliest. Raises AgentError.

        After an error its clock is asked first: a request without the time until when it is valid could be
        done when nobody counts on it any more.
        """
        if self._agents_clock is None:
            asked_at = self._clock.monotonic()
            standing = await self._agents.standing(self.node)
            self._agents_clock = (standing.clock_ms, asked_at)
            if self.found is None:
                self.found = _standing(standing)
        clock_ms, asked_at = self._agents_clock
        sent_at = self._clock.monotonic()
        valid_until_ms = clock_ms + int((sent_at - asked_at) * 1000) + VALID_MS
        try:
            status = await self._agents.put(self.node, WantedInjections(OWNER, wanted, valid_until_ms))
        except AgentError as error:
            if error.unsure and wanted:
                self._free_at = sent_at + REQUEST_TIMEOUT_S + LEASE_S
            raise
        self._agents_clock = (status.clock_ms, sent_at)
        return status, sent_at

    def _note_lapses(self, wanted: tuple[PartitionInjection, ...]) -> None:
        before = {injection.id for injection in self.confirmed or ()}
        self.lapsed |= {each.id for each in wanted if each.id in before and self.overdue(each.id)}


class Leases:
    """All nodes' leases; `run` belongs into a task for as long as the operator lives."""

    def __init__(self, agents: Agents, clock: Clock, wanted: Callable[[], Wanted]) -> None:
        self._agents = agents
        self._clock = clock
        self._wanted = wanted
        self._nodes: dict[str, NodeLease] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def sync(self) -> None:
        """Computes what is wanted, and what is withheld, and tells the nodes where it changed."""
        wanted = self._wanted()
        for node in wanted.keys() - self._nodes.keys():
            self.node(node)
        missing = {each.id: self.overdue(each.id) for some in wanted.values() for each in some}
        for node, lease in self._nodes.items():
            withheld = {fault for fault, leases in missing.items() if leases and lease not in leases}
            lease.want(wanted.get(node, ()), withheld)

    def node(self, name: str) -> NodeLease:
        """The node's lease, begun if need be: its agent is told once even if nothing is wanted."""
        if name not in self._nodes:
            self._nodes[name] = NodeLease(name, self._agents, self._clock)
            self._tasks[name] = asyncio.create_task(self._nodes[name].run(), name=f"lease {name}")
        return self._nodes[name]

    def nodes_of(self, fault_id: str) -> list[NodeLease]:
        """The nodes on which the fault is wanted."""
        return [
            lease
            for lease in self._nodes.values()
            if any(injection.id == fault_id for injection in lease.wanted)
        ]

    async def settle(self, nodes: list[NodeLease], timeout_s: float) -> list[NodeLease]:
        """Waits until the agents confirmed what is wanted; returns those that have not in time."""
        deadline = self._clock.monotonic() + timeout_s
        while True:
            waiting = [lease for lease in nodes if not lease.settled]
            left = deadline - self._clock.monotonic()
            if not waiting or left <= 0:
                return waiting
            answers = {lease.next_answer for lease in waiting}
            await asyncio.wait(answers, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    def interrupted(self, fault_id: str) -> bool:
        """Whether the fault's lease ran out on some node since that was noted last, and does so no more."""
        return any(fault_id in lease.lapsed for lease in self._nodes.values())

    def note_interruption(self, fault_id: str) -> None:
        """It has been written down."""
        for lease in self._nodes.values():
            lease.lapsed.discard(fault_id)

    def forget(self, known: Collection[str]) -> None:
        """Keeps nothing of faults that are not known any more."""
        for lease in self._nodes.values():
            lease.lapsed &= set(known)

    def overdue(self, fault_id: str) -> list[NodeLease]:
        """The nodes whose agents did not confirm the fault for longer than its lease lasts."""
        return [lease for lease in self._nodes.values() if lease.overdue(fault_id)]

    async def close(self) -> None:
        """Stops renewing. What stands ends with its lease."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def _standing(status: InjectionsStatus) -> frozenset[str]:
    """Faults of which every part still stands with time left."""
    ids = {state.id for state in status.injections if state.owner == OWNER}
    gone = {
        state.id
        for state in status.injections
        if state.owner == OWNER and not (state.applied and state.lease_remaining_ms > 0)
    }
    return frozenset(ids - gone)
