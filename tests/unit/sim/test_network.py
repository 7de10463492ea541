"""Links lose, delay, repeat, reorder and are cut, each direction for itself."""

import random

from faultlab.sim.loop import MS, Loop
from faultlab.sim.network import Network
from faultlab.sim.options import NetworkOptions
from faultlab.sim.topologies import draw_cut


def _network(seed: int = 1, **habits: float) -> Network:
    return Network(Loop(), random.Random(seed), NetworkOptions(delay_ns=MS, asymmetry=1.0, **habits))


def test_an_orderly_link_keeps_the_order_and_its_delays() -> None:
    network = _network()
    channel = network.channel("a", "b")
    arrivals = [network.arrivals(channel, True)[0] for _ in range(500)]

    assert arrivals == sorted(arrivals)
    assert MS // 2 <= arrivals[0] <= 2 * MS


def test_shares_of_loss_repetition_and_reordering_are_as_asked_for() -> None:
    network = _network(loss=0.2, duplicate=0.3, reorder=0.3)
    channel = network.channel("a", "b")
    outcomes = [network.arrivals(channel, True) for _ in range(4000)]
    heard = [arrivals for arrivals in outcomes if arrivals]
    firsts = [arrivals[0] for arrivals in heard]

    assert 0.15 < 1 - len(heard) / len(outcomes) < 0.25
    assert 0.25 < sum(len(arrivals) == 2 for arrivals in heard) / len(heard) < 0.35
    assert firsts != sorted(firsts)


def test_requests_and_answers_are_never_repeated() -> None:
    network = _network(duplicate=0.9)
    channel = network.channel("a", "b")

    assert {len(network.arrivals(channel, False)) for _ in range(500)} == {1}


def test_cuts_add_up_and_each_is_mended_for_itself() -> None:
    network = _network()
    network.cut({"a": ["b"]})
    network.cut({"a": ["b", "c"], "b": ["a"]})
    network.mend({"a": ["b"]})

    assert not network.hears("a", "b")
    assert not network.hears("b", "a")
    assert network.hears("c", "a")
    network.mend({"a": ["b", "c"], "b": ["a"]})
    assert network.hears("a", "b")


def test_a_clogged_link_gives_everything_once_it_is_free() -> None:
    network = _network()
    channel = network.channel("a", "b")
    channel.clogged_until = 500 * MS
    arrivals = [network.arrivals(channel, False)[0] for _ in range(10)]

    assert arrivals[0] == 500 * MS
    assert arrivals == sorted(set(arrivals))


def test_topologies_are_drawn_from_the_seed_alone_and_cut_something() -> None:
    names = [f"m{number}" for number in range(5)]
    for seed in range(100):
        kind, cut = draw_cut(random.Random(seed), names)
        assert (kind, cut) == draw_cut(random.Random(seed), names)
        assert any(cut.values())
        assert all(target not in sources for target, sources in cut.items())
