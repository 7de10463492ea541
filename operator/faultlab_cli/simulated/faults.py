"""A scenario's partitions in a simulated network: chosen as the operator chooses, cut, proven, healed."""

from collections.abc import Callable
from dataclasses import replace

import msgspec

from faultlab.contract.run import CutEdge, FaultRecord
from faultlab.sim.topologies import plain
from faultlab.sim.world import SimWorld
from faultlab_operator.api.networkpartition import NetworkPartitionSpec
from faultlab_operator.faults.errors import NotYet, Refusal
from faultlab_operator.faults.selection import Members, Selection, select
from faultlab_operator.scenario.world import FaultSeen


class SimulatedFaults:
    """The timeline's faults by name."""

    def __init__(self, world: SimWorld, load_pod: str, now: Callable[[], str]) -> None:
        self._world = world
        self._load_pod = load_pod
        self._now = now
        self._standing: dict[str, Selection] = {}
        self.seen: dict[str, FaultSeen] = {}

    def create(self, name: str, kind: str, spec: NetworkPartitionSpec, seed: int) -> None:
        """Cuts now, for as long as the spec says. Without a leader to choose by, nothing happens yet."""
        leader = self._world.leader()
        members = Members(tuple(self._world.machines), leader.machine.name if leader is not None else None)
        record = FaultRecord(name, kind, None, None, None, None)
        try:
            selection = select(spec, members, [self._load_pod], seed)
        except NotYet:
            return
        except Refusal as error:
            self.seen[name] = FaultSeen(record, refused=str(error))
            return
        now = self._now()
        self._world.network.cut(plain(selection.grudge))
        self._standing[name] = selection
        record = msgspec.structs.replace(
            record,
            injected_at=now,
            observed_at=now if self._is_cut(selection) else None,
            cut_off=selection.cut_off,
            cut_edges=tuple(CutEdge(edge.source, edge.target) for edge in selection.edges),
            message="simulated: nothing on a cut edge arrives",
        )
        self.seen[name] = FaultSeen(record, selected_at=now)
        self._world.loop.after(int(spec.duration.ms * 1e6), self.heal, name)

    def heal(self, name: str) -> None:
        """Ends it, unless it is over."""
        selection = self._standing.pop(name, None)
        if selection is None:
            return
        self._world.network.mend(plain(selection.grudge))
        seen, now = self.seen[name], self._now()
        verified_at = None if self._is_cut(selection) else now
        record = msgspec.structs.replace(seen.record, healed_at=now, heal_verified_at=verified_at)
        self.seen[name] = replace(seen, record=record, over=True, closed=True)

    def _is_cut(self, selection: Selection) -> bool:
        return all(not self._world.network.hears(edge.target, edge.source) for edge in selection.edges)
