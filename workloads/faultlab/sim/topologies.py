"""Partitions for the plan: the topologies of the chaos agents, with the places drawn from the seed.

They are the same pure functions that a NetworkPartition's manifest names (`faultlab_chaos.contract`), so a
cut means the same in every world. What comes out is plain data: who does not hear whom.
"""

from collections.abc import Sequence
from random import Random

import faultlab_chaos.contract.grudges as grudges
from faultlab_chaos.contract.grudges import Direction, Grudge

Cut = dict[str, list[str]]
"""Each member to those it does not hear, both sorted."""


def draw_cut(rng: Random, names: Sequence[str]) -> tuple[str, Cut]:
    """A topology's name, and its cut of `names`, of which there are two at least.

    The first name, wherever it ended up, is the one that the topology singles out, where it does that.
    """
    order = [names[0], *rng.sample(list(names[1:]), len(names) - 1)]
    direction: Direction = rng.choices(("both", "in", "out"), (6, 2, 2))[0]
    kinds = ["isolate", "halves", "oneWay"]
    if len(order) >= 3:
        kinds += ["minority", "bridge", "ring"]
    kind = rng.choice(kinds)
    return kind, plain(_grudge(rng, kind, order, direction))


def plain(grudge: Grudge) -> Cut:
    """A grudge as sorted lists."""
    return {target: sorted(grudge[target]) for target in sorted(grudge)}


def _grudge(rng: Random, kind: str, order: list[str], direction: Direction) -> Grudge:
    match kind:
        case "isolate":
            return grudges.isolate(order, order[0], direction)
        case "halves":
            return grudges.halves(order, [order[0]] if rng.random() < 0.5 else [], direction)
        case "minority":
            return grudges.minority(order, [order[0]], direction=direction)
        case "bridge":
            return grudges.bridge(order, rng.choice(order))
        case "ring":
            return grudges.majorities_ring(order)
        case _:
            return grudges.one_way([order[0]], order[1 : 1 + rng.randint(1, len(order) - 1)])
