"""Members come and go while clients write, and nothing that was acknowledged is lost."""

import hmac
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faultlab.contract.member import KEY_HEADER

if TYPE_CHECKING:
    from conftest import Cluster

MakeCluster = Callable[..., "Cluster"]


def voters(cluster: "Cluster", index: int) -> list[str]:
    configuration = cluster.status(index)["configuration"]
    assert not configuration["outgoing"]
    return sorted(member["name"] for member in configuration["voters"])


def test_three_become_five_and_three_again_under_load_and_nothing_is_lost(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3, snapshotLogBytes=100_000, electionTimeoutMs=1000)
    cluster.leader()
    with cluster.writers([0, 1, 2]) as writers:
        writers.wait_for_more(300)
        cluster.change_members(range(5))
        assert voters(cluster, 0) == [f"demo-{i}" for i in range(5)]
        writers.wait_for_more(300)
        leaders = {cluster.status(index)["leader"] for index in range(5)}
        cluster.post(cluster.leader(), "/transfer", {"to": "demo-4"})
        assert cluster.leader() == 4
        writers.wait_for_more(100)
        before = cluster.status(4)["term"]
        cluster.change_members(range(3))
        for index in (3, 4):
            cluster.kill(index)
        leader = cluster.leader()
        assert leader in range(3)
        assert voters(cluster, leader) == ["demo-0", "demo-1", "demo-2"]
        writers.wait_for_more(300)
    assert leaders <= {f"demo-{i}" for i in range(5)}
    with cluster.client(leader) as client:
        assert writers.lost(client) == []
    # The removed leader handed over: one election, which it asked for, and no timeout.
    assert writers.longest_gap_s() < 1.0, writers.errors
    events = [event for index in range(3) for event in cluster.events(index)]
    later = [event for event in events if event["term"] > before]
    assert "LeaderLost" not in {event["type"] for event in later}


def test_a_member_added_twice_has_another_id_each_time(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1)
    cluster.leader()
    seen = set()
    for _ in range(2):
        cluster.change_members([0, 1])
        seen.add(cluster.ids[1])
        cluster.change_members([0])
        cluster.kill(1)
    assert len(seen) == 2
    assert all(member_id.startswith("demo-1#") for member_id in seen)


def test_a_new_id_removes_what_the_one_before_it_has_left(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1)
    cluster.leader()
    cluster.change_members([0, 1])
    first = cluster.ids[1]
    cluster.change_members([0])
    cluster.kill(1)
    cluster.change_members([0, 1])
    cluster.wait_for(
        "only the new id's data",
        lambda: {path.name for path in cluster.data_dir(1).iterdir()} == {cluster.ids[1], "lock"},
    )
    assert first != cluster.ids[1]


def test_who_does_not_lead_says_who_does(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    leader = cluster.leader()
    follower = (leader + 1) % 3
    members = [cluster.address(index) for index in range(3)]
    for path, document in (("/membership", {"members": members}), ("/transfer", {})):
        assert cluster.post(follower, path, document) == (409, {"leader": f"demo-{leader}"})
    status, document = cluster.post(leader, "/membership", {"members": members})
    assert (status, document["reached"]) == (200, True)


def test_with_a_key_orders_need_its_proof(make_cluster: MakeCluster, tmp_path: Path) -> None:
    key = b"0123456789abcdef"
    (tmp_path / "key").write_bytes(key)
    cluster = make_cluster(3, peerKeyFile=str(tmp_path / "key"))
    leader = cluster.leader()
    members = {"members": [cluster.address(index) for index in range(3)]}
    assert cluster.post(leader, "/membership", members)[0] == 403
    cluster.headers[KEY_HEADER] = hmac.new(key, b"admin demo", "sha256").hexdigest()
    assert cluster.post(leader, "/membership", members)[0] == 200
    cluster.headers[KEY_HEADER] = hmac.new(key, b"admin other", "sha256").hexdigest()
    assert cluster.post(leader, "/transfer", {})[0] == 403


def test_a_removed_member_says_so_and_disturbs_nobody(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3, preVote=False)
    cluster.leader()
    cluster.change_members([0, 1])
    cluster.wait_for("it is not ready", lambda: not cluster.status(2)["ready"])
    removed = cluster.processes.pop(2)
    leader = cluster.leader()
    term = cluster.status(leader)["term"]
    with cluster.writers([0, 1]) as writers:
        writers.wait_for_more(300)
    assert cluster.status(leader)["term"] == term
    assert removed.poll() is None
    cluster.processes[2] = removed


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/membership", {"members": []}),
        ("/membership", {}),
        ("/membership", {"members": [{"name": "demo-0#1", "host": "h"}]}),
        ("/transfer", {"to": "nobody"}),
        ("/transfer", {"whom": "demo-0"}),
    ],
)
def test_orders_that_make_no_sense_are_refused(
    shared_cluster: "Cluster", path: str, document: dict[str, object]
) -> None:
    status, answer = shared_cluster.post(shared_cluster.leader(), path, document)
    assert status == 400
    assert answer["error"]
