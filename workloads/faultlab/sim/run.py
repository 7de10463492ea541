"""One seed, one run: chaos first, then recovery, then judgement of what the clients saw.

    outcome = simulate(seed)                    # everything drawn from the seed
    outcome = simulate(seed, plan=some_actions) # the same run with fewer faults

In the chaos phase the plan's faults come and go while clients ask. Then all faults end, except that a few
members may stay away for good as long as every configuration keeps a quorum; the cluster must make progress
within a bound of virtual time. Everything a run does follows from its seed, options and plan.
"""

import gc
from collections.abc import Sequence

import msgspec

from faultlab.checker import check
from faultlab.history.events import Event
from faultlab.raft.rules import Rule

from .caretaker import Caretaker
from .clients import Crowd
from .faults import Faults
from .options import Options, draw_options
from .plan import Action, draw_plan
from .streams import Streams
from .trace import Trace
from .world import SimWorld

_PROGRESS_OPERATIONS = 10
"""New operations that must succeed before a cluster counts as recovered."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one run ended."""

    seed: int
    ok: bool
    violation: str | None
    """What was broken first; None if nothing was."""
    hash: str
    """Of everything that happened: equal for equal runs, in every process."""
    marks: dict[str, int]
    """Coverage marks reached, and how often."""
    virtual_s: float
    steps: int
    """Events of the simulation."""
    operations: int
    """That clients have begun."""
    history: tuple[Event, ...] = ()
    """What clients asked and saw."""


def simulate(
    seed: int,
    options: Options | None = None,
    *,
    plan: Sequence[Action] | None = None,
    break_rule: Rule | None = None,
    trace: Trace | None = None,
) -> Outcome:
    """Runs one seed. Options and plan are drawn from it where they are not given; `break_rule` switches one
    guard off in all members; `trace` is called with every event."""
    collects = gc.isenabled()
    # What a run leaves is one heap of cycles: it is collected once, before anything else is made.
    gc.disable()
    try:
        outcome = Run(seed, options, plan, break_rule, trace).outcome()
        gc.collect(0)
        return outcome
    finally:
        if collects:
            gc.enable()


def run_seed(seed: int, break_rule: Rule | None = None) -> Outcome:
    """As `simulate`, without the history: small to send between processes."""
    return msgspec.structs.replace(simulate(seed, break_rule=break_rule), history=())


def draw(seed: int) -> tuple[Options, tuple[Action, ...]]:
    """The options and the plan of a seed."""
    streams = Streams(seed)
    options = draw_options(streams.options)
    return options, draw_plan(streams.stream("plan"), options)


class Run:
    """One run, from its beginning to its end."""

    def __init__(
        self,
        seed: int,
        options: Options | None,
        plan: Sequence[Action] | None,
        break_rule: Rule | None,
        trace: Trace | None,
    ) -> None:
        self._seed = seed
        streams = Streams(seed)
        drawn = draw_options(streams.options)
        self._options = options = drawn if options is None else options
        if plan is None:
            plan = draw_plan(streams.stream("plan"), options)
        self.world = SimWorld(streams, options, break_rule, trace)
        self._observer = self.world.observer
        self._caretaker = Caretaker(self.world)
        self._crowd = Crowd(
            self.world.loop,
            streams.clients,
            options.clients,
            options.network.delay_ns,
            options.chaos_ns - options.election_ns,
            self._asked,
            self.world.submit,
            self.world.recorder,
            self.world,
        )
        self._faults = Faults(self.world, self._caretaker, self._crowd, plan)
        self._goal = 0
        self._commit_goal = 0

    def outcome(self) -> Outcome:
        """Runs it."""
        world = self.world
        world.recorder.note("phase", text="chaos")
        self._caretaker.start()
        world.loop.after(self._options.election_ns, self._crowd.start)
        world.loop.run(self._options.chaos_ns)
        if self._observer.violation is None:
            self._recover()
        if self._observer.violation is None:
            self._judge()
        outcome = Outcome(
            seed=self._seed,
            ok=self._observer.violation is None,
            violation=self._observer.violation,
            hash=world.recorder.digest(),
            marks=world.marks.counts(),
            virtual_s=world.loop.now / 1e9,
            steps=world.loop.steps,
            operations=self._crowd.operations,
            history=tuple(self._crowd.history),
        )
        world.close()
        return outcome

    def _asked(self) -> Sequence[str]:
        """The machines that clients try: those that have ever had a member."""
        return [name for name, machine in self.world.machines.items() if machine.lives]

    def _recover(self) -> None:
        """Faults end outside a core majority; progress must come in time."""
        world = self.world
        world.recorder.note("phase", text="recovery")
        self._faults.end_all()
        world.network.heal()
        for machine in world.machines.values():
            machine.mend()
        self._break_for_good()
        self._caretaker.start_all()
        self._crowd.ask_more(_PROGRESS_OPERATIONS)
        self._goal = self._crowd.completions + _PROGRESS_OPERATIONS
        self._commit_goal = world.safety.commit
        world.loop.after(self._options.election_ns, self._look)
        world.loop.run(world.loop.now + self._options.recovery_ns)
        if self._observer.violation is None and not self._recovered():
            self._observer.violated("", self._what_is_missing())

    def _break_for_good(self) -> None:
        """Some machines stay away, where a quorum can do without them."""
        rng = self.world.streams.crashes
        names = list(self.world.machines)
        rng.shuffle(names)
        gone: list[str] = []
        for name in names[: rng.randrange(len(names))]:
            if self._caretaker.may_lose([*gone, name]):
                gone.append(name)
        for name in gone:
            self.world.machines[name].held["for good"] = None
            self.world.end(name, power=True, why="for good")

    def _look(self) -> None:
        if not self._crowd.left and self._recovered():
            self.world.loop.stopped = True
        else:
            if self._crowd.completions < self._goal and not self._crowd.left:
                self._crowd.ask_more(_PROGRESS_OPERATIONS)
            self.world.loop.after(self._options.election_ns // 2, self._look)

    def _recovered(self) -> bool:
        """Clients are served again, and every voter that is there has what was committed before."""
        world = self.world
        leader = world.leader()
        if self._crowd.completions < self._goal or leader is None:
            return False
        voters = leader.node.core.configuration.voters
        return all(
            process.node.store.applied_index >= self._commit_goal
            for process in world.processes()
            if process.id in voters
        )

    def _what_is_missing(self) -> str:
        world = self.world
        done = self._crowd.completions - self._goal + _PROGRESS_OPERATIONS
        states = "; ".join(
            f"{process.id} {process.node.core.role} of term {process.node.core.term}, applied"
            f" {process.node.store.applied_index}"
            for process in world.processes()
        )
        return (
            f"liveness: {done} of {_PROGRESS_OPERATIONS} operations succeeded within"
            f" {self._options.recovery_ns / 1e9:.1f} s after the faults had ended, and entry"
            f" {self._commit_goal} was committed before: {states or 'nobody runs'}"
        )

    def _judge(self) -> None:
        """The clients' history must have an order that explains it."""
        result = check(self._crowd.history, "kv", time_limit_s=60)
        if result.result == "invalid":
            self._observer.violated("", f"linearizability: {result.message}")
