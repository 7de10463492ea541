"""Whom a partition cuts off: pure, chosen by the seed, and never what was not asked for."""

from typing import Any

import pytest

from faultlab_chaos.contract import grudges
from faultlab_operator.api import NetworkPartitionSpec
from faultlab_operator.faults.errors import NotYet, Refusal
from faultlab_operator.faults.selection import Members, Selection, client_sides, select

NAMES = tuple(f"demo-{index}" for index in range(5))
DEMO = Members(NAMES, "demo-2")


def chosen(topology: dict[str, Any], members: Members = DEMO, seed: int = 7, **spec: Any) -> Selection:
    parsed = NetworkPartitionSpec.model_validate({"topology": topology, "duration": "10s", **spec})
    return select(parsed, members, ("demo-load",), seed)


@pytest.mark.parametrize("seed", range(20))
def test_the_leader_and_one_more_are_in_the_minority(seed: int) -> None:
    selection = chosen({"type": "minority", "with": {"role": "leader"}, "size": 2}, seed=seed)
    assert "demo-2" in selection.cut_off
    assert len(selection.cut_off) == 2
    rest = [name for name in NAMES if name not in selection.cut_off]
    assert selection.grudge == grudges.separate(selection.cut_off, rest)


def test_the_same_seed_chooses_the_same_and_others_differ() -> None:
    topology = {"type": "minority", "with": {"role": "leader"}, "size": 2}
    sides = [chosen(topology, seed=seed).cut_off for seed in range(30)]
    assert sides == [chosen(topology, seed=seed).cut_off for seed in range(30)]
    assert len(set(sides)) == 4


@pytest.mark.parametrize("seed", range(10))
def test_what_is_called_cut_off_is_what_the_grudge_cuts_off(seed: int) -> None:
    for topology in (
        {"type": "halves"},
        {"type": "halves", "with": {"role": "follower"}},
        {"type": "minority"},
        {"type": "isolate", "with": {"role": "any"}},
        {"type": "bridge", "with": {"role": "leader"}},
    ):
        selection = chosen(topology, seed=seed)
        inside = set(selection.cut_off)
        assert 1 <= len(inside) <= 2
        # Nobody of the side is deaf to another of it, and each is deaf to somebody outside.
        for name in inside:
            assert selection.grudge[name]
            if topology["type"] != "isolate":
                assert not selection.grudge[name] & inside


def test_one_way_leaves_the_other_direction_alone() -> None:
    out = chosen({"type": "oneWay", "with": {"role": "leader"}, "direction": "out"}).grudge
    assert out == {name: frozenset({"demo-2"}) for name in NAMES if name != "demo-2"}
    inwards = chosen({"type": "oneWay", "with": {"role": "leader"}, "direction": "in"}).grudge
    assert inwards == {"demo-2": frozenset(NAMES) - {"demo-2"}}


def test_groups_count_everybody_outside_the_largest_as_cut_off() -> None:
    selection = chosen({"type": "groups", "groups": [["demo-0"], ["demo-1", "demo-2"]]})
    assert len(selection.cut_off) == 3
    assert selection.grudge["demo-0"] == frozenset(NAMES) - {"demo-0"}


def test_the_ring_has_no_cut_off_side_and_counts_all_it_affects() -> None:
    assert chosen({"type": "majoritiesRing"}).cut_off == ()
    with pytest.raises(Refusal, match="write maxAffected: 5"):
        chosen({"type": "majoritiesRing"}, maxAffected=2)


@pytest.mark.parametrize(("clients", "kept_from_minority"), [("majority", True), ("minority", False)])
def test_clients_are_kept_from_one_side_in_both_directions(clients: str, kept_from_minority: bool) -> None:
    selection = chosen({"type": "minority", "with": {"role": "leader"}, "size": 2}, clients=clients)
    for name in NAMES:
        kept = (name in selection.cut_off) == kept_from_minority
        assert ("demo-load" in selection.grudge.get(name, ())) == kept
        assert (name in selection.grudge.get("demo-load", ())) == kept


def test_a_role_without_a_leader_is_not_yet() -> None:
    with pytest.raises(NotYet):
        chosen({"type": "isolate", "with": {"role": "leader"}}, Members(NAMES, None))


def test_a_single_member_cannot_be_partitioned() -> None:
    with pytest.raises(Refusal, match="select a system with more replicas"):
        chosen({"type": "isolate", "with": {"role": "any"}}, Members(("demo-0",), "demo-0"))


def test_the_sides_that_clients_reach() -> None:
    cut, rest = NAMES[:2], NAMES[2:]
    assert client_sides("both", NAMES, cut) == (cut, rest)
    assert client_sides("majority", NAMES, cut) == (rest,)
    assert client_sides("minority", NAMES, cut) == (cut,)
    assert client_sides("both", NAMES, ()) == tuple((name,) for name in NAMES)
