"""Who looks after the cluster: starts what has ended, brings in who joined, replaces who lost its data.

It does what the operator of the lab does, and by the same order (`POST /membership` to the leader, repeated
until it is reached), but sees members at once where the operator has to poll.
"""

from collections.abc import Iterable

from faultlab.contract.member import MembershipRequest, PeerAddress
from faultlab.raft.configuration import Configuration, name_of
from faultlab.raft.membership import Goal, Reached
from faultlab.raft.quorum import majority

from .machine import Process
from .world import SimWorld


class Caretaker:
    """The cluster's, for the whole run."""

    def __init__(self, world: SimWorld) -> None:
        self._world = world
        self.wanted: tuple[str, ...] = world.options.names
        """The voters wanted, by name."""
        self.damaged: dict[str, None] = {}
        """Ids whose data was damaged: the quorum must do without them from then on."""
        self.lost: dict[str, None] = {}
        """Ids that were refused a start for it: they never come back, and are to be replaced."""
        self._latest_term = 0
        self.reached = True
        """Whether the leader said last that the voters are as wanted."""
        self._period_ns = world.options.election_ns // 2
        world.on_lost_data = self._lost_data
        world.on_ended = self._restart_later

    def start(self) -> None:
        """Starts the first members, and looks at everything from then on."""
        for name in self._world.options.names:
            self._world.start(name)
        self._world.new_cluster = False
        self._world.loop.after(self._period_ns, self._look)

    def start_all(self) -> None:
        """Whoever is a member and not kept down runs."""
        for name in self._world.machines:
            if self._world.machines[name].lives:
                self._restart(name)

    def want(self, names: Iterable[str]) -> None:
        """The voters shall be these."""
        self.wanted = tuple(names)
        self.reached = False

    def may_lose(self, names: Iterable[str]) -> bool:
        """Whether a quorum's data stays good if these machines lose theirs as well: of every configuration
        that anybody may go by, and while no change of voters is under way that could need them."""
        if not self.reached:
            return False
        gone = set(names)
        return all(
            not configuration.joint
            and not configuration.learners
            and self._keeps_quorum(configuration.voters, gone)
            for configuration in self.configurations()
        )

    def configurations(self) -> list[Configuration]:
        """What the cluster has committed, and what any process goes by."""
        known = [process.node.core.configuration for process in self._world.processes()]
        return [self._world.observer.configuration, *known]

    def _keeps_quorum(self, voters: tuple[str, ...], gone: set[str]) -> bool:
        good = [voter for voter in voters if voter not in self.damaged and name_of(voter) not in gone]
        return not voters or len(good) >= majority(len(voters))

    def _look(self) -> None:
        world = self._world
        world.loop.after(self._period_ns, self._look)
        leader = world.leader()
        if leader is None or leader.machine.paused or leader.node.core.term < self._latest_term:
            return
        self._latest_term = leader.node.core.term
        configuration = leader.node.core.configuration
        for member in configuration.members:
            self._bring_in(member)
        self._dismiss(configuration)
        leader.enter(self._order, leader)

    def _bring_in(self, member: str) -> None:
        """A process under the id that the leader knows, where there is none."""
        world, name = self._world, name_of(member)
        machine = world.machines[name]
        process = machine.process
        if "#" in member:
            world.ids[name] = member
        if process is not None and process.id != member and world.ids.get(name) == member:
            world.end(name, power=False, why=f"goes on as {member}")
            process = None
        if process is None and not machine.held and member not in self.lost:
            world.start(name)

    def _dismiss(self, configuration: Configuration) -> None:
        """A process that is in nobody's configuration any more."""
        world = self._world
        committed = world.observer.configuration
        if configuration is not committed and configuration != committed:
            return
        for process in world.processes():
            core = process.node.core
            waits_to_join = not core.configuration.members
            if process.id not in configuration.members and core.role != "leader" and not waits_to_join:
                world.end(process.machine.name, power=False, why="removed from the cluster")

    def _order(self, leader: Process) -> None:
        """`POST /membership`, as the operator does it."""
        replace = tuple(self.lost)
        if self.reached and not any(lost in leader.node.core.configuration.members for lost in replace):
            return
        addresses = tuple(PeerAddress(name, name) for name in self.wanted)
        step = leader.node.changes.want(Goal.of(MembershipRequest(addresses, replace)))
        if isinstance(step, Reached):
            self.reached = True

    def _lost_data(self, name: str, member_id: str) -> None:
        """A member that must not come back has to be replaced."""
        del name
        self.damaged[member_id] = None
        self.lost[member_id] = None
        self.reached = False

    def _restart_later(self, name: str) -> None:
        """A process that ended by itself is started again, as a supervisor would."""
        self._world.loop.after(self._period_ns, self._restart, name)

    def _restart(self, name: str) -> None:
        machine = self._world.machines[name]
        if machine.held or machine.process is not None:
            return
        if not self._world.start(name) and not self.is_lost(name):
            self._restart_later(name)

    def is_lost(self, name: str) -> bool:
        """Whether the machine's present member must not come back."""
        return self._world.ids.get(name, name) in self.lost

    def damage(self, member_id: str) -> None:
        """The member's data is not what it was; it does not know yet."""
        self.damaged[member_id] = None

    def damaged_in_use(self) -> bool:
        """Whether a member that has lost data is still in somebody's configuration."""
        return any(member in self.damaged for c in self.configurations() for member in c.members)
