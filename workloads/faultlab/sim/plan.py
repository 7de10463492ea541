"""The faults of a run as data: what is done to whom, when and for how long.

A plan is drawn whole before the run, from a stream of its own, so any part of it can be left out and
the rest stays what it was: that is how a failing run is made smaller. An action names its target by
role (`leader`, `follower`) where it is about the role; who that is shows when the moment has come.
"""

from collections.abc import Sequence
from random import Random

import msgspec

from .loop import MS
from .options import FaultKind, Options
from .topologies import Cut, draw_cut


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One fault, or one order to the cluster."""

    id: int
    """Its place in the whole plan; kept when others are left out."""
    at_ns: int
    kind: FaultKind
    target: str = ""
    """`leader`, `follower` (the `pick`th of those that do not lead) or a machine's name; empty: all."""
    pick: int = 0
    lasts_ns: int = 0
    """How long it stays before it is taken back; 0: nothing is to be taken back."""
    amount: float = 0.0
    """What it means depends on the kind, see `describe`."""
    cut: Cut = {}
    """Of `cut`: who does not hear whom. A `target` changes places with `pivot` first."""
    pivot: str = ""
    voters: tuple[str, ...] = ()
    """Of `members`: the wanted voters."""
    detail: str = ""

    def describe(self) -> str:
        """The action in a few words."""
        parts: list[str] = [self.kind]
        if self.detail:
            parts.append(self.detail)
        if self.target:
            parts.append(self.target if self.target != "follower" else f"follower {self.pick}")
        if self.cut:
            parts.append("; ".join(f"{who} does not hear {', '.join(of)}" for who, of in self.cut.items()))
        if self.voters:
            parts.append(", ".join(self.voters))
        if self.amount:
            parts.append(f"{self.amount:.3g}")
        if self.lasts_ns:
            parts.append(f"for {self.lasts_ns / MS:.0f} ms")
        return " ".join(parts)


def draw_plan(rng: Random, options: Options) -> tuple[Action, ...]:
    """The plan of a seed, from its stream `plan`, in the order of time."""
    drafts: list[Action] = []
    kinds: Sequence[FaultKind] = sorted(options.faults)
    for kind in kinds:
        for _ in range(_poisson(rng, options.faults[kind])):
            action = _draw(rng, kind, options)
            drafts += [action, *_companions(rng, action, options)]
    drafts.sort(key=lambda action: action.at_ns)
    return tuple(msgspec.structs.replace(action, id=place) for place, action in enumerate(drafts))


def _companions(rng: Random, action: Action, options: Options) -> list[Action]:
    """What makes a fault worse: some troubles come in pairs, and hide from those who look at one alone."""
    chance = rng.random()
    lease = options.reads == "lease"
    if action.kind == "pause" and chance < (0.95 if lease else 0.7) and options.members > 1:
        # The target misses who takes its place, and goes on for a while as what it was.
        longer_ns = action.lasts_ns + int(options.election_ns * rng.uniform(0.3, 2))
        cut = msgspec.structs.replace(action, kind="cut", at_ns=action.at_ns - 1, lasts_ns=longer_ns)
        return [_isolation(cut, options, rng.choice(("both", "in")))]
    if action.kind == "members" and action.detail and chance < 0.6 and options.members > 2:
        cut = msgspec.structs.replace(
            action,
            kind="cut",
            at_ns=action.at_ns - options.election_ns // 10,
            lasts_ns=options.election_ns * 4,
            voters=(),
        )
        keep = rng.sample(options.names, 2)
        away = [name for name in options.machines if name not in keep]
        return [msgspec.structs.replace(cut, pivot=keep[0], detail="apart", cut=_apart(keep, away))]
    if action.kind == "fsync" and chance < 0.7:
        later_ns = action.at_ns + int(options.election_ns * rng.choice((0.01, 0.1, 0.5)))
        return [msgspec.structs.replace(action, kind="power", at_ns=later_ns, lasts_ns=options.election_ns)]
    return []


def _isolation(cut: Action, options: Options, direction: str) -> Action:
    one = options.names[0]
    others = list(options.machines[1:])
    grudge = {one: others}
    if direction == "both":
        grudge.update({other: [one] for other in others})
    return msgspec.structs.replace(cut, pivot=one, detail="isolate", cut=grudge)


def _apart(side: list[str], other: list[str]) -> Cut:
    return {**{name: list(other) for name in side}, **{name: list(side) for name in other}}


def _poisson(rng: Random, mean: float) -> int:
    """Knuth's: so many events where `mean` are expected."""
    count, left = -1, mean
    while left >= 0:
        left -= rng.expovariate(1)
        count += 1
    return count


def _draw(rng: Random, kind: FaultKind, options: Options) -> Action:
    election_ns = options.election_ns
    target, pick = _draw_target(rng, options)
    common = Action(
        id=0,
        # The first election may have ended by then.
        at_ns=int(election_ns * 2 + rng.random() * (options.chaos_ns - election_ns * 2)),
        kind=kind,
        target=target,
        pick=pick,
        # A cut is stable for long enough to let elections happen, or short enough to interrupt one.
        lasts_ns=int(election_ns * rng.choice((0.2, 1.0, 3.0, 6.0)) * rng.uniform(0.7, 1.4)),
    )
    changes = _SPECIAL[kind](rng, options) if kind in _SPECIAL else {}
    return msgspec.structs.replace(common, **changes)


def _draw_target(rng: Random, options: Options) -> tuple[str, int]:
    chance = rng.random()
    if chance < 0.45:
        return "leader", 0
    if chance < 0.75:
        return "follower", rng.randrange(options.members)
    return rng.choice(options.names), 0


def _cut(rng: Random, options: Options) -> dict[str, object]:
    names = list(options.machines)
    if len(names) < 2:
        return {"target": "", "cut": {}}
    pivot = rng.choice(options.names)
    names.remove(pivot)
    kind, cut = draw_cut(rng, [pivot, *names])
    target = "leader" if rng.random() < 0.6 else ""
    lasts_ns = int(options.election_ns * rng.choice((1.5, 3.0, 6.0)) * rng.uniform(0.8, 1.3))
    return {"target": target, "cut": cut, "pivot": pivot, "detail": kind, "lasts_ns": lasts_ns}


def _pause(rng: Random, options: Options) -> dict[str, object]:
    """Where there are leases, for long enough to outlive one, and mostly of who holds it."""
    lease = options.reads == "lease"
    lengths = (2.0, 3.0, 4.0) if lease else (0.5, 1.5, 4.0)
    changes: dict[str, object] = {"target": "leader"} if lease and rng.random() < 0.8 else {}
    return {"lasts_ns": int(options.election_ns * rng.choice(lengths) * rng.uniform(0.7, 1.4)), **changes}


def _power(rng: Random, _options: Options) -> dict[str, object]:
    return {"detail": rng.choice(("", "writing", "writing"))}


def _loss(rng: Random, _options: Options) -> dict[str, object]:
    return {"target": "", "amount": rng.choice((0.1, 0.3, 0.6))}


def _slow(rng: Random, _options: Options) -> dict[str, object]:
    return {"amount": rng.choice((3.0, 10.0, 30.0))}


def _drift(rng: Random, options: Options) -> dict[str, object]:
    return {"amount": 1 + rng.uniform(-options.drift, options.drift), "lasts_ns": 0}


def _jump(rng: Random, _options: Options) -> dict[str, object]:
    return {"amount": rng.choice((-60_000.0, -1000.0, 500.0, 5000.0, 3_600_000.0)), "lasts_ns": 0}


def _damage(rng: Random, options: Options) -> dict[str, object]:
    return {
        "detail": rng.choice(("flip", "lost", "misdirected")),
        "amount": rng.random(),
        "target": rng.choice((*options.names, "leader")),
    }


def _transfer(rng: Random, options: Options) -> dict[str, object]:
    to = rng.choice((*options.names, ""))
    return {"target": "leader", "voters": (to,) if to else (), "lasts_ns": 0}


def _members(rng: Random, options: Options) -> dict[str, object]:
    """Wanted voters; or, of somebody who is impatient, orders straight to the leader's core, one after
    another: shrink to the leader and so many others."""
    machines = options.machines
    if rng.random() < 0.4:
        return {"target": "leader", "detail": "impatient", "amount": float(rng.randint(1, 3)), "lasts_ns": 0}
    size = rng.randint(1 if options.members < 3 else 2, len(machines))
    return {"target": "", "voters": tuple(sorted(rng.sample(machines, size))), "lasts_ns": 0}


def _load(rng: Random, _options: Options) -> dict[str, object]:
    return {"target": "", "amount": float(rng.choice((20, 60))), "lasts_ns": 0}


def _all(_rng: Random, _options: Options) -> dict[str, object]:
    return {"target": ""}


_SPECIAL = {
    "cut": _cut,
    "power": _power,
    "pause": _pause,
    "loss": _loss,
    "slow": _slow,
    "slowDisk": _slow,
    "drift": _drift,
    "jump": _jump,
    "damage": _damage,
    "transfer": _transfer,
    "members": _members,
    "load": _load,
    "powerAll": _all,
}
