"""A RaftCluster from its manifest to its status, on the embedded API with members of the test's own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from faultlab.contract.member import PeerProgress

from .lab import NAMESPACE, Lab, running_lab


@pytest.fixture
async def lab(members: list[Any]) -> AsyncIterator[Lab]:
    async with running_lab(members) as made:
        yield made


def elect(members: list[Any], leader: int, term: int) -> None:
    """All members follow `leader`, and tell of it."""
    for index, member in enumerate(members):
        member.term, member.leader, member.ready = term, members[leader].name, True
        member.role = "leader" if index == leader else "follower"
        member.peers = {}
    members[leader].peers = {
        member.name: PeerProgress(1, 0, "replicate") for member in members if member is not members[leader]
    }
    members[leader].say("LeaderElected")


async def ready(lab: Lab, until: Any) -> None:
    await until(lambda: lab.condition("RaftCluster", "demo", "Ready").get("status") == "True")


async def test_a_cluster_becomes_ready_and_says_who_leads(lab: Lab, members: list[Any], until: Any) -> None:
    elect(members, 1, 4)
    lab.apply("RaftCluster", "demo", {"replicas": 3})
    await ready(lab, until)
    cluster = lab.get("RaftCluster", "demo")
    assert cluster is not None
    status = cluster["status"]
    assert (status["leader"], status["term"], status["readyMembers"]) == ("demo-1", 4, "3/3")
    assert (status["replicas"], status["readyReplicas"], status["observedGeneration"]) == (3, 3, 1)
    assert [member["role"] for member in status["members"]] == ["follower", "leader", "follower"]
    assert lab.condition("RaftCluster", "demo", "Available")["status"] == "True"
    assert lab.condition("RaftCluster", "demo", "Progressing")["reason"] == "Complete"


async def test_the_operator_leaves_no_finalizer_and_no_annotation(
    lab: Lab, members: list[Any], until: Any
) -> None:
    elect(members, 0, 1)
    lab.apply("RaftCluster", "demo", {})
    await ready(lab, until)
    for kind in ("RaftCluster", "StatefulSet", "Service", "PodDisruptionBudget"):
        found = lab.get(kind, "demo")
        assert found is not None, kind
        assert not found["metadata"].get("finalizers"), kind
        assert not found["metadata"].get("annotations"), kind
    assert lab.get("ConfigMap", "demo-config") is not None


async def test_a_settled_cluster_is_not_written_to(lab: Lab, members: list[Any], until: Any) -> None:
    elect(members, 0, 1)
    lab.apply("RaftCluster", "demo", {})
    await ready(lab, until)
    await until(lambda: lab.condition("RaftCluster", "demo", "Progressing").get("reason") == "Complete")
    before = lab.get("RaftCluster", "demo")
    polls = members[0].polls
    members[0].say("Applied", index=100, digest="x")
    with lab.services.members.hurried(NAMESPACE, "demo"):
        await until(lambda: members[0].polls >= polls + 3)
    assert lab.get("RaftCluster", "demo") == before


async def test_a_new_leader_is_in_the_status_and_in_an_event_within_a_second(
    lab: Lab, members: list[Any], until: Any
) -> None:
    elect(members, 0, 1)
    lab.apply("RaftCluster", "demo", {})
    await ready(lab, until)
    members[1].say("LeaderLost", detail="no heartbeat")
    members[2].say("LeaderLost", detail="no heartbeat")
    elect(members, 2, 2)
    await until(
        lambda: (lab.get("RaftCluster", "demo") or {})["status"].get("leader") == "demo-2", within_s=1.0
    )
    await until(lambda: ("LeaderElected", "demo-2 leads term 2") in lab.events("demo"))
    lost = [message for reason, message in lab.events("demo") if reason == "LeaderLost"]
    assert len(lost) == 1, "each follower notices, and it is told once"
    assert "term 1" in lost[0]


async def test_a_leader_that_hands_over_is_in_an_event(lab: Lab, members: list[Any], until: Any) -> None:
    elect(members, 0, 1)
    lab.apply("RaftCluster", "demo", {})
    await ready(lab, until)
    members[0].say("LeadershipTransfer", leader="demo-1", detail="begun")
    await until(lambda: ("LeadershipTransfer", "demo-0 hands over to demo-1 (begun)") in lab.events("demo"))


async def test_elections_before_the_operator_started_are_not_told_again(
    lab: Lab, members: list[Any], until: Any
) -> None:
    elect(members, 0, 7)
    members[0].say("LeaderElected", term=3, wall_time="2020-01-01T00:00:00.000000Z")
    lab.apply("RaftCluster", "demo", {})
    await until(lambda: ("LeaderElected", "demo-0 leads term 7") in lab.events("demo"))
    assert ("LeaderElected", "demo-0 leads term 3") not in lab.events("demo")


async def test_members_that_are_cut_off_are_named(lab: Lab, members: list[Any], until: Any) -> None:
    elect(members, 0, 1)
    lab.apply("RaftCluster", "demo", {})
    await ready(lab, until)
    members[2].ready, members[2].leader = False, None
    members[2].say("LeaderLost")
    await until(lambda: lab.condition("RaftCluster", "demo", "Ready").get("status") == "False")
    assert "demo-2" in lab.condition("RaftCluster", "demo", "Ready")["message"]
    assert lab.condition("RaftCluster", "demo", "Available")["status"] == "True"


async def test_a_spec_that_only_the_operator_can_refuse_is_refused_within_a_second(
    lab: Lab, members: list[Any], until: Any
) -> None:
    resources = {"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}}
    lab.apply("RaftCluster", "demo", {"resources": resources})
    await until(lambda: lab.condition("RaftCluster", "demo", "Ready"), within_s=1.0)
    condition = lab.condition("RaftCluster", "demo", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "InvalidSpec")
    assert "write a smaller request or a larger limit" in condition["message"]
    assert lab.get("StatefulSet", "demo") is None
    lab.apply("RaftCluster", "demo", {"resources": {"limits": {"memory": "2Gi"}}})
    elect(members, 0, 1)
    await ready(lab, until)


async def test_a_foreign_statefulset_of_the_same_name_is_left_alone(lab: Lab, until: Any) -> None:
    lab.registry.create(
        "statefulsets.apps",
        {
            "metadata": {
                "name": "demo",
                "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/managed-by": "faultlab"},
            },
            "spec": {
                "serviceName": "x",
                "replicas": 0,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
        },
    )
    lab.apply("RaftCluster", "demo", {})
    await until(lambda: lab.condition("RaftCluster", "demo", "Ready").get("reason") == "NameTaken")
    assert "another name" in lab.condition("RaftCluster", "demo", "Ready")["message"]
    assert lab.get("StatefulSet", "demo")["spec"]["replicas"] == 0  # type: ignore[index]


async def test_a_changed_setting_is_rolled_out_one_member_at_a_time_and_the_leader_last(
    lab: Lab, members: list[Any], until: Any
) -> None:
    elect(members, 1, 1)
    lab.apply("RaftCluster", "demo", {"electionTimeout": "500ms"})
    await ready(lab, until)
    lab.apply("RaftCluster", "demo", {"electionTimeout": "1s"})
    await until(lambda: len(lab.deleted_pods) >= 3, within_s=15)
    await until(lambda: lab.condition("RaftCluster", "demo", "Progressing").get("reason") == "Complete")
    assert lab.deleted_pods == ["demo-2", "demo-0", "demo-1"]


async def test_a_rollout_waits_for_a_member_that_is_behind(lab: Lab, members: list[Any], until: Any) -> None:
    elect(members, 0, 1)
    lab.apply("RaftCluster", "demo", {"electionTimeout": "500ms"})
    await ready(lab, until)
    members[0].peers = {**members[0].peers, "demo-1": PeerProgress(0, 0, "probe")}
    lab.apply("RaftCluster", "demo", {"electionTimeout": "1s"})
    await until(lambda: lab.condition("RaftCluster", "demo", "Progressing").get("reason") == "RollingOut")
    polls = members[0].polls
    with lab.services.members.hurried(NAMESPACE, "demo"):
        await until(lambda: members[0].polls > polls + 3)
    assert lab.deleted_pods == []
    elect(members, 0, 1)
    await until(lambda: lab.deleted_pods)


async def test_a_deleted_cluster_is_no_longer_followed(lab: Lab, members: list[Any], until: Any) -> None:
    elect(members, 0, 1)
    lab.apply("RaftCluster", "demo", {})
    await ready(lab, until)
    lab.registry.delete("raftclusters.faultlab.dev", NAMESPACE, "demo")
    await until(lambda: lab.services.members.statuses(NAMESPACE, "demo") == {})


async def test_a_child_that_somebody_deleted_comes_back(lab: Lab, members: list[Any], until: Any) -> None:
    elect(members, 0, 1)
    lab.apply("RaftCluster", "demo", {})
    await ready(lab, until)
    lab.registry.delete("statefulsets.apps", NAMESPACE, "demo")
    await until(lambda: lab.get("StatefulSet", "demo") is not None)


async def test_a_stateful_set_that_somebody_scaled_is_put_right_at_once(
    lab: Lab, members: list[Any], until: Any
) -> None:
    elect(members, 0, 1)
    lab.apply("RaftCluster", "demo", {})
    await ready(lab, until)
    lab.registry.patch("statefulsets.apps", NAMESPACE, "demo", {"spec": {"replicas": 1}})
    await until(lambda: (lab.get("StatefulSet", "demo") or {})["spec"]["replicas"] == 3, within_s=2)


async def test_the_members_run_the_specs_image_and_another_one_is_rolled_out(
    lab: Lab, members: list[Any], until: Any
) -> None:
    elect(members, 0, 1)
    lab.apply("RaftCluster", "demo", {"image": "faultlab/faultlab:one"})
    await ready(lab, until)
    image = lambda: lab.get("StatefulSet", "demo")["spec"]["template"]["spec"]["containers"][0]["image"]  # type: ignore[index] # noqa: E731
    assert image() == "faultlab/faultlab:one"
    lab.apply("RaftCluster", "demo", {"image": "faultlab/faultlab:two"})
    await until(lambda: len(lab.deleted_pods) >= 3, within_s=15)
    await until(lambda: lab.condition("RaftCluster", "demo", "RolledOut").get("status") == "True")
    assert image() == "faultlab/faultlab:two"
    assert sorted(lab.deleted_pods) == ["demo-0", "demo-1", "demo-2"]
    reasons = [reason for reason, _ in lab.events("demo")]
    assert reasons.count("MemberRestarted") == 3
    assert reasons.count("RolloutStarted") == 1
    await until(lambda: "RolledOut" in [reason for reason, _ in lab.events("demo")])


async def test_a_pod_that_is_not_ready_is_waited_for_by_the_rollout_and_by_the_clusters_ready(
    lab: Lab, members: list[Any], until: Any
) -> None:
    elect(members, 0, 1)
    lab.apply("RaftCluster", "demo", {"electionTimeout": "500ms"})
    await ready(lab, until)
    lab.set_pod_status("demo-1", {"conditions": [{"type": "Ready", "status": "False"}]})
    await until(lambda: lab.condition("RaftCluster", "demo", "Ready").get("reason") == "PodsNotReady")
    lab.set_pod_status("demo-2", {"conditions": [{"type": "Ready", "status": "False"}]})
    lab.apply("RaftCluster", "demo", {"electionTimeout": "1s"})
    await until(lambda: lab.condition("RaftCluster", "demo", "Progressing").get("reason") == "RollingOut")
    assert lab.deleted_pods == []
    for name in ("demo-1", "demo-2"):
        lab.set_pod_status(name, {"conditions": [{"type": "Ready", "status": "True"}]})
    await until(lambda: len(lab.deleted_pods) >= 3, within_s=15)
