"""Who does not hear whom: partitions as data, in the manner of Jepsen's `nemesis.clj`.

A grudge maps a node to the nodes that it does not hear: packets from them are dropped when they arrive.
A node that hears everybody is not in the map, so equal cuts are equal maps. Hearing is one-way; a cut in
both directions is two entries.

Every topology is a pure function from nodes to a grudge. Nothing here draws lots: where a topology has to
choose, it takes nodes in the order given, so that who wants chance shuffles first (and prints the seed).

`direction` is told as the cut-off side sees it: `in`, it does not hear the others; `out`, the others do not
hear it; `both`. Bad input raises `GrudgeError`, whose message says what to write instead.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from faultlab_chaos.contract.errors import GrudgeError

Grudge: TypeAlias = Mapping[str, frozenset[str]]
Direction: TypeAlias = Literal["both", "in", "out"]

_DIRECTIONS = ("both", "in", "out")


class Edge(NamedTuple):
    """One direction between two nodes: what `source` sends to `target`."""

    source: str
    target: str


def majority(count: int) -> int:
    """The fewest nodes that are more than half of `count`: 2 of 3, 3 of 4, 3 of 5."""
    return count // 2 + 1


def separate(cut_off: Collection[str], rest: Collection[str], direction: Direction = "both") -> Grudge:
    """The cut between two sides; within a side everybody hears everybody.

    The building block of the topologies, and how clients are kept from a side:
    `separate({"demo-load"}, {"demo-0", "demo-1"})`.
    """
    if direction not in _DIRECTIONS:
        raise GrudgeError(f"direction {direction!r} is not known: write both, in or out")
    _strings("cut_off", cut_off)
    _strings("rest", rest)
    both_sides = set(cut_off) & set(rest)
    if both_sides:
        raise GrudgeError(
            f"{_names(both_sides)} on both sides of the cut: name each node on one side (for a node that "
            "hears both sides use the topology bridge)"
        )
    one_ways = []
    if direction in ("both", "in"):
        one_ways.append(one_way(rest, cut_off))
    if direction in ("both", "out"):
        one_ways.append(one_way(cut_off, rest))
    return merge(*one_ways)


def isolate(nodes: Sequence[str], target: str, direction: Direction = "both") -> Grudge:
    """Cuts one node off from all others."""
    _members(nodes, at_least=2)
    _known(nodes, [target], "isolate")
    return separate([target], [node for node in nodes if node != target], direction)


def halves(nodes: Sequence[str], cut_off: Sequence[str] = (), direction: Direction = "both") -> Grudge:
    """Cuts the nodes in two; with an odd number the cut-off side is the smaller one.

    `cut_off` names nodes that must be on that side; it is filled up with the first of the others.
    """
    _members(nodes, at_least=2)
    side = _fill(nodes, cut_off, len(nodes) // 2, "halves")
    return separate(side, _others(nodes, side), direction)


def minority(
    nodes: Sequence[str], cut_off: Sequence[str] = (), size: int | None = None, direction: Direction = "both"
) -> Grudge:
    """Cuts off `size` nodes, fewer than half; the largest minority if no size is given.

    `cut_off` names nodes that must be among them (the leader, say); the first of the others fill it up.
    """
    _members(nodes, at_least=3)
    largest = (len(nodes) - 1) // 2
    if size is None:
        size = largest
    if not 1 <= size <= largest:
        raise GrudgeError(
            f"a minority of {len(nodes)} nodes has 1 to {largest} nodes, not {size}: write a size in that "
            "range, or use the topology halves or groups"
        )
    side = _fill(nodes, cut_off, size, "minority")
    return separate(side, _others(nodes, side), direction)


def bridge(nodes: Sequence[str], bridge_node: str | None = None) -> Grudge:
    """Two halves that do not hear each other, and one node between them that hears and is heard by all.

    Without a `bridge_node` the middle one is it, as in Jepsen. No `direction`: neither half is "the" cut-off
    side.
    """
    _members(nodes, at_least=3)
    if bridge_node is None:
        bridge_node = nodes[len(nodes) // 2]
    _known(nodes, [bridge_node], "bridge")
    others = [node for node in nodes if node != bridge_node]
    middle = len(others) // 2
    return separate(others[:middle], others[middle:])


def majorities_ring(nodes: Sequence[str]) -> Grudge:
    """Every node hears a majority, and no two nodes hear the same one.

    The nodes stand in a ring in the order given, and each hears its nearest neighbours, equally many on
    either side, as few as make a majority with itself: of five, one on each side. Links are two-way. With
    three nodes such a ring cuts nothing, so there each hears only the node before it and links are one-way
    (no two nodes can talk: a majority hears each message, but answers come back by nobody).
    """
    _members(nodes, at_least=3)
    count = len(nodes)
    if count == 3:
        return {node: frozenset([nodes[(place + 1) % 3]]) for place, node in enumerate(nodes)}
    radius = majority(count) // 2
    heard = {
        node: {nodes[(place + step) % count] for step in range(-radius, radius + 1)}
        for place, node in enumerate(nodes)
    }
    return _normal({node: set(nodes) - heard[node] for node in nodes})


def one_way(sources: Collection[str], targets: Collection[str]) -> Grudge:
    """The targets do not hear the sources; the other direction is left alone.

    A node may be on both lists (`one_way(nodes, nodes)`: nobody hears anybody): it always hears itself.
    """
    _strings("sources", sources)
    _strings("targets", targets)
    return _normal({target: set(sources) - {target} for target in targets})


def groups(nodes: Sequence[str], named: Sequence[Collection[str]]) -> Grudge:
    """Groups that do not hear each other; nodes that are in none form one more group together."""
    _members(nodes, at_least=2)
    for group in named:
        _strings("a group", group)
        _known(nodes, group, "groups")
    listed = {node for group in named for node in group}
    rest = [node for node in nodes if node not in listed]
    components = [set(group) for group in named if group] + ([set(rest)] if rest else [])
    if len(components) < 2:
        raise GrudgeError("one group of all nodes cuts nothing: leave a node out, or write two groups")
    return complete(nodes, components)


def complete(nodes: Sequence[str], components: Sequence[Collection[str]]) -> Grudge:
    """No node hears any node of another component (Jepsen's `complete-grudge`).

    Nodes in no component hear and are heard by everybody: that is how `bridge` can be written too.
    """
    placed: set[str] = set()
    for component in components:
        _strings("a component", component)
        _known(nodes, component, "complete")
        twice = placed & set(component)
        if twice:
            raise GrudgeError(
                f"{_names(twice)} in two groups: name each node once (a node that belongs to no group of "
                "`complete` hears all; the topology bridge has one)"
            )
        placed |= set(component)
    return _normal({node: placed - set(component) for component in components for node in component})


def merge(*grudges: Grudge) -> Grudge:
    """Everything that any of them cuts."""
    merged: dict[str, set[str]] = {}
    for grudge in grudges:
        for node, unheard in grudge.items():
            merged.setdefault(node, set()).update(unheard)
    return _normal(merged)


def edges(grudge: Grudge) -> tuple[Edge, ...]:
    """The edges that are cut, sorted: `Edge(a, b)` says that what a sends to b does not arrive."""
    return tuple(sorted(Edge(source, target) for target, unheard in grudge.items() for source in unheard))


def open_edges(nodes: Sequence[str], grudge: Grudge) -> tuple[Edge, ...]:
    """The edges between `nodes` that are left alone, sorted: what must still get through."""
    cut = set(edges(grudge))
    return tuple(sorted({Edge(a, b) for a in nodes for b in nodes if a != b} - cut))


def affected(grudge: Grudge) -> frozenset[str]:
    """The nodes at either end of a cut edge."""
    return frozenset(node for edge in edges(grudge) for node in edge)


def validate(nodes: Sequence[str], grudge: Mapping[str, Iterable[str]]) -> Grudge:
    """A grudge from outside, in normal form.

    Raises GrudgeError for a node that is not among `nodes` and for a node that is not to hear itself.
    """
    checked: dict[str, set[str]] = {}
    _members(nodes, at_least=1)
    for node, unheard in grudge.items():
        _known(nodes, [node], "a grudge")
        if isinstance(unheard, str):
            raise GrudgeError(f"what {node} does not hear is a list of nodes: write [{unheard}]")
        checked[node] = set(unheard)
        _known(nodes, checked[node], f"the grudge of {node}")
        if node in checked[node]:
            raise GrudgeError(
                f"{node} always hears itself: take it out of its own list (to stop a node altogether use a "
                "ProcessFault, to cut it from all others the topology isolate)"
            )
    return _normal(checked)


def _normal(grudge: Mapping[str, Iterable[str]]) -> Grudge:
    frozen = {node: frozenset(unheard) for node, unheard in grudge.items()}
    return {node: frozen[node] for node in sorted(frozen) if frozen[node]}


def _members(nodes: Sequence[str], *, at_least: int) -> None:
    _strings("nodes", nodes)
    if len(set(nodes)) != len(nodes):
        twice = {node for node in nodes if list(nodes).count(node) > 1}
        raise GrudgeError(f"{_names(twice)} more than once among the nodes: name each node once")
    if len(nodes) < at_least:
        raise GrudgeError(
            f"this topology needs {at_least} nodes or more and has {len(nodes)}: select more, or use one_way"
        )


def _known(nodes: Sequence[str], wanted: Iterable[str], where: str) -> None:
    unknown = set(wanted) - set(nodes)
    if unknown:
        raise GrudgeError(
            f"{where} names {_names(unknown)}, not among the nodes: choose from {_names(nodes)}"
        )


def _strings(what: str, given: Collection[str]) -> None:
    """A lone string is a collection of its letters, which is never what was meant."""
    if isinstance(given, str):
        raise GrudgeError(f"{what} is a list of nodes: write [{given!r}] instead of {given!r}")


def _fill(nodes: Sequence[str], chosen: Sequence[str], size: int, where: str) -> list[str]:
    _strings("cut_off", chosen)
    _known(nodes, chosen, where)
    side = list(dict.fromkeys(chosen))
    if len(side) > size:
        raise GrudgeError(
            f"the cut-off side has {size} of {len(nodes)} nodes, but {len(side)} are named for it "
            f"({_names(side)}): name fewer, or write a larger size"
        )
    return side + _others(nodes, side)[: size - len(side)]


def _others(nodes: Sequence[str], side: Sequence[str]) -> list[str]:
    return [node for node in nodes if node not in side]


def _names(nodes: Iterable[str]) -> str:
    return ", ".join(sorted(nodes)) or "none"
