"""The leadership moves without anybody waiting for an election timeout, and quickly when the leader dies."""

import signal
import time
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Cluster

MakeCluster = Callable[..., "Cluster"]

ELECTION_TIMEOUT_S = 2.0
SLOW = {"electionTimeoutMs": int(ELECTION_TIMEOUT_S * 1000), "heartbeatIntervalMs": 50}
"""So that an election by timeout cannot be mistaken for a transfer, however busy the machine is."""


def test_a_transfer_is_a_short_wait_for_clients_and_no_error(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3, **SLOW)
    leader = cluster.leader()
    with cluster.writers([0, 1, 2], count=6) as writers:
        writers.wait_for_more(200)
        for _ in range(3):
            target = (leader + 1) % 3
            began = time.monotonic()
            status, document = cluster.post(leader, "/transfer", {"to": f"demo-{target}"})
            assert (status, document) == (200, {"leader": f"demo-{target}"})
            assert time.monotonic() - began < ELECTION_TIMEOUT_S / 2
            writers.wait_for_more(200)
            leader = cluster.leader()
            assert leader == target
    assert writers.longest_gap_s() < ELECTION_TIMEOUT_S / 2
    assert writers.errors == []
    with cluster.client(leader) as client:
        assert writers.lost(client) == []
    events = [event for event in cluster.events(leader) if event["type"] == "LeadershipTransfer"]
    assert all(event["leader"].startswith("demo-") for event in events)


def test_a_transfer_to_nobody_in_particular_finds_somebody(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3, **SLOW)
    leader = cluster.leader()
    status, document = cluster.post(leader, "/transfer", {})
    assert status == 200
    assert document["leader"] != f"demo-{leader}"


def test_a_transfer_to_who_is_down_is_given_up_and_writes_go_on(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    leader = cluster.leader()
    down = (leader + 1) % 3
    cluster.kill(down)
    with cluster.writers([leader], count=2) as writers:
        writers.wait_for_more(50)
        status, document = cluster.post(leader, "/transfer", {"to": f"demo-{down}"})
        assert (status, document["leader"]) == (409, f"demo-{leader}")
        writers.wait_for_more(50)


def test_a_leader_told_to_end_hands_over_first(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3, **SLOW)
    leader = cluster.leader()
    others = [index for index in range(3) if index != leader]
    with cluster.writers(others, count=4) as writers:
        writers.wait_for_more(200)
        began = time.monotonic()
        cluster.signal(leader, signal.SIGTERM)
        assert cluster.processes.pop(leader).wait(10) == 0
        assert time.monotonic() - began < ELECTION_TIMEOUT_S
        writers.wait_for_more(200)
        assert cluster.leader() in others
    assert writers.longest_gap_s(began) < ELECTION_TIMEOUT_S / 2
    with cluster.client(others[0]) as client:
        assert writers.lost(client) == []


def test_the_last_member_told_to_end_ends_at_once(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1, **SLOW)
    cluster.leader()
    cluster.signal(0, signal.SIGTERM)
    assert cluster.processes.pop(0).wait(5) == 0


def test_a_leader_that_is_killed_is_replaced_without_waiting_for_the_timeout(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(3, **SLOW)
    leader = cluster.leader()
    others = [index for index in range(3) if index != leader]
    with cluster.writers(others, count=4) as writers:
        writers.wait_for_more(200)
        began = time.monotonic()
        cluster.kill(leader)
        writers.wait_for_more(200)
    times = sorted(at for mine in writers.acknowledged for _, at in mine if at > began)
    assert max(b - a for a, b in pairwise([began, *times])) < ELECTION_TIMEOUT_S / 2


def test_a_member_of_higher_priority_leads_once_it_is_there(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3, priorities={"demo-2": 5})
    cluster.wait_for("demo-2 leads", lambda: cluster.status(0)["leader"] == "demo-2")
    cluster.kill(2)
    assert cluster.leader() in (0, 1)
    cluster.start(2)
    cluster.wait_for("demo-2 leads again", lambda: cluster.status(0)["leader"] == "demo-2")
