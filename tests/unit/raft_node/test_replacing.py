"""A member that has lost its data never comes back under its old id; it is replaced, and nothing is lost."""

import shutil
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from faultlab.contract.member import (
    ConfigurationStatus,
    MemberIdentity,
    MembershipReply,
    MembershipRequest,
    PeerAddress,
    RaftConfig,
)
from faultlab.raft import replacing

if TYPE_CHECKING:
    from conftest import Cluster

MakeCluster = Callable[..., "Cluster"]


def ended(cluster: "Cluster", index: int) -> int:
    """The exit code, once there is one; the member does not run any more."""
    code = cluster.processes.pop(index).wait(20)
    return int(code)


def lose_data(cluster: "Cluster", index: int) -> None:
    cluster.kill(index)
    shutil.rmtree(cluster.data_dir(index))


def test_an_emptied_directory_of_a_cluster_that_serves_is_refused(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    cluster.leader()
    cluster.settings["initialState"] = "existing"
    lose_data(cluster, 2)
    cluster.start(2)
    assert ended(cluster, 2) == 65
    assert "must not come back under this id" in cluster.log_text(2)


def test_one_that_slips_through_is_refused_by_its_peers_by_its_uuid(make_cluster: MakeCluster) -> None:
    """Second line: the configuration file still says that the cluster is new."""
    cluster = make_cluster(3)
    cluster.leader()
    assert "set initialState to existing" in cluster.log_text(2)
    lose_data(cluster, 2)
    cluster.start(2)
    assert ended(cluster, 2) == 65
    assert "has lost its data" in cluster.log_text(2)


def test_peers_that_were_restarted_still_know_the_uuid(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    cluster.leader()
    with cluster.client(0) as client:
        assert client.ask("SET", "k", "v") == b"OK"
    lose_data(cluster, 2)
    for index in (0, 1):
        cluster.kill(index)
        cluster.start(index)
    cluster.start(2)
    assert ended(cluster, 2) == 65


def test_a_replaced_member_joins_as_a_learner_and_gets_its_vote(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3, snapshotLogBytes=100_000)
    cluster.leader()
    with cluster.writers([0, 1]) as writers:
        writers.wait_for_more(200)
        lose_data(cluster, 2)
        cluster.settings["initialState"] = "existing"
        cluster.change_members(range(3), replace=["demo-2"])
        writers.wait_for_more(200)
    assert cluster.ids[2].startswith("demo-2#")
    status = cluster.status(2)
    assert status["id"] == cluster.ids[2]
    assert {"name": "demo-2", "id": cluster.ids[2]} in status["configuration"]["voters"]
    cluster.kill(0)
    leader = cluster.leader()  # it counts: the other one of three is gone
    with cluster.client(leader) as client:
        assert writers.lost(client) == []


def test_by_hand_a_member_replaces_itself_and_restarts_under_its_new_id(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    cluster.leader()
    with cluster.client(0) as client:
        assert client.ask("SET", "k", "v") == b"OK"
    lose_data(cluster, 2)
    cluster.start(2, arguments=("--replace",))

    def votes() -> bool:
        found = [m["id"] for m in cluster.status(0)["configuration"]["voters"] if m["name"] == "demo-2"]
        return bool(found) and found[0].startswith("demo-2#")

    cluster.wait_for("the new id votes", votes)
    new_id = cluster.wait_for("its status", lambda: cluster.status(2)["id"])
    cluster.kill(2)
    cluster.start(2)  # with the same configuration file, which names no id
    cluster.leader()
    assert cluster.status(2)["id"] == new_id
    with cluster.client(2) as client:
        assert client.ask("GET", "k") == b"v"


def test_an_id_counts_only_once_it_cannot_be_lost_with_its_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    members = tuple(PeerAddress(name, name) for name in "abc")

    def reply(member_id: str, committed: bool) -> MembershipReply:
        configuration = ConfigurationStatus(1, (), (), (MemberIdentity("c", member_id),))
        return MembershipReply(False, configuration, "c to catch up", committed)

    replies = [reply("c", True), reply("c#17", False), None, reply("c#21", True)]
    cluster = replacing._Cluster(RaftConfig(cluster="t", members=members), "c")
    monkeypatch.setattr(replacing, "_RETRY_S", 0)
    monkeypatch.setattr(cluster, "_ask", lambda _request: replies.pop(0))
    assert cluster.ask_until_new(MembershipRequest(members, ("c",)), ["c"]) == {"c": "c#21"}


def test_without_a_majority_of_the_others_nobody_is_replaced(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    cluster.leader()
    lose_data(cluster, 2)
    cluster.kill(1)
    cluster.wait_for("the leader steps down", lambda: cluster.status(0)["role"] != "leader")
    program = (
        "import faultlab.raft.replacing as r; r._PATIENCE_S = 1.0\nfrom faultlab.node import main; main()"
    )
    cluster.config_path(2).write_text(cluster.config_path(0).read_text().replace("data-0", "data-2"))
    done = subprocess.run(
        [
            *(cluster.program[:-1]),
            program,
            "raft",
            "--config",
            str(cluster.config_path(2)),
            "--member",
            "demo-2",
            "--replace",
        ],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 1
    assert "a majority of the other members" in done.stderr
    assert not cluster.data_dir(2).exists()


@pytest.mark.parametrize("rule", [None, "reviveEmpty"])
def test_what_the_shortcut_would_lose(make_cluster: MakeCluster, rule: str | None) -> None:
    """An entry that two of three acknowledged is gone once one of the two comes back empty and makes a
    majority with the third, which never had it. With the guard the cluster stands still instead."""
    cluster = make_cluster(3, **({"breakRule": rule} if rule else {}))
    leader = cluster.leader()
    cluster.settings["initialState"] = "existing"
    behind, loses = [index for index in range(3) if index != leader]
    cluster.kill(behind)
    with cluster.client(leader) as client:
        assert client.ask("SET", "k", "acknowledged") == b"OK"
    cluster.kill(leader)
    lose_data(cluster, loses)
    cluster.start(behind, loses)
    if rule is None:
        assert ended(cluster, loses) == 65
        cluster.start(leader)
        assert cluster.leader() == leader
        with cluster.client(behind) as client:
            assert client.ask("GET", "k") == b"acknowledged"
    else:
        assert cluster.leader() in (behind, loses)
        with cluster.client(behind) as client:
            assert client.ask("GET", "k") is None
