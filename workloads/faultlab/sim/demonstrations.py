"""Runs that show one thing: what an assumption is worth, by a run within it and one beyond it."""

from typing import Any

from .loop import MS
from .options import ClientOptions, Options
from .plan import Action

_ELECTION_NS = 150 * MS


def lease_options() -> Options:
    """Lease reads; members assume that no clock of another runs more than 10 percent faster."""
    return Options(
        members=5,
        spares=0,
        election_ns=_ELECTION_NS,
        reads="lease",
        check_quorum=True,
        max_clock_drift_percent=10,
        drift=0.0,
        # Clients stay with the leader they know, and try another soon when a write is not answered.
        forward=False,
        clients=ClientOptions(count=7, operations=400, keys=1, reads=0.7, patience_ns=_ELECTION_NS // 4),
        chaos_ns=_ELECTION_NS * 40,
        recovery_ns=_ELECTION_NS * 60,
    )


def lease_plan(drift: float) -> tuple[Action, ...]:
    """Again and again the leader's clock runs slow by `drift` and all others fast by it, and the leader is
    cut off from its peers, while clients reach everybody. Within the assumption: (1 + d) / (1 - d) <= 1.1,
    so d <= 0.047."""
    names = lease_options().names
    first, *others = names
    grudge = {first: others, **{other: [first] for other in others}}
    plan: list[Action] = []

    def add(at_ns: int, **fields: Any) -> None:
        plan.append(Action(id=len(plan), at_ns=at_ns, **fields))

    for number in range(1, 7):
        at_ns = number * 6 * _ELECTION_NS
        for name in names:
            add(at_ns, kind="drift", target=name, amount=1 + drift)
        add(at_ns + 1, kind="drift", target="leader", amount=1 - drift)
        lasts_ns = 4 * _ELECTION_NS
        add(at_ns + 2, kind="cut", target="leader", pivot=first, cut=grudge, lasts_ns=lasts_ns)
    return tuple(plan)
