"""The topologies as properties: what must hold for any nodes, not for one example."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultlab_chaos.contract import grudges
from faultlab_chaos.contract.grudges import Edge, Grudge, GrudgeError

DIRECTIONS = st.sampled_from(["both", "in", "out"])


def node_lists(least: int, most: int = 9) -> st.SearchStrategy[list[str]]:
    names = [f"demo-{index}" for index in range(most)]
    return st.integers(least, most).flatmap(lambda count: st.permutations(names[:count]))


def hears(grudge: Grudge, nodes: list[str], node: str) -> frozenset[str]:
    return frozenset(nodes) - grudge.get(node, frozenset())


@given(node_lists(2), st.data())
def test_isolate_cuts_every_edge_of_the_target_and_no_other(nodes: list[str], data: st.DataObject) -> None:
    target = data.draw(st.sampled_from(nodes))
    cut = grudges.edges(grudges.isolate(nodes, target))
    assert all(target in edge for edge in cut)
    assert len(cut) == 2 * (len(nodes) - 1)


@given(node_lists(2), st.data())
def test_the_two_directions_are_disjoint_and_make_the_whole_cut(
    nodes: list[str], data: st.DataObject
) -> None:
    target = data.draw(st.sampled_from(nodes))
    into = grudges.isolate(nodes, target, "in")
    out = grudges.isolate(nodes, target, "out")
    assert hears(into, nodes, target) == {target}
    assert all(target not in hears(out, nodes, other) for other in nodes if other != target)
    assert hears(out, nodes, target) == set(nodes)
    assert not set(grudges.edges(into)) & set(grudges.edges(out))
    assert grudges.merge(into, out) == grudges.isolate(nodes, target, "both")


@given(node_lists(2), st.data())
def test_halves_differ_by_at_most_one_and_the_named_nodes_are_on_the_smaller_side(
    nodes: list[str], data: st.DataObject
) -> None:
    named = data.draw(st.lists(st.sampled_from(nodes), unique=True, max_size=len(nodes) // 2))
    grudge = grudges.halves(nodes, named)
    inside = next(node for node in nodes if node in named) if named else nodes[0]
    side = hears(grudge, nodes, inside)
    assert len(side) == len(nodes) // 2
    assert set(named) <= side
    assert all(hears(grudge, nodes, node) in (side, frozenset(nodes) - side) for node in nodes)


@given(node_lists(3), st.data())
def test_a_minority_leaves_a_majority_that_hears_itself_wholly(nodes: list[str], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, (len(nodes) - 1) // 2))
    named = data.draw(st.lists(st.sampled_from(nodes), unique=True, max_size=size))
    grudge = grudges.minority(nodes, named, size)
    rest = [node for node in nodes if len(hears(grudge, nodes, node)) >= grudges.majority(len(nodes))]
    assert len(rest) == len(nodes) - size
    assert not set(named) & set(rest)
    assert all(hears(grudge, nodes, node) == set(rest) for node in rest)


@given(node_lists(3), st.data())
def test_the_bridge_hears_and_is_heard_by_all_and_the_halves_do_not_hear_each_other(
    nodes: list[str], data: st.DataObject
) -> None:
    middle = data.draw(st.none() | st.sampled_from(nodes))
    grudge = grudges.bridge(nodes, middle)
    between = middle if middle is not None else nodes[len(nodes) // 2]
    assert between not in grudges.affected(grudge)
    halves = {hears(grudge, nodes, node) - {between} for node in nodes if node != between}
    assert len(halves) == 2
    first, second = halves
    assert not first & second
    assert abs(len(first) - len(second)) <= 1


@given(node_lists(4, 15))
def test_in_the_majorities_ring_each_node_hears_a_majority_of_its_own_over_two_way_links(
    nodes: list[str],
) -> None:
    grudge = grudges.majorities_ring(nodes)
    views = [hears(grudge, nodes, node) for node in nodes]
    assert all(len(view) >= grudges.majority(len(nodes)) for view in views)
    assert all(node in view for node, view in zip(nodes, views, strict=True))
    assert len(set(views)) == len(nodes)
    cut = set(grudges.edges(grudge))
    assert all(Edge(edge.target, edge.source) in cut for edge in cut)


@given(node_lists(3, 3))
def test_the_ring_of_three_is_one_way_and_each_still_hears_a_majority_of_its_own(nodes: list[str]) -> None:
    grudge = grudges.majorities_ring(nodes)
    views = [hears(grudge, nodes, node) for node in nodes]
    assert all(len(view) == 2 for view in views)
    assert len(set(views)) == 3
    cut = set(grudges.edges(grudge))
    assert not any(Edge(edge.target, edge.source) in cut for edge in cut)


@given(node_lists(2), st.data())
def test_one_way_cuts_only_from_sources_to_targets(nodes: list[str], data: st.DataObject) -> None:
    sources = data.draw(st.lists(st.sampled_from(nodes), unique=True, min_size=1))
    targets = data.draw(st.lists(st.sampled_from(nodes), unique=True, min_size=1))
    assert set(grudges.edges(grudges.one_way(sources, targets))) == {
        Edge(source, target) for source in sources for target in targets if source != target
    }


@given(node_lists(3), st.data())
def test_groups_hear_exactly_their_own_group_and_the_unnamed_form_one(
    nodes: list[str], data: st.DataObject
) -> None:
    first = data.draw(st.integers(1, len(nodes) - 1))
    second = data.draw(st.integers(first, len(nodes) - 1))
    parts = [part for part in (nodes[:first], nodes[first:second]) if part]
    grudge = grudges.groups(nodes, parts)
    for part in [*parts, nodes[second:]]:
        assert all(hears(grudge, nodes, node) == set(part) for node in part)


@given(node_lists(2), DIRECTIONS)
def test_cut_and_open_edges_are_all_edges(nodes: list[str], direction: grudges.Direction) -> None:
    grudge = grudges.halves(nodes, direction=direction)
    cut, left = set(grudges.edges(grudge)), set(grudges.open_edges(nodes, grudge))
    assert not cut & left
    assert len(cut) + len(left) == len(nodes) * (len(nodes) - 1)


@given(node_lists(3), DIRECTIONS)
def test_every_topology_is_valid_and_in_normal_form(nodes: list[str], direction: grudges.Direction) -> None:
    for grudge in (
        grudges.isolate(nodes, nodes[0], direction),
        grudges.halves(nodes, direction=direction),
        grudges.minority(nodes, direction=direction),
        grudges.bridge(nodes),
        grudges.majorities_ring(nodes),
        grudges.one_way(nodes, nodes),
        grudges.groups(nodes, [nodes[:1]]),
    ):
        assert grudges.validate(nodes, grudge) == grudge
        assert grudges.merge(grudge, grudge) == grudge
        assert all(grudge.values())


def test_the_leader_with_one_follower_is_cut_from_three() -> None:
    nodes = ["demo-0", "demo-1", "demo-2", "demo-3", "demo-4"]
    grudge = grudges.minority(nodes, ["demo-3"], 2)
    assert grudge["demo-1"] == {"demo-0", "demo-3"}
    assert grudge["demo-3"] == {"demo-1", "demo-2", "demo-4"}


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda: grudges.isolate(["a", "b"], "c"), "choose from a, b"),
        (lambda: grudges.isolate(["a"], "a"), "needs 2 nodes or more"),
        (lambda: grudges.isolate(["a", "a"], "a"), "name each node once"),
        (lambda: grudges.isolate(["a", "b"], "a", "sideways"), "write both, in or out"),  # type: ignore[arg-type]
        (lambda: grudges.minority(["a", "b", "c"], size=2), "1 to 1 nodes"),
        (lambda: grudges.minority(["a", "b", "c", "d", "e"], ["a", "b"], 1), "name fewer"),
        (lambda: grudges.minority(["a", "b", "c"], "a"), "write ['a']"),
        (lambda: grudges.groups(["a", "b"], [["a", "b"]]), "leave a node out"),
        (lambda: grudges.groups(["a", "b", "c"], [["a"], ["a", "b"]]), "in two groups"),
        (lambda: grudges.separate(["a"], ["a", "b"]), "bridge"),
        (lambda: grudges.validate(["a", "b"], {"a": ["a"]}), "always hears itself"),
        (lambda: grudges.validate(["a", "b"], {"z": ["a"]}), "choose from a, b"),
        (lambda: grudges.validate(["a", "b"], {"a": ["z"]}), "choose from a, b"),
        (lambda: grudges.validate(["a", "b"], {"a": "b"}), "write [b]"),
    ],
)
def test_a_refusal_says_what_to_write_instead(call: object, advice: str) -> None:
    with pytest.raises(GrudgeError) as refused:
        call()  # type: ignore[operator]
    assert advice in str(refused.value)
