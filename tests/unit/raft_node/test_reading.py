"""Where reads are answered, by `reads`, and that none of these but `stale` goes back in time."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from raft_trio import Trio

if TYPE_CHECKING:
    from conftest import Cluster

MakeCluster = Callable[..., "Cluster"]


def test_within_its_lease_a_leader_answers_without_asking_and_beyond_it_not_at_all(
    make_trio: Callable[..., Trio],
) -> None:
    trio = make_trio(reads="lease")
    leader = trio.lead()
    assert trio.write(leader, "k").told == ["+OK"]
    trio.run(10)
    trio.down |= {name for name, node in trio.nodes.items() if node is not leader}
    trio.run(20)  # 200 ms; the election timeout is 500 ms, of which 10 % are for drift
    assert trio.read(leader, "k").told == [b"v"]
    trio.run(26)
    assert trio.read(leader, "k").told == []


def test_without_leases_a_leader_that_is_cut_off_answers_nothing(make_trio: Callable[..., Trio]) -> None:
    trio = make_trio()
    leader = trio.lead()
    assert trio.write(leader, "k").told == ["+OK"]
    trio.down |= {name for name, node in trio.nodes.items() if node is not leader}
    assert trio.read(leader, "k").told == []


def test_a_follower_answers_reads_itself_once_it_has_what_was_acknowledged(
    make_trio: Callable[..., Trio],
) -> None:
    trio = make_trio(reads="follower")
    leader = trio.lead()
    name, follower = next((n, node) for n, node in trio.nodes.items() if node is not leader)
    for n in range(20):
        assert trio.write(leader, "k", b"%d" % n).told == ["+OK"]
        answer = trio.read(follower, "k")
        trio.run(10)
        assert (answer.told, answer.by) == ([b"%d" % n], name)


def test_a_follower_without_a_leader_answers_no_read(make_trio: Callable[..., Trio]) -> None:
    trio = make_trio(reads="follower")
    leader = trio.lead()
    assert trio.write(leader, "k").told == ["+OK"]
    name, follower = next((n, node) for n, node in trio.nodes.items() if node is not leader)
    trio.down |= trio.nodes.keys() - {name}
    trio.run(150)
    answer = trio.read(follower, "k")
    trio.run(20)
    assert str(answer.told[0]).startswith("-NOTLEADER")


@pytest.mark.parametrize("reads", ["lease", "follower"])
def test_what_one_member_acknowledged_every_member_reads(make_cluster: MakeCluster, reads: str) -> None:
    cluster = make_cluster(3, reads=reads)
    leader = cluster.leader()
    clients = [cluster.client(index) for index in range(3)]
    for number in range(60):
        assert clients[number % 3].ask("SET", "k", str(number)) == b"OK"
        assert clients[(number + 1) % 3].ask("GET", "k") == b"%d" % number
    follower = (leader + 1) % 3
    assert clients[follower].ask("CLIENT", "META", "ON") == b"OK"
    answered_by = clients[follower].ask("GET", "k")[1][0]
    assert answered_by == f"demo-{follower if reads == 'follower' else leader}".encode()
