"""Members come and go: what the leader is told, what pods, volumes and the status become. The protocol is a
fake; the API server is the embedded one."""

import hashlib
import hmac
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from faultlab.contract.member import EXIT_DATA

from .conftest import started
from .lab import NAMESPACE, WELL, Lab, running_lab
from .raft import FakeRaft

COMMIT_LACKS = 3880
"""Entries; of 4,000."""


@pytest.fixture
async def five() -> AsyncIterator[list[Any]]:
    async with started(5) as made:
        yield made


@pytest.fixture
async def lab(five: list[Any]) -> AsyncIterator[Lab]:
    async with running_lab(five) as made:
        yield made


def settled(lab: Lab) -> dict[str, Any]:
    return lab.condition("RaftCluster", "demo", "MembershipSettled")


def is_ready(lab: Lab) -> bool:
    return lab.condition("RaftCluster", "demo", "Ready").get("status") == "True"


async def begin(lab: Lab, until: Any, replicas: int) -> None:
    lab.apply("RaftCluster", "demo", {"replicas": replicas})
    await until(lambda: is_ready(lab) and settled(lab).get("status") == "True")


def scale(lab: Lab, replicas: int) -> None:
    lab.registry.patch("raftclusters.faultlab.dev", NAMESPACE, "demo", {"spec": {"replicas": replicas}})


def config(lab: Lab) -> dict[str, Any]:
    found = lab.get("ConfigMap", "demo-config")
    assert found is not None
    made: dict[str, Any] = json.loads(found["data"]["config.json"])
    return made


def ids(lab: Lab) -> dict[str, str | None]:
    return {member["name"]: member["id"] for member in config(lab)["members"]}


def pods_wanted(lab: Lab) -> int:
    found = lab.get("StatefulSet", "demo")
    assert found is not None
    return int(found["spec"]["replicas"])


def claims(lab: Lab) -> list[str]:
    return sorted(each["metadata"]["name"] for each in lab.registry.list("persistentvolumeclaims", NAMESPACE))


def messages(lab: Lab, reason: str) -> list[str]:
    return [message for each, message in lab.events("demo") if each == reason]


def refuse(lab: Lab, pod: str, code: int = EXIT_DATA) -> None:
    """Its process ended so, and is not started again at once."""
    ended = {
        "exitCode": code,
        "reason": "Error",
        "message": "starting\nthe log is damaged",
        "startedAt": None,
    }
    container = {
        **WELL["containerStatuses"][0],
        "ready": False,
        "restartCount": 1,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": ended},
    }
    status = {"conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [container]}
    lab.set_pod_status(pod, status)


async def test_more_members_join_as_learners_and_vote_once_they_have_caught_up(
    lab: Lab, five: list[Any], until: Any
) -> None:
    raft = FakeRaft(five, 3)
    raft.behind = {"demo-3": COMMIT_LACKS, "demo-4": 0}
    await begin(lab, until, 3)
    scale(lab, 5)
    await until(lambda: pods_wanted(lab) == 5)
    assert ids(lab) == {
        "demo-0": None, "demo-1": None, "demo-2": None, "demo-3": "demo-3#1", "demo-4": "demo-4#1"
    }  # fmt: skip
    assert config(lab)["initialState"] == "existing"
    await until(lambda: "120 of 4,000 entries" in settled(lab).get("message", ""))
    assert settled(lab)["reason"] == "ScalingUp"
    assert "demo-3 (as demo-3#1) has joined as a learner" in settled(lab)["message"]
    assert lab.condition("RaftCluster", "demo", "Ready")["status"] == "False"
    assert lab.condition("RaftCluster", "demo", "Available")["status"] == "True"
    assert lab.get("PodDisruptionBudget", "demo")["spec"]["maxUnavailable"] == 1  # type: ignore[index]
    status = lab.get("RaftCluster", "demo")["status"]  # type: ignore[index]
    assert (status["voters"], status["learners"], status["configuration"]["joint"]) == (3, 2, False)
    assert {member["name"]: member["part"] for member in status["members"]}["demo-4"] == "joining"

    raft.behind = {}
    await until(lambda: settled(lab).get("status") == "True" and is_ready(lab))
    assert lab.get("PodDisruptionBudget", "demo")["spec"]["maxUnavailable"] == 2  # type: ignore[index]
    status = lab.get("RaftCluster", "demo")["status"]  # type: ignore[index]
    assert (status["voters"], status["readyMembers"]) == (5, "5/5")
    assert {member["id"] for member in status["members"]} >= {"demo-0", "demo-4#1"}
    assert lab.deleted_pods == [], "nobody is restarted by it"
    assert any("has joined as a learner" in message for message in messages(lab, "ScalingUp"))
    await until(lambda: any("5 members decide" in text for text in messages(lab, "MembershipChanged")))


async def test_no_pod_is_made_under_an_id_that_may_be_lost_with_its_leader(
    lab: Lab, five: list[Any], until: Any
) -> None:
    raft = FakeRaft(five, 3)
    await begin(lab, until, 3)
    raft.decides = False
    scale(lab, 5)
    await until(lambda: len(raft.orders) >= 2)
    assert set(ids(lab).values()) == {None}
    assert pods_wanted(lab) == 3
    raft.decides = True
    await until(lambda: pods_wanted(lab) == 5)
    assert ids(lab)["demo-4"] == "demo-4#1"


async def test_pods_go_only_once_their_members_have_no_part_and_their_volumes_go_with_them(
    lab: Lab, five: list[Any], until: Any
) -> None:
    raft = FakeRaft(five, 5)
    raft.lead("demo-4")
    await begin(lab, until, 5)
    raft.outgoing = list(raft.voters)  # the leader is busy: its configuration must be left first
    fewest = []
    lab.services.cache.listen(
        lambda key, _before, now: (
            fewest.append((now["spec"]["replicas"], list(raft.outgoing), raft.voters))
            if key.kind == "StatefulSet" and now is not None
            else None
        )
    )
    scale(lab, 3)
    await until(lambda: settled(lab).get("status") == "True" and pods_wanted(lab) == 3, within_s=15)
    await until(lambda: claims(lab) == ["data-demo-0", "data-demo-1", "data-demo-2"])
    assert raft.leader == "demo-0", "the leader that is to go has handed over"
    assert all(voters == ["demo-0", "demo-1", "demo-2"] for count, _, voters in fewest if count < 5)
    assert lab.get("PodDisruptionBudget", "demo")["spec"]["maxUnavailable"] == 1  # type: ignore[index]
    assert "removed: demo-3, demo-4" in messages(lab, "MembershipChanged")[-1]
    assert lab.deleted_pods == []
    await until(lambda: is_ready(lab))


async def test_members_that_a_cut_off_leader_believes_to_be_gone_keep_their_pods(
    lab: Lab, five: list[Any], until: Any
) -> None:
    raft = FakeRaft(five, 5)
    await begin(lab, until, 5)
    for member in five[1:]:  # only the leader itself is of that opinion
        member.take_order = lambda _path, _body: (500, {})
    raft.show = lambda: None  # type: ignore[method-assign]
    five[0].take_order = lambda _path, _body: (500, {"error": "busy"})
    believed = five[0].configuration
    assert believed is not None
    five[0].configuration = type(believed)(9, believed.voters[:3])
    five[0].say("ConfigurationChanged")
    scale(lab, 3)
    await until(lambda: settled(lab).get("reason") == "ScalingDown")
    polls = five[0].polls
    await until(lambda: five[0].polls > polls + 3)
    assert pods_wanted(lab) == 5
    assert len(claims(lab)) == 5


async def test_orders_carry_the_proof_of_the_clusters_key_which_is_made_once(
    lab: Lab, five: list[Any], until: Any
) -> None:
    FakeRaft(five, 3)
    await begin(lab, until, 3)
    secret = lab.get("Secret", "demo-peers")
    assert secret is not None
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("RaftCluster", "demo")
    scale(lab, 5)
    await until(lambda: settled(lab).get("status") == "True" and pods_wanted(lab) == 5)
    key = b64decode(secret["data"]["key"])
    proof = hmac.new(key, b"admin demo", hashlib.sha256).hexdigest()
    assert set(five[0].proofs) == {proof}
    assert lab.get("Secret", "demo-peers") == secret


async def test_a_secret_without_a_key_is_told_and_never_overwritten(
    lab: Lab, five: list[Any], until: Any
) -> None:
    FakeRaft(five, 3)
    empty = {"metadata": {"name": "demo-peers", "namespace": NAMESPACE}, "type": "Opaque"}
    lab.registry.create("secrets", empty)
    lab.apply("RaftCluster", "demo", {})
    await until(lambda: lab.condition("RaftCluster", "demo", "Ready").get("reason") == "KeyUnusable")
    assert "delete secret demo-peers" in lab.condition("RaftCluster", "demo", "Ready")["message"]
    assert lab.get("StatefulSet", "demo") is None
    lab.registry.delete("secrets", NAMESPACE, "demo-peers")
    await until(lambda: is_ready(lab))


async def test_a_cluster_that_never_started_begins_with_the_size_that_it_was_made_with(
    lab: Lab, five: list[Any], until: Any
) -> None:
    raft = FakeRaft(five, 3)
    five[2].ready = False
    lab.apply("RaftCluster", "demo", {"replicas": 3})
    status = lambda: (lab.get("RaftCluster", "demo") or {}).get("status") or {}  # noqa: E731
    await until(lambda: status().get("configuration"))
    scale(lab, 5)
    await until(lambda: "must all have been ready once" in settled(lab).get("message", ""))
    assert (pods_wanted(lab), len(config(lab)["members"]), raft.orders) == (3, 3, [])
    assert config(lab)["initialState"] == "new"
    five[2].ready = True
    five[2].say("LeaderKnown")
    await until(lambda: settled(lab).get("status") == "True" and pods_wanted(lab) == 5)


async def test_that_a_cluster_has_served_stays_known(lab: Lab, five: list[Any], until: Any) -> None:
    FakeRaft(five, 3)
    await begin(lab, until, 3)
    await until(lambda: config(lab)["initialState"] == "existing")
    for member in five[:3]:
        member.ready, member.leader, member.role = False, None, "follower"
        member.say("LeaderLost")
    await until(lambda: not is_ready(lab))
    assert lab.condition("RaftCluster", "demo", "Initialized")["status"] == "True"
    assert config(lab)["initialState"] == "existing"
    assert lab.deleted_pods == []


async def test_without_a_leader_the_members_stay_as_they_are_and_go_on_when_there_is_one(
    lab: Lab, five: list[Any], until: Any
) -> None:
    raft = FakeRaft(five, 3)
    await begin(lab, until, 3)
    for member in five[:3]:
        member.ready, member.leader, member.role = False, None, "preCandidate"
        member.say("LeaderLost")
    await until(lambda: not is_ready(lab))
    scale(lab, 5)
    await until(lambda: "no leader has a majority" in settled(lab).get("message", ""))
    assert (pods_wanted(lab), raft.orders) == (3, [])
    raft.lead("demo-1")
    await until(lambda: settled(lab).get("status") == "True" and pods_wanted(lab) == 5)


@pytest.mark.parametrize("lost", ["demo-1", "demo-2"])
async def test_a_member_that_lost_its_data_is_replaced_under_a_new_id(
    lab: Lab, five: list[Any], until: Any, lost: str
) -> None:
    raft = FakeRaft(five, 3)
    raft.behind = {lost: COMMIT_LACKS}
    await begin(lab, until, 3)
    sizes = set()
    lab.services.cache.listen(
        lambda key, _before, now: (
            sizes.add(now["spec"]["replicas"]) if key.kind == "StatefulSet" and now is not None else None
        )
    )
    raft.members[lost].ready = False
    refuse(lab, lost)
    await until(lambda: lab.deleted_pods == [lost])
    assert ids(lab)[lost] == raft.learners[0]
    assert raft.orders[0].replace == (lost,)
    await until(
        lambda: settled(lab).get("reason") == "Replacing" and "120 of 4,000" in settled(lab)["message"]
    )
    raft.behind = {}
    await until(lambda: settled(lab).get("status") == "True" and is_ready(lab))
    assert lab.deleted_pods == [lost], "once"
    assert raft.voters[-1] == f"{lost}#2"
    assert sizes <= {3}, "the pods' number stays, whoever is in the configuration for a moment"
    assert any("the log is damaged" in message for message in messages(lab, "Replacing"))
    await until(lambda: any(f"new: {lost}#2" in text for text in messages(lab, "MembershipChanged")))


async def test_only_one_is_replaced_at_a_time_and_none_without_a_majority_of_the_others(
    lab: Lab, five: list[Any], until: Any
) -> None:
    raft = FakeRaft(five, 3)
    await begin(lab, until, 3)
    for name in ("demo-1", "demo-2"):
        member = raft.members[name]
        member.ready, member.leader = False, None
        refuse(lab, name)
    await until(lambda: settled(lab).get("reason") == "ReplacementBlocked")
    assert "no majority" in settled(lab)["message"]
    await until(lambda: messages(lab, "ReplacementBlocked"))
    polls = five[0].polls
    await until(lambda: five[0].polls > polls + 3)
    assert (raft.orders, lab.deleted_pods) == ([], [])


async def test_a_member_that_fell_for_another_reason_is_not_replaced(
    lab: Lab, five: list[Any], until: Any
) -> None:
    raft = FakeRaft(five, 3)
    await begin(lab, until, 3)
    refuse(lab, "demo-1", code=1)
    await until(lambda: not is_ready(lab))
    polls = five[0].polls
    with lab.services.members.hurried(NAMESPACE, "demo"):
        await until(lambda: five[0].polls > polls + 3)
    assert (raft.orders, lab.deleted_pods) == ([], [])


async def test_a_replacement_goes_on_where_an_operator_left_it(lab: Lab, five: list[Any], until: Any) -> None:
    raft = FakeRaft(five, 3)
    await begin(lab, until, 3)
    refused_as = {"metadata": {"annotations": {"faultlab.dev/refused-as": "demo-1"}}}
    lab.registry.patch("pods", NAMESPACE, "demo-1", refused_as)
    raft.voters, raft.learners, raft.index = ["demo-0", "demo-2"], ["demo-1#2"], 2
    raft.show()
    refuse(lab, "demo-1")
    await until(lambda: lab.deleted_pods == ["demo-1"])
    await until(lambda: settled(lab).get("status") == "True" and is_ready(lab))
    assert all(not order.replace for order in raft.orders), "it was taken out already"
    assert ids(lab)["demo-1"] == "demo-1#2"


async def test_a_rollout_has_the_leader_hand_over_before_it_is_restarted(
    lab: Lab, five: list[Any], until: Any
) -> None:
    raft = FakeRaft(five, 3)
    await begin(lab, until, 3)
    lab.apply(
        "RaftCluster", "demo", {"replicas": 3, "electionTimeout": "1s", "leaderPriority": {"demo-1": 9}}
    )
    await until(lambda: len(lab.deleted_pods) == 3)
    assert lab.deleted_pods[-1] == "demo-0"
    assert raft.transfers == ["demo-1"], "to an updated member, of the highest priority"
    assert any("after demo-1 has taken over" in text for text in messages(lab, "MemberRestarted"))


async def test_a_leader_that_does_not_hand_over_is_restarted_all_the_same(
    lab: Lab, five: list[Any], until: Any
) -> None:
    raft = FakeRaft(five, 3)
    raft.refuses_to_transfer = True
    await begin(lab, until, 3)
    lab.apply("RaftCluster", "demo", {"replicas": 3, "electionTimeout": "1s"})
    await until(lambda: len(lab.deleted_pods) == 3)
    assert lab.deleted_pods[-1] == "demo-0"
    assert raft.transfers
    assert any("did not hand over" in text for text in messages(lab, "MemberRestarted"))
