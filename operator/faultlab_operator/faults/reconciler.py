"""NetworkPartition: from the resource to a cut that is proven, and to a heal that is proven.

Stages, told from the status each time: choose the sides (pinned in the status before anything is cut),
inject (all agents confirm), prove the cut by probes, hold it, heal at its time, prove the heal. A fault
that cannot be is refused by the condition Selected=False; Unknown means that it is still tried.

What may never happen: a cut that nobody renews and that stays (leases end in the kernel), a cut outside
of what the status says, two partitions of one system at once.
"""

import asyncio
import logging
from datetime import timedelta

from pydantic import ValidationError

from faultlab_chaos.contract import grudges
from faultlab_chaos.contract.grudges import Edge
from faultlab_operator.api import NetworkPartition
from faultlab_operator.core import Key, Services, rfc3339
from faultlab_operator.core.cache import Object
from faultlab_operator.core.clock import parse_rfc3339
from faultlab_operator.errors import BadSpec
from faultlab_operator.faults.agents import Agents
from faultlab_operator.faults.choosing import choose, pin, select_now
from faultlab_operator.faults.errors import AgentError, NotYet, Refusal
from faultlab_operator.faults.leases import LEASE_MS, Leases, NodeLease, Wanted
from faultlab_operator.faults.pods import PodAt, located
from faultlab_operator.faults.proof import Proof, probe
from faultlab_operator.faults.scope import Scope, find_scope, place_pods
from faultlab_operator.faults.standing import (
    cut_edges,
    fault_id,
    heal_asked,
    is_finished,
    is_wanted,
    namespace_of,
    wanted,
)
from faultlab_operator.faults.writing import Writer
from faultlab_operator.handlers.problems import model_problem

log = logging.getLogger(__name__)

KIND = "NetworkPartition"

SELECT_WINDOW_S = 30.0
"""How long a fault waits for its system, its leader; then it is refused, not to strike out of the blue."""
INJECT_WINDOW_S = 5.0
"""How long agents may take to confirm; then the fault is given up and undone."""
PROVE_WINDOW_S = 3.0
"""How long probes are repeated at once; then EffectObserved is False and they go on each second."""
VERIFY_WINDOW_S = 10.0
"""How long probes are repeated after the heal; then HealVerified is False for good."""
AGENT_WAIT_S = 1.5
SOON_S = 0.1
HOLD_S = 0.5
FOLLOW_S = 0.2


class PartitionReconciler:
    """Brings NetworkPartitions about. One for the operator's life; `close` stops renewing leases."""

    def __init__(self, services: Services, agents: Agents) -> None:
        self._services = services
        self._agents = agents
        self._leases = Leases(self._agents, services.clock, self._wanted)
        self._choosing = asyncio.Lock()
        self._mine: set[str] = set()
        """Faults that this process injected, or found standing without a gap."""
        self._proven: dict[str, frozenset[str]] = {}
        """The containers among which a fault was last proven."""
        self._posting: set[asyncio.Task[None]] = set()
        services.cache.listen(self._on_change)

    async def close(self) -> None:
        """Stops renewing leases; Events that are being posted are."""
        await self._leases.close()
        await asyncio.gather(*self._posting, return_exceptions=True)

    async def reconcile(self, key: Key) -> float | None:
        obj = self._services.cache.get(KIND, key.namespace, key.name)
        if obj is None:
            self._leases.sync()
            self._forget_gone()
            return None
        try:
            partition = NetworkPartition.parse(obj)
        except ValidationError as error:
            raise BadSpec(f"{key}: {model_problem(error)}") from error
        status = partition.status
        write = Writer(self._services, obj, partition, self._posting)
        if status.heal_verified_at or write.is_false("HealVerified"):
            return None
        if status.healed_at:
            return await self._verify_heal(obj, write)
        if is_finished(obj):
            return None
        if not write.is_true("Selected"):
            return await self._choose(obj, partition, write)
        if not is_wanted(obj, self._services.clock.now()):
            return await self._heal(obj, write)
        if not status.injected_at:
            return await self._inject(obj, write)
        return await self._hold(obj, partition, write)

    def _on_change(self, key: Key, _before: Object | None, now: Object | None) -> None:
        """A pod that restarted under a fault is put under it at once; a deleted fault heals at once."""
        if (key.kind == "Pod" and self._any_wanted()) or (key.kind == KIND and now is None):
            self._leases.sync()

    def _forget_gone(self) -> None:
        known = {fault_id(obj) for obj in self._services.cache.list(KIND)}
        self._mine &= known
        self._leases.forget(known)
        self._proven = {fault: pods for fault, pods in self._proven.items() if fault in known}

    def _any_wanted(self) -> bool:
        now = self._services.clock.now()
        return any(is_wanted(obj, now) for obj in self._services.cache.list(KIND))

    def _wanted(self) -> Wanted:
        return wanted(self._services.cache.list(KIND), self._pods_of, self._services.clock.now())

    def _pods_of(self, obj: Object) -> dict[str, PodAt]:
        """Where the pods at the ends of the fault's cut edges run now."""
        namespace = namespace_of(obj)
        found = {}
        for name in {name for edge in cut_edges(obj) for name in edge}:
            pod = self._services.cache.get("Pod", namespace, name)
            at = None if pod is None else located(pod)
            if at is not None:
                found[name] = at
        return found

    async def _choose(self, obj: Object, partition: NetworkPartition, write: Writer) -> float | None:
        if heal_asked(obj):
            await write.refuse("Cancelled", "ended before it began")
            return None
        async with self._choosing:
            try:
                scope, selection = await choose(self._services, obj, partition)
            except NotYet as error:
                return await self._wait_to_choose(partition, write, error)
            except Refusal as error:
                await write.refuse(error.reason, str(error))
                return None
            status = partition.status
            pin(partition, scope, selection)
            if partition.spec.dry_run:
                write.condition("Selected", True, "DryRun", f"would cut {status.cut}")
                write.condition("Injected", False, "DryRun", "dryRun: true cuts nothing")
                await write.save("DryRun", f"would cut {status.cut}")
                return None
            write.condition("Selected", True, "Chosen", f"cuts {status.cut}")
            await write.save("Selected", f"cuts {status.cut}")
        current = self._services.cache.get(KIND, write.namespace, write.name)
        return 0.0 if current is None else await self._inject(current, write)

    async def _wait_to_choose(
        self, partition: NetworkPartition, write: Writer, error: NotYet
    ) -> float | None:
        created = partition.metadata.creation_timestamp
        if created is not None:
            age = self._services.clock.now() - parse_rfc3339(created)
            if age > timedelta(seconds=SELECT_WINDOW_S):
                await write.refuse(
                    error.reason,
                    f"{error}; given up after {SELECT_WINDOW_S:.0f} s: apply it again when there is",
                )
                return None
        write.condition("Selected", None, error.reason, f"waiting: {error}")
        await write.save()
        return SOON_S

    async def _inject(self, obj: Object, write: Writer) -> float | None:
        """Has every agent apply it; the sides stand in the status already."""
        self._leases.sync()
        nodes = self._leases.nodes_of(fault_id(obj))
        late = await self._leases.settle(nodes, AGENT_WAIT_S)
        problem = _problem(fault_id(obj), nodes, late) if nodes else "no pod of it runs"
        now = self._services.clock.now()
        if problem:
            return await self._injection_fails(write, problem)
        status = write.partition.status
        status.injected_at = rfc3339(now)
        status.heals_at = rfc3339(now + timedelta(milliseconds=write.partition.spec.duration.ms))
        write.condition("Injected", True, "Applied", f"{len(status.cut_edges)} edges are cut")
        self._mine.add(fault_id(obj))
        await write.save("Injected", f"cut {status.cut} until {status.heals_at}")
        return await self._prove_cut(obj, write)

    async def _injection_fails(self, write: Writer, problem: str) -> float | None:
        selected_at = write.since("Selected")
        assert selected_at is not None
        if self._services.clock.now() - parse_rfc3339(selected_at) < timedelta(seconds=INJECT_WINDOW_S):
            write.condition("Injected", None, "Applying", problem)
            await write.save()
            return SOON_S
        write.condition("Injected", False, "AgentFailed", f"given up: {problem}")
        write.partition.status.message = problem[:1024]
        await write.save("InjectionFailed", problem, warning=True)
        self._leases.sync()
        return None

    async def _prove_cut(self, obj: Object, write: Writer) -> float | None:
        status = write.partition.status
        assert status.injected_at is not None
        cut = {Edge(edge.source, edge.target) for edge in status.cut_edges}
        containers = self._containers(obj)
        proof = await self._probe(obj, cut)
        now = self._services.clock.now()
        if isinstance(proof, Proof) and proof.holds:
            self._proven[fault_id(obj)] = containers
            if status.observed_at is None:
                status.observed_at = rfc3339(now)
            write.condition(
                "EffectObserved",
                True,
                "ProbesAgree",
                f"{len(cut)} edges swallow datagrams, all others deliver them",
            )
            await write.save("EffectObserved", f"probes prove the cut {status.cut}")
            return self._pause(write.partition)
        said = proof.describe() if isinstance(proof, Proof) else proof
        trying_since = write.since("EffectObserved") or status.injected_at
        trying = now - parse_rfc3339(trying_since) < timedelta(seconds=PROVE_WINDOW_S)
        if trying and not write.is_false("EffectObserved"):
            write.condition("EffectObserved", None, "Probing", said)
            await write.save()
            return SOON_S
        write.condition("EffectObserved", False, "ProbesDisagree", said)
        status.message = said[:1024]
        await write.save("EffectNotObserved", said, warning=True)
        return min(1.0, self._pause(write.partition))

    async def _hold(self, obj: Object, partition: NetworkPartition, write: Writer) -> float | None:
        """Leases are renewed elsewhere: here is what changes while the cut stands."""
        self._leases.sync()
        await self._note_interruption(obj, write)
        await self._note_absence(obj, write)
        await self._note_restarts(obj, write)
        if self._leases.overdue(fault_id(obj)):
            return self._pause(partition)
        if not write.is_true("EffectObserved"):
            return await self._prove_cut(obj, write)
        side = partition.spec.topology.with_
        if side is not None and side.follow and await self._follow(partition, write):
            return SOON_S
        return self._pause(partition)

    async def _note_interruption(self, obj: Object, write: Writer) -> None:
        """Says so when the cut does not stand, or did not all the time: nobody renewed its lease."""
        fault = fault_id(obj)
        lapsed = self._leases.interrupted(fault)
        if fault not in self._mine:
            nodes = self._leases.nodes_of(fault)
            await self._leases.settle(nodes, AGENT_WAIT_S)
            if all(lease.settled for lease in nodes):
                self._mine.add(fault)
                lapsed = lapsed or any(lease.found is None or fault not in lease.found for lease in nodes)
        away = self._leases.overdue(fault)
        if away and write.reason("EffectObserved") != "LeaseRanOut":
            where = ", ".join(lease.node for lease in away)
            write.condition("EffectObserved", None, "LeaseRanOut", f"nothing of it stands on node {where}")
            await self._interrupted(write, f"nothing is cut anywhere until the agent of node {where} is back")
        elif lapsed and not away:
            write.condition("EffectObserved", None, "Probing", "injected again")
            until = write.partition.status.heals_at
            await self._interrupted(write, f"the cut healed for a while and stands again until {until}")
            self._leases.note_interruption(fault)

    async def _note_early_end(self, obj: Object, write: Writer, nodes: list[NodeLease]) -> None:
        """Says so when the cut may have ended before its time: nobody saw it stand to its end.

        An operator that comes back after the end knows that it stood if the agents still found it, or if
        the lease that it was injected with outlasts its duration.
        """
        fault = fault_id(obj)
        if not write.partition.status.injected_at or write.is_true("Interrupted"):
            return
        outlasted = write.partition.spec.duration.ms <= LEASE_MS
        found = all(lease.found is not None and fault in lease.found for lease in nodes)
        stood = found or outlasted or fault in self._mine
        if not stood or self._leases.interrupted(fault):
            await self._interrupted(write, "the cut may have healed before its time")

    async def _interrupted(self, write: Writer, what: str) -> None:
        message = (
            f"the lease of {LEASE_MS / 1000:.0f} s ran out before it was renewed (the operator or an "
            f"agent was away): {what}"
        )
        write.condition("Interrupted", True, "LeaseRanOut", message)
        await write.save("Interrupted", message, warning=True)

    async def _note_absence(self, obj: Object, write: Writer) -> None:
        """Says when an agent does not renew, and when it does again; within the lease nothing is lost."""
        errors = [lease.error for lease in self._leases.nodes_of(fault_id(obj)) if lease.error]
        if errors and not write.is_false("Renewed"):
            write.condition("Renewed", False, "AgentUnreachable", "; ".join(errors))
            await write.save("NotRenewed", "; ".join(errors), warning=True)
        elif not errors and write.is_false("Renewed"):
            write.condition("Renewed", True, "Renewed", "all agents renew it again")
            await write.save()

    async def _note_restarts(self, obj: Object, write: Writer) -> None:
        """A pod that started again is under the cut again; that it is has to be proven again."""
        fault, containers = fault_id(obj), self._containers(obj)
        if self._proven.setdefault(fault, containers) != containers and write.is_true("EffectObserved"):
            write.condition("EffectObserved", None, "Probing", "a pod under it started again")
            await write.save()
            await self._leases.settle(self._leases.nodes_of(fault), AGENT_WAIT_S)

    def _containers(self, obj: Object) -> frozenset[str]:
        return frozenset(at.ref.container_id for at in self._pods_of(obj).values())

    async def _follow(self, partition: NetworkPartition, write: Writer) -> bool:
        """Moves the cut with the role; whether it moved."""
        try:
            scope = find_scope(partition, self._services.cache)
            selection = select_now(self._services, partition, scope)
        except (NotYet, Refusal):
            return False
        if set(selection.edges) == {Edge(cut.source, cut.target) for cut in partition.status.cut_edges}:
            return False
        pin(partition, scope, selection)
        write.condition("Selected", True, "Followed", f"cuts {partition.status.cut}")
        write.condition("EffectObserved", None, "Probing", "the role moved")
        await write.save("Followed", f"the role moved: cuts {partition.status.cut}")
        self._leases.sync()
        return True

    async def _heal(self, obj: Object, write: Writer) -> float | None:
        self._leases.sync()
        nodes = [self._leases.node(name) for name in sorted({at.node for at in self._pods_of(obj).values()})]
        late = await self._leases.settle(nodes, AGENT_WAIT_S)
        now = self._services.clock
        if any(lease.free_at() > now.monotonic() for lease in late):
            write.condition("Healed", None, "Healing", _problem(fault_id(obj), nodes, late))
            await write.save()
            return SOON_S
        await self._note_early_end(obj, write, nodes)
        status = write.partition.status
        status.healed_at = rfc3339(now.now())
        if not status.injected_at:
            write.condition("Injected", False, "Cancelled", "ended before it was injected")
        how = "its lease ended" if late else "every agent removed it"
        write.condition("Healed", True, "LeaseEnded" if late else "Removed", how)
        await write.save("Healed", f"healed {status.cut}: {how}")
        return await self._verify_heal(obj, write)

    async def _verify_heal(self, obj: Object, write: Writer) -> float | None:
        status = write.partition.status
        assert status.healed_at is not None
        proof = await self._probe(obj, set())
        now = self._services.clock.now()
        if isinstance(proof, Proof) and proof.holds:
            status.heal_verified_at = rfc3339(now)
            write.condition("HealVerified", True, "ProbesAgree", "datagrams pass every edge again")
            await write.save("HealVerified", f"probes prove the heal of {status.cut}")
            return None
        said = proof.describe() if isinstance(proof, Proof) else proof
        given_up = now - parse_rfc3339(status.healed_at) > timedelta(seconds=VERIFY_WINDOW_S)
        write.condition("HealVerified", False if given_up else None, "ProbesDisagree", said)
        await write.save(*(("HealNotVerified", said) if given_up else ()), warning=given_up)
        return None if given_up else SOON_S

    async def _probe(self, obj: Object, cut: set[Edge]) -> Proof | str:
        """One round over all edges among the system's members and loads; a string says why there was none."""
        try:
            scope = find_scope(NetworkPartition.parse(obj), self._services.cache)
            pods = place_pods(scope, self._services.cache)
            left = set(_every_edge(scope)) - cut
            return await probe(self._agents, pods, cut, left)
        except (AgentError, NotYet, Refusal) as error:
            return str(error)

    def _pause(self, partition: NetworkPartition) -> float:
        """Until the heal, or until something that is only found by looking is looked at."""
        status = partition.status
        assert status.heals_at is not None
        left = (parse_rfc3339(status.heals_at) - self._services.clock.now()).total_seconds()
        side = partition.spec.topology.with_
        look = FOLLOW_S if side is not None and side.follow else HOLD_S
        return max(0.0, min(left, look))


def _every_edge(scope: Scope) -> tuple[Edge, ...]:
    """Member to member, and between members and load pods; load pods do not talk to each other."""
    members = grudges.open_edges(scope.members, {})
    loads = [(load, member) for load in scope.load_pods for member in scope.members]
    return (*members, *(Edge(a, b) for a, b in loads), *(Edge(b, a) for a, b in loads))


def _problem(fault: str, nodes: list[NodeLease], late: list[NodeLease]) -> str:
    """Why not every agent has it as wanted; empty when they all have."""
    said = [lease.error or f"the agent of node {lease.node} has not answered yet" for lease in late]
    for lease in nodes:
        said += [
            f"pod {pod}: {why}"
            for (owner, pod), why in sorted(lease.applied.items())
            if owner == fault and why
        ]
    return "; ".join(said)
