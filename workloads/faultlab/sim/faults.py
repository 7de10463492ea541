"""Carries out a plan: does each action when its time has come, and takes it back when that is over."""

from collections.abc import Callable, Iterable
from random import Random

from faultlab.raft.configuration import Configuration
from faultlab.raft.errors import RaftError

from .caretaker import Caretaker
from .clients import Crowd
from .damage import damage
from .loop import MS
from .machine import Process
from .plan import Action
from .topologies import Cut
from .world import DATA_DIR, SimWorld

Undo = Callable[[], None]


class Faults:
    """The faults of one run."""

    def __init__(self, world: SimWorld, caretaker: Caretaker, crowd: Crowd, plan: Iterable[Action]) -> None:
        self._world = world
        self._caretaker = caretaker
        self._crowd = crowd
        self._rng: Random = world.streams.crashes
        self.active: dict[int, Undo] = {}
        """What takes back each action that is in force, by its id."""
        self._over = False
        for action in plan:
            world.loop.at(action.at_ns, self._begin, action)

    def end_all(self) -> None:
        """Takes back everything that is in force, and starts no more."""
        for action_id in list(self.active):
            self._undo(action_id)
        self._over = True

    def _begin(self, action: Action) -> None:
        if self._over:
            return
        name = self._target(action)
        undo = _DO[action.kind](self, action, name)
        if undo is None:
            self._world.recorder.note("action", name, number=action.id, text=f"skipped: {action.describe()}")
            return
        self._world.recorder.note("action", name, number=action.id, text=action.describe())
        if action.lasts_ns:
            self.active[action.id] = undo
            self._world.loop.after(action.lasts_ns, self._undo, action.id)

    def _undo(self, action_id: int) -> None:
        undo = self.active.pop(action_id, None)
        if undo is not None:
            self._world.recorder.note("undone", number=action_id)
            undo()

    def _target(self, action: Action) -> str:
        """The machine that an action is about, empty if it is about all."""
        world = self._world
        if action.target not in ("leader", "follower"):
            return action.target
        leader = world.leader()
        if action.target == "leader" and leader is not None:
            return leader.machine.name
        others = [process.machine.name for process in world.processes() if process is not leader]
        if not others:
            return world.options.names[0]
        return others[action.pick % len(others)]

    # What each kind does; None: it cannot be done at the moment.

    def _stop(self, action: Action, name: str, power: bool) -> Undo | None:
        machine = self._world.machines[name]
        if machine.process is None:
            return None
        reason = f"action {action.id}"
        machine.held[reason] = None
        self._world.end(name, power=power, why=action.kind)

        def restart() -> None:
            machine.held.pop(reason, None)
            self._start_again(name)

        return restart

    def _start_again(self, name: str) -> None:
        machine = self._world.machines[name]
        if not machine.held and not self._world.start(name):
            self._world.on_ended(name)

    def crash(self, action: Action, name: str) -> Undo | None:
        """The process dies; the kernel keeps what it had written."""
        return self._stop(action, name, power=False)

    def power(self, action: Action, name: str) -> Undo | None:
        """The machine loses its power, now or in the middle of its next write to the disk."""
        process = self._world.machines[name].process
        if action.detail != "writing" or process is None:
            return self._stop(action, name, power=True)
        undos: list[Undo] = []

        def strike() -> None:
            if not process.ended and action.id in self.active:
                undo = self._stop(action, name, power=True)
                undos.extend([] if undo is None else [undo])

        def restart() -> None:
            process.disk.interrupt = None
            for undo in undos:
                undo()

        process.disk.interrupt = strike
        return restart

    def power_all(self, action: Action, _name: str) -> Undo | None:
        """All machines lose their power at once."""
        undos = [self._stop(action, process.machine.name, power=True) for process in self._world.processes()]
        self._world.marks.reach("power lost by all")

        def restart() -> None:
            for undo in undos:
                if undo is not None:
                    undo()

        return restart

    def pause(self, _action: Action, name: str) -> Undo | None:
        """The process stands still, and goes on as if nothing had been."""
        machine = self._world.machines[name]
        process = machine.process
        if process is None or machine.paused:
            return None
        leads = process.node.core.role == "leader"
        machine.pause()
        self._world.recorder.note("paused", name)

        def resume() -> None:
            if process.ended:
                return
            self._world.recorder.note("resumed", name)
            if leads and self._world.options.reads == "lease" and not process.node.core.lease_valid():
                self._world.marks.reach("lease expired by a pause")
            machine.resume()

        return resume

    def cut(self, action: Action, name: str) -> Undo | None:
        """A partition; the pivot's place in it is taken by the target, if there is one."""
        if not action.cut:
            return None
        grudge = _exchanged(action.cut, action.pivot, name) if name else action.cut
        network = self._world.network
        network.cut(grudge)
        return lambda: network.mend(grudge)

    def clog(self, action: Action, name: str) -> Undo | None:
        """Between two machines nothing gets through, and then everything at once."""
        others = [other for other in self._world.machines if other != name]
        if not others:
            return None
        other = others[action.pick % len(others)]
        until = self._world.loop.now + action.lasts_ns
        for source, target in ((name, other), (other, name)):
            self._world.network.channel(source, target).clogged_until = until
        return _nothing

    def loss(self, action: Action, _name: str) -> Undo | None:
        """The network loses more than usual."""
        network = self._world.network
        network.loss = action.amount
        return network.lose_as_usual

    def slow(self, action: Action, name: str) -> Undo | None:
        """All links of one machine are slow."""
        channels = self._world.network.channels_of(name)
        for channel in channels:
            channel.slowed = action.amount

        def undo() -> None:
            for channel in channels:
                channel.slowed = 1.0

        return undo

    def drift(self, action: Action, name: str) -> Undo | None:
        """A clock runs at another speed."""
        self._world.machines[name].clock.drift(action.amount)
        return _nothing

    def jump(self, action: Action, name: str) -> Undo | None:
        """A wall clock is set."""
        self._world.machines[name].clock.jump(int(action.amount * MS))
        return _nothing

    def slow_disk(self, action: Action, name: str) -> Undo | None:
        """A disk is slow."""
        machine = self._world.machines[name]
        machine.slowed = action.amount

        def undo() -> None:
            machine.slowed = 1.0

        return undo

    def full(self, _action: Action, name: str) -> Undo | None:
        """A disk is full."""
        files = self._world.machines[name].files
        files.full = True

        def undo() -> None:
            files.full = False

        return undo

    def eio(self, _action: Action, name: str) -> Undo | None:
        """The next write of a disk fails."""
        self._world.machines[name].files.write_fails = 1
        return _nothing

    def fsync(self, _action: Action, name: str) -> Undo | None:
        """The next sync of a disk fails, and what it should have kept may be lost."""
        self._world.machines[name].files.sync_fails = 1
        return _nothing

    def damage(self, action: Action, name: str) -> Undo | None:
        """What was synced is not there any more, or not what it was; found at the next start."""
        machine = self._world.machines[name]
        process = machine.process
        if process is None or not self._caretaker.may_lose([name]):
            return None
        member_id = process.id
        undo = self._stop(action, name, power=False)
        if damage(
            machine.files, DATA_DIR / member_id, action.detail, action.amount, self._world.streams.disk
        ):
            self._caretaker.damage(member_id)
        return undo

    def wipe(self, action: Action, name: str) -> Undo | None:
        """A machine comes back with an empty disk."""
        machine = self._world.machines[name]
        process = machine.process
        if process is None or not self._caretaker.may_lose([name]):
            return None
        member_id = process.id
        undo = self._stop(action, name, power=True)
        machine.files.wipe()
        self._caretaker.damage(member_id)
        return undo

    def transfer(self, action: Action, name: str) -> Undo | None:
        """The leader is asked to hand over."""
        process = self._world.machines[name].process
        if process is None:
            return None
        process.enter(_hand_over, process, action.voters)
        return _nothing

    def members(self, action: Action, name: str) -> Undo | None:
        """Other voters are wanted."""
        if self._caretaker.damaged_in_use():
            return None
        if action.detail:
            return self._order_at_once(action, name)
        self._caretaker.want(action.voters)
        return _nothing

    def _order_at_once(self, action: Action, name: str) -> Undo | None:
        process = self._world.machines[name].process
        if process is None or not self._caretaker.reached:
            return None
        loop, step_ns = self._world.loop, self._world.options.election_ns // 8
        for place, others in enumerate((int(action.amount), int(action.amount) - 1, int(action.amount))):
            loop.after(place * step_ns, process.enter, _shrink, process, others)
        return _nothing

    def load(self, action: Action, _name: str) -> Undo | None:
        """Clients ask for much at once."""
        self._crowd.hurry(int(action.amount))
        return _nothing


def _hand_over(process: Process, to: tuple[str, ...]) -> None:
    node = process.node
    candidates = None if not to else [i for i in [node.changes.voter_named(to[0])] if i is not None]
    if candidates or candidates is None:
        try:
            node.changes.hand_over(candidates)
        except RaftError:
            return


def _shrink(process: Process, others: int) -> None:
    """Proposes the leader and so many other voters, whatever is under way."""
    core = process.node.core
    now = core.configuration
    if process.id not in now.voters:
        return  # it is on its way out itself
    voters = (process.id, *[voter for voter in now.voters if voter != process.id][:others])
    addresses = {voter: now.addresses[voter] for voter in voters}
    try:
        core.propose_configuration(Configuration(voters, (), (), addresses))
    except RaftError:
        return
    process.node.wake()


def _exchanged(cut: Cut, one: str, other: str) -> Cut:
    """The same cut with two machines in each other's place."""
    swap = {one: other, other: one}
    return {swap.get(target, target): [swap.get(source, source) for source in cut[target]] for target in cut}


def _nothing() -> None:
    """Nothing is to be taken back."""


_DO: dict[str, Callable[[Faults, Action, str], Undo | None]] = {
    "crash": Faults.crash,
    "power": Faults.power,
    "powerAll": Faults.power_all,
    "pause": Faults.pause,
    "cut": Faults.cut,
    "clog": Faults.clog,
    "loss": Faults.loss,
    "slow": Faults.slow,
    "drift": Faults.drift,
    "jump": Faults.jump,
    "slowDisk": Faults.slow_disk,
    "full": Faults.full,
    "eio": Faults.eio,
    "fsync": Faults.fsync,
    "damage": Faults.damage,
    "wipe": Faults.wipe,
    "transfer": Faults.transfer,
    "members": Faults.members,
    "load": Faults.load,
}
