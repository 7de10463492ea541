"""Who is believed, what is rendered, who is replaced: functions of what is known."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultlab.contract.member import EXIT_DATA, ConfigurationStatus, PeerProgress, RaftStatus
from faultlab.contract.run import MemberView
from faultlab_operator.api import Condition, RaftCluster, RaftClusterStatus
from faultlab_operator.membership.configuration import as_status, believed_leader, ids, is_confirmed
from faultlab_operator.membership.plan import number_of, rendered, request
from faultlab_operator.membership.refusals import next_refusal, replaced_pods
from faultlab_operator.membership.words import Outcome, membership_news, membership_said
from faultlab_operator.render.raftcluster import founding, member_names

from .conftest import configured

THREE, FIVE = member_names("demo", 3), member_names("demo", 5)


def cluster(replicas: int = 3, *, initialized: bool = True, began_with: int = 3) -> RaftCluster:
    made = RaftCluster.parse({"metadata": {"name": "demo"}, "spec": {"replicas": replicas}})
    made.status.initial_replicas = began_with
    if initialized:
        made.status.conditions = [Condition(type="Initialized", status="True", reason="x")]
    return made


def view(
    name: str,
    configuration: ConfigurationStatus | None,
    *,
    leader: str = "demo-0",
    term: int = 1,
    **more: Any,
) -> MemberView:
    status = RaftStatus(
        "raft", "demo", name, "leader" if name == leader else "follower", term, leader, 9, 9, 9, {}, "t", "t",
        ready=True, configuration=configuration,
    )  # fmt: skip
    return MemberView(name, more.pop("reachable", True), msgspec.structs.replace(status, **more))


def views(configuration: ConfigurationStatus, *changed: MemberView) -> dict[str, MemberView]:
    found = {name: view(name, configuration) for name in ids(configuration)}
    return found | {each.name: each for each in changed}


def pod(name: str, code: int | None = None, *, running: bool = False, refused_as: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "uid": f"{name}-uid"}
    if refused_as:
        metadata["annotations"] = {"faultlab.dev/refused-as": refused_as}
    container: dict[str, Any] = {"state": {"running": {}} if running else {"waiting": {"reason": "x"}}}
    if code is not None:
        container["lastState"] = {
            "terminated": {
                "exitCode": code,
                "message": "begin\n2026-01-01T00:00:00Z ERROR faultlab: damaged\n",
            }
        }
    return {"metadata": metadata, "status": {"containerStatuses": [container]}}


def test_a_leader_that_others_have_left_behind_is_not_believed() -> None:
    old = configured(0, THREE)
    assert believed_leader(views(old)) is not None
    later = view("demo-2", old, leader="demo-1", term=2)
    assert believed_leader(views(old, later)) is None
    newest = view("demo-1", configured(4, FIVE), leader="demo-1", term=2)
    found = believed_leader(views(old, later, newest))
    assert found is not None
    assert found.member == "demo-1"
    assert believed_leader({}) is None


@pytest.mark.parametrize(
    ("agreeing", "confirmed"), [(1, False), (2, True), (3, True)], ids=["alone", "a majority", "all"]
)
def test_a_smaller_configuration_counts_once_a_majority_of_it_knows_no_other(
    agreeing: int, confirmed: bool
) -> None:
    small, large = configured(9, THREE), configured(5, FIVE)
    seen = {name: view(name, small if number < agreeing else large) for number, name in enumerate(FIVE)}
    assert is_confirmed(seen, THREE) is confirmed


def test_a_configuration_that_is_not_committed_lets_nobody_be_deleted() -> None:
    small = configured(10, THREE)
    assert not is_confirmed(views(small), THREE), "commit index 9: a crash of all may take it back"
    assert is_confirmed(views(small, view("demo-0", small, commit_index=10)), THREE)


@pytest.mark.parametrize(
    "configuration",
    [configured(9, THREE, outgoing=FIVE), configured(9, THREE, learners=["demo-3#8"]), configured(9, FIVE)],
    ids=["joint", "with a learner", "of more"],
)
def test_nothing_is_confirmed_while_anything_is_under_way(configuration: ConfigurationStatus) -> None:
    assert not is_confirmed(views(configuration), THREE)


sets = st.sampled_from([1, 3, 5, 7, 9]).map(lambda count: list(member_names("demo", count)))


@given(sets, st.one_of(st.just([]), sets), st.integers(1, 9), st.booleans(), st.sampled_from([1, 3, 5]))
def test_pods_of_whoever_is_named_stay_and_evictions_cost_no_majority(
    voters: list[str], outgoing: list[str], pods_now: int, shrink: bool, wanted: int
) -> None:
    configuration = configured(7, voters, outgoing=outgoing)
    made = rendered(cluster(wanted), configuration, pods_now, shrink=shrink)
    assert made.pods >= max(len(voters), len(outgoing))
    assert shrink or made.pods >= pods_now
    assert {member.name for member in made.members} >= {*voters, *outgoing}
    for group in filter(None, (voters, outgoing)):
        assert (len(group) - made.spare) * 2 > len(group)


def test_the_last_one_keeps_its_pod_while_it_is_replaced() -> None:
    """Its name is in no configuration for a moment, just after one in which nobody else had a part."""
    assert rendered(cluster(), configured(5, ["demo-0", "demo-1"]), 3, shrink=True).pods == 3


def test_ids_are_written_for_those_that_joined_later_only() -> None:
    made = rendered(cluster(), configured(4, ["demo-0", "demo-1#3", "demo-2"]), 3, shrink=False)
    assert [member.id for member in made.members] == [None, "demo-1#3", None]
    assert made.initial_state == "existing"


def test_a_cluster_that_never_served_is_rendered_as_it_began_whatever_is_wanted_by_now() -> None:
    young = cluster(5, initialized=False)
    assert rendered(young, None, None, shrink=False) == founding(young, 3)
    assert rendered(young, configured(0, THREE), 3, shrink=True) == founding(young, 3)
    assert request(young, configured(0, THREE), None) is None
    smaller = request(cluster(1, initialized=False), configured(0, THREE), None)
    assert smaller is not None, "who never came may be taken out"


def test_what_is_as_wanted_is_not_ordered_again() -> None:
    assert request(cluster(), configured(0, THREE), None) is None
    order = request(cluster(), configured(3, FIVE), None)
    assert order is not None
    assert [member.name for member in order.members] == list(THREE)


def test_only_who_ended_for_want_of_its_data_and_does_not_run_is_replaced() -> None:
    configuration = configured(0, THREE)
    seen = views(configuration)
    for found in (
        pod("demo-1"),
        pod("demo-1", 1),
        pod("demo-1", 137),
        pod("demo-1", EXIT_DATA, running=True),
    ):
        assert next_refusal(configuration, [found], seen) is None
    silent = views(configuration, view("demo-1", None, reachable=False))
    again = next_refusal(configuration, [pod("demo-1", EXIT_DATA, running=True)], silent)
    assert again is not None
    assert (bool(again.blocked), again.queued) == (True, True), "it may be well this time"
    refusal = next_refusal(configuration, [pod("demo-1", EXIT_DATA)], seen)
    assert refusal is not None
    assert (refusal.name, refusal.id, refusal.why, refusal.blocked) == ("demo-1", "demo-1", "damaged", "")
    assert next_refusal(configuration, [pod("demo-7", EXIT_DATA)], seen) is None, "it is no member"


def test_the_second_waits_until_the_first_has_its_vote_again() -> None:
    configuration = configured(4, ["demo-0", *FIVE[2:]], learners=["demo-1#3"])
    seen = views(configuration)
    refusal = next_refusal(configuration, [pod("demo-2", EXIT_DATA)], seen)
    assert refusal is not None
    assert "demo-1 first" in refusal.blocked
    said = membership_said(cluster(5), outcome(configuration, refusal=refusal))
    assert said[1] == "Replacing"
    assert "demo-1 (as demo-1#3) has joined as a learner" in said[2]
    before = configured(0, FIVE)
    both = [pod("demo-1", EXIT_DATA), pod("demo-2", EXIT_DATA, refused_as="demo-2")]
    begun = next_refusal(before, both, views(before))
    assert begun is not None
    assert (begun.name, begun.noted) == ("demo-2", True), "what was begun goes on"


@pytest.mark.parametrize(("lost", "blocked"), [(["demo-1"], False), (["demo-1", "demo-2"], True)])
def test_nobody_is_replaced_unless_the_others_are_a_majority(lost: list[str], blocked: bool) -> None:
    configuration = configured(0, THREE)
    seen = views(configuration, *(view(name, None, reachable=False) for name in lost))
    refusal = next_refusal(configuration, [pod(name, EXIT_DATA) for name in lost], seen)
    assert refusal is not None
    assert bool(refusal.blocked) is blocked
    again = next_refusal(configuration, [pod(name, EXIT_DATA, running=True) for name in lost], seen)
    assert again is not None
    assert not blocked or again.blocked == refusal.blocked, "whether it is tried once more or not"


def test_a_pod_is_ended_once_its_name_has_another_id() -> None:
    old = [pod("demo-1", EXIT_DATA, refused_as="demo-1")]
    assert replaced_pods(configured(0, THREE), old) == []
    assert replaced_pods(configured(1, ["demo-0", "demo-2"]), old) == [], "it has none yet"
    after = configured(2, ["demo-0", "demo-2"], learners=["demo-1#2"])
    assert replaced_pods(after, old) == old
    assert next_refusal(after, old, views(after)) is None, "its id is out already"
    assert replaced_pods(after, [pod("demo-1", EXIT_DATA)]) == [], "one made anew is another"


def outcome(configuration: ConfigurationStatus, **more: Any) -> Outcome:
    leader = view("demo-0", configuration, commit_index=4000, peers=more.pop("peers", {})).status
    pods = more.pop("pods", len(ids(configuration)))
    membership = rendered(cluster(), configuration, pods, shrink=False)
    return Outcome(configuration, leader, membership, **more)


def test_the_condition_says_how_far_it_is() -> None:
    learning = configured(4, THREE, learners=["demo-3#4", "demo-4#4"])
    peers = {"demo-3": PeerProgress(120, 0, "replicate", learner=True)}
    status, reason, message = membership_said(cluster(5), outcome(learning, peers=peers))
    assert (status, reason) == (False, "ScalingUp")
    assert "demo-3 (as demo-3#4) has joined as a learner, 120 of 4,000 entries" in message
    assert "demo-4 (as demo-4#4) has joined as a learner" in message
    leaving = configured(6, THREE, outgoing=FIVE)
    assert membership_said(cluster(3), outcome(leaving))[1:] == ("ScalingDown", "demo-3, demo-4 are to go")
    gone = membership_said(cluster(3), outcome(configured(7, THREE), pods=5))
    assert gone[:2] == (False, "ScalingDown")
    assert "2 pods are not needed any more" in gone[2]
    assert membership_said(cluster(3), outcome(configured(7, THREE)))[0] is True


def told(configuration: ConfigurationStatus, reason: str) -> RaftClusterStatus:
    condition = Condition(type="MembershipSettled", status="False", reason=reason, message=reason)
    return RaftClusterStatus(conditions=[condition], configuration=as_status(configuration))


def test_events_tell_each_step_once() -> None:
    steps = [
        told(configured(0, THREE), "AllMembersVote"),
        told(configured(4, THREE, learners=["demo-3#4", "demo-4#4"]), "ScalingUp"),
        told(configured(4, THREE, learners=["demo-3#4", "demo-4#4"]), "ScalingUp"),
        told(configured(6, [*THREE, "demo-3#4", "demo-4#4"], outgoing=THREE), "ScalingUp"),
        told(configured(7, [*THREE, "demo-3#4", "demo-4#4"]), "AllMembersVote"),
        told(configured(7, [*THREE, "demo-3#4", "demo-4#4"]), "AllMembersVote"),
    ]
    news = [each.reason for before, after in pairwise(steps) for each in membership_news(before, after)]
    assert news == ["ScalingUp", "MembershipChanged"]
    assert membership_news(RaftClusterStatus(), steps[0]) == [], "a first leader is no news"


@pytest.mark.parametrize(
    ("name", "number"), [("demo-0", 0), ("demo-11", 11), ("other-1", -1), ("demo-x", -1), ("demo", -1)]
)
def test_a_members_number_is_told_by_its_name(name: str, number: int) -> None:
    assert number_of(cluster(), name) == number
