"""What a node's agent is told, and until when something may stand there, with a clock of the test's own."""

import asyncio
from datetime import UTC, datetime

import pytest

from faultlab_chaos.contract.wire import InjectionsStatus, PartitionInjection, WantedInjections
from faultlab_operator.faults.errors import AgentError
from faultlab_operator.faults.leases import LEASE_S, Leases, NodeLease

FAULT = PartitionInjection("lab/cut/1", 3000, ())


class HandClock:
    """Moves when the test says so."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def monotonic(self) -> float:
        return self.time_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time_s, UTC)


class OneAgent:
    """An agent whose clock shows something else than the operator's."""

    def __init__(self, clock: HandClock, ahead_s: float) -> None:
        self.clock = clock
        self.ahead_s = ahead_s
        self.fails: AgentError | None = None
        self.told: list[WantedInjections] = []

    async def standing(self, _node: str) -> InjectionsStatus:
        if self.fails:
            raise self.fails
        return InjectionsStatus((), self.clock_ms())

    async def put(self, _node: str, wanted: WantedInjections) -> InjectionsStatus:
        self.told.append(wanted)
        if self.fails:
            raise self.fails
        return InjectionsStatus((), self.clock_ms())

    def clock_ms(self) -> int:
        return int((self.clock.time_s + self.ahead_s) * 1000)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


async def answered(lease: NodeLease) -> None:
    """Waits for the next answer or failure."""
    async with asyncio.timeout(5):
        await lease.next_answer


async def test_what_an_agent_is_told_is_valid_for_a_second_of_its_own_clock(clock: HandClock) -> None:
    agent = OneAgent(clock, ahead_s=5000.0)
    lease = NodeLease("node-0", agent, clock)  # type: ignore[arg-type]
    lease.want((FAULT,))
    running = asyncio.create_task(lease.run())
    try:
        await answered(lease)
        assert agent.told[-1].valid_until_ms == agent.clock_ms() + 1000
        agent.ahead_s = 1.0  # Another agent on another machine of this name: its answer counts from now on.
        agent.fails = AgentError("gone")
        lease.want(())
        await answered(lease)
        agent.fails = None
        clock.time_s += 0.5
        lease.want((FAULT,))
        await answered(lease)
        assert agent.told[-1].valid_until_ms == agent.clock_ms() + 1000
    finally:
        running.cancel()


@pytest.mark.parametrize(("unsure", "free_after_s"), [(True, 1.0 + LEASE_S), (False, 0.0)])
async def test_what_was_perhaps_done_may_stand_for_its_lease_from_the_last_moment_of_doing_it(
    clock: HandClock, unsure: bool, free_after_s: float
) -> None:
    agent = OneAgent(clock, ahead_s=0.0)
    lease = NodeLease("node-0", agent, clock)  # type: ignore[arg-type]
    running = asyncio.create_task(lease.run())
    try:
        await answered(lease)
        clock.time_s += LEASE_S
        agent.fails = AgentError("no answer", unsure=unsure)
        lease.want((FAULT,))
        await answered(lease)
        assert lease.free_at() - clock.time_s == pytest.approx(free_after_s)
    finally:
        running.cancel()


async def test_a_fault_that_is_dropped_after_its_lease_had_run_out_is_known_to_have_lapsed(
    clock: HandClock,
) -> None:
    agent = OneAgent(clock, ahead_s=0.0)
    lease = NodeLease("node-0", agent, clock)  # type: ignore[arg-type]
    lease.want((FAULT,))
    running = asyncio.create_task(lease.run())
    try:
        await answered(lease)
        assert not lease.overdue(FAULT.id)
        agent.fails = AgentError("gone")
        clock.time_s += LEASE_S + 0.1
        assert lease.overdue(FAULT.id)
        lease.want(())
        assert lease.lapsed == {FAULT.id}
    finally:
        running.cancel()


class TwoAgents:
    """Two nodes' agents behind one client."""

    def __init__(self, clock: HandClock) -> None:
        self.of = {name: OneAgent(clock, ahead_s=0.0) for name in ("near", "far")}

    async def standing(self, node: str) -> InjectionsStatus:
        return await self.of[node].standing(node)

    async def put(self, node: str, wanted: WantedInjections) -> InjectionsStatus:
        return await self.of[node].put(node, wanted)

    def told(self, node: str) -> list[str]:
        """The faults that the agent was told of last."""
        return [each.id for each in self.of[node].told[-1].injections]


async def test_a_fault_that_one_node_lost_is_withheld_from_the_others_until_that_node_is_back(
    clock: HandClock,
) -> None:
    other = PartitionInjection("lab/other/1", 3000, ())
    agents = TwoAgents(clock)
    wanted = {"near": (FAULT, other), "far": (FAULT,)}
    leases = Leases(agents, clock, lambda: wanted)  # type: ignore[arg-type]
    try:
        leases.sync()
        assert not await leases.settle(leases.nodes_of(FAULT.id), 5)
        agents.of["far"].fails = AgentError("gone")
        clock.time_s += LEASE_S - 0.1
        leases.sync()
        assert FAULT in leases.node("near").told, "within the lease nothing is lost"
        await leases.node("near").next_answer
        clock.time_s += 0.2
        leases.sync()
        assert not await leases.settle([leases.node("near")], 5)
        assert agents.told("near") == [other.id]
        clock.time_s += 10 * LEASE_S
        leases.sync()
        assert [lease.node for lease in leases.overdue(FAULT.id)] == ["far"], "what is withheld is not lost"
        agents.of["far"].fails = None
        await leases.node("far").next_answer
        assert agents.told("far") == [FAULT.id]
        leases.sync()
        assert not await leases.settle(leases.nodes_of(FAULT.id), 5)
        assert agents.told("near") == [FAULT.id, other.id]
        assert leases.interrupted(FAULT.id)
    finally:
        await leases.close()
