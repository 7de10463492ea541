"""Rollouts: who is restarted next, and what the status says of it. Functions of their inputs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultlab.contract.member import PeerProgress, RaftStatus
from faultlab.contract.run import MemberView
from faultlab_operator.api import RaftCluster, RaftClusterStatus
from faultlab_operator.core import rfc3339
from faultlab_operator.handlers.raftstatus import (
    STUCK_AFTER_S,
    cluster_status,
    is_rolled_out,
    rollout_news,
)
from faultlab_operator.handlers.rollout import CLOSE, Member, look, next_to_restart
from faultlab_operator.members.summary import summarise
from faultlab_operator.membership import Outcome
from faultlab_operator.render.raftcluster import founding

from .conftest import configured

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("demo-0", "demo-1", "demo-2")
LEADER = "demo-0"
NEW, OLD = "new", "old"
COMMIT = 5000
RUNNING = {"state": {"running": {}}}
IMAGE_PULL = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}


def pod(
    name: str,
    template: str = OLD,
    *,
    ready: bool = True,
    going: bool = False,
    container: dict[str, Any] | None = RUNNING,
    age_s: float = 10,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "uid": f"{name}-{template}",
        "annotations": {"faultlab.dev/config-hash": template},
        "creationTimestamp": rfc3339(NOW - timedelta(seconds=age_s)),
    }
    if going:
        metadata["deletionTimestamp"] = rfc3339(NOW)
    status: dict[str, Any] = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    if container is not None:
        status["containerStatuses"] = [container]
    return {"metadata": metadata, "status": status}


def view(
    name: str, *, reachable: bool = True, ready: bool = True, leader: str | None = LEADER, behind: int = 0
) -> MemberView:
    """The member `demo-0` leads; `behind` is how far the leader knows `demo-1` to be."""
    role = "leader" if name == leader else "follower"
    peers = {
        "demo-1": PeerProgress(COMMIT - behind, 0, "replicate"),
        "demo-2": PeerProgress(COMMIT, 0, "replicate"),
    }
    status = RaftStatus(
        "raft",
        "demo",
        name,
        role,  # type: ignore[arg-type]
        1,
        leader,
        COMMIT,
        COMMIT,
        COMMIT,
        peers if role == "leader" else {},
        "t",
        "t",
        ready,
    )
    return MemberView(name=name, reachable=reachable, status=status)


def views(*changed: MemberView) -> dict[str, MemberView]:
    return {name: view(name) for name in NAMES} | {one.name: one for one in changed}


def pods(*changed: dict[str, Any], template: str = OLD) -> list[dict[str, Any]]:
    found = {name: pod(name, template) for name in NAMES} | {one["metadata"]["name"]: one for one in changed}
    return list(found.values())


def turn(found: list[dict[str, Any]], seen: dict[str, MemberView]) -> str | None:
    member = next_to_restart(look(NAMES, found, NEW, seen), summarise(seen).leader)
    return None if member is None else member.name


def test_followers_first_and_the_leader_last() -> None:
    assert turn(pods(), views()) == "demo-2"
    assert turn(pods(pod("demo-2", NEW)), views()) == "demo-1"
    assert turn(pods(pod("demo-2", NEW), pod("demo-1", NEW)), views()) == LEADER
    assert turn(pods(template=NEW), views()) is None


@pytest.mark.parametrize(
    ("found", "seen"),
    [
        (pods(pod("demo-2", NEW, ready=False)), views()),
        (pods(pod("demo-2", NEW, container=None, ready=False)), views(view("demo-2", reachable=False))),
        (pods(pod("demo-2", going=True)), views()),
        (pods()[:2], views()),
        (pods(pod("demo-2", NEW)), views(view("demo-2", reachable=False))),
        (pods(pod("demo-2", NEW)), views(view("demo-2", ready=False))),
        (pods(pod("demo-2", NEW)), views(view("demo-2", leader="demo-1"))),
        (pods(pod("demo-1", NEW)), views(view(LEADER, behind=CLOSE + 1))),
        (pods(), views(*(view(name, leader=None) for name in NAMES))),
        (pods(pod("demo-2", NEW, ready=False, container=IMAGE_PULL)), views(view("demo-2", reachable=False))),
    ],
    ids=[
        "a pod is not Ready",
        "a pod is starting",
        "a pod is being ended",
        "a pod is missing",
        "one does not answer",
        "one knows no leader",
        "one follows another",
        "one is behind",
        "no leader",
        "the new template does not start",
    ],
)
def test_nobody_is_restarted_while_another_is_missing(
    found: list[dict[str, Any]], seen: dict[str, MemberView]
) -> None:
    assert turn(found, seen) is None


def test_a_member_that_is_nearly_there_has_caught_up() -> None:
    assert turn(pods(pod("demo-1", NEW)), views(view(LEADER, behind=CLOSE))) == "demo-2"


def test_the_pod_of_a_wrong_template_is_replaced_although_it_is_not_well() -> None:
    stuck = pod("demo-2", "wrong", ready=False, container=IMAGE_PULL)
    assert turn(pods(stuck), views(view("demo-2", reachable=False))) == "demo-2"


def test_the_same_holds_when_it_runs_and_never_becomes_ready() -> None:
    useless = pod("demo-2", "wrong", ready=False)
    assert turn(pods(useless), views(view("demo-2", ready=False))) == "demo-2"


def test_all_of_a_cluster_that_never_started_are_replaced_one_after_the_other() -> None:
    stuck = [pod(name, "wrong", ready=False, container=IMAGE_PULL) for name in NAMES]
    silent = views(*(view(name, reachable=False) for name in NAMES))
    assert turn(stuck, silent) == "demo-2"
    assert turn([stuck[0], stuck[1], pod("demo-2", NEW, ready=False, container=None)], silent) == "demo-1"


def test_all_of_a_cluster_that_runs_and_never_served_are_replaced() -> None:
    useless = [pod(name, "wrong", ready=False) for name in NAMES]
    silent = views(*(view(name, reachable=False) for name in NAMES))
    assert turn(useless, silent) == "demo-2"


def test_a_member_that_is_cut_off_is_not_taken_for_one_of_a_wrong_template() -> None:
    assert turn(pods(pod("demo-2", ready=False)), views(view("demo-2", ready=False, leader=None))) is None


def test_a_leader_whose_pod_is_not_ready_yet_is_not_taken_for_broken() -> None:
    assert turn(pods(pod(LEADER, ready=False)), views()) is None


def test_two_that_run_and_are_not_well_are_left_alone() -> None:
    found = pods(pod("demo-1", ready=False), pod("demo-2", ready=False))
    assert turn(found, views(view("demo-1", ready=False), view("demo-2", ready=False))) is None


members = st.lists(
    st.tuples(
        st.sampled_from(["missing", "going", "there"]),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["", "something"]),
    ),
    min_size=1,
    max_size=5,
)


@given(members, st.integers(0, 4))
def test_a_restart_never_costs_a_second_member_that_serves(found: list[Any], leads: int) -> None:
    made = [
        Member(
            f"demo-{index}",
            where,
            stale=stale and where == "there",
            runs=runs and where != "missing",
            ready=runs and not problem,
            problem=problem if where == "there" and runs else problem or "no process",
        )
        for index, (where, stale, runs, problem) in enumerate(found)
    ]
    leader = f"demo-{leads}"
    chosen = next_to_restart(made, leader)
    if chosen is None:
        return
    assert chosen.stale
    others_amiss = [member for member in made if member.problem and member != chosen]
    assert not others_amiss or not chosen.runs or not any(member.ready for member in made)
    if chosen.name == leader and chosen.runs and chosen.ready:
        assert [member for member in made if member.stale] == [chosen]


CLUSTER = RaftCluster.parse({"metadata": {"name": "demo", "generation": 1}, "spec": {"replicas": 3}})


class Story:
    """A cluster whose status is written again and again."""

    def __init__(self) -> None:
        self.cluster = CLUSTER.model_copy(deep=True)
        self.events: list[str] = []

    def then(
        self, found: list[dict[str, Any]], seen: dict[str, MemberView], wanted: str = NEW
    ) -> RaftClusterStatus:
        before = self.cluster.status
        outcome = Outcome(configured(0, NAMES), seen[LEADER].status, founding(self.cluster, 3))
        members = look(NAMES, found, wanted, seen)
        after = cluster_status(self.cluster, summarise(seen), members, outcome, now=NOW)
        news = rollout_news(before, after)
        if news is not None:
            self.events.append(news.reason)
        self.cluster.status = after
        return after

    def says(self, kind: str) -> tuple[str, str, str]:
        condition = next(each for each in self.cluster.status.conditions if each.type == kind)
        return condition.status, condition.reason, condition.message


def test_a_rollout_from_beginning_to_end_is_told() -> None:
    story = Story()
    story.then(pods()[:1], views(*(view(name, reachable=False) for name in NAMES)), OLD)
    assert story.says("RolledOut")[:2] == ("False", "Creating")
    assert story.says("Progressing")[2].startswith("1 of 3 member pods exist")
    story.then(pods(), views(), OLD)
    assert is_rolled_out(story.cluster.status)
    assert story.says("Progressing")[:2] == ("False", "Complete")
    assert story.events == [], "a first start is no rollout"

    story.then(pods(), views())
    assert story.says("RolledOut")[1:] == ("RollingOut", "0 of 3 members run the new template")
    behind = views(view(LEADER, behind=CLOSE + 31))
    status = story.then(pods(pod("demo-2", NEW), pod("demo-1", NEW)), behind)
    assert status.updated_replicas == 2
    assert story.says("Progressing") == (
        "True",
        "RollingOut",
        f"2 of 3 members run the new template; waiting for demo-1: it has to catch up with {CLOSE + 31} "
        "entries",
    )
    story.then(pods(template=NEW)[1:], views(view(LEADER, reachable=False)))
    assert not is_rolled_out(story.cluster.status), "the last one's new pod is not there yet"
    story.then(pods(template=NEW), views())
    assert is_rolled_out(story.cluster.status)
    assert story.events == ["RolloutStarted", "RolledOut"]


def test_a_rollout_that_is_done_stays_done_whatever_befalls_a_member() -> None:
    story = Story()
    story.then(pods(template=NEW), views())
    story.then(pods(template=NEW)[:2], views(view("demo-2", reachable=False)))
    assert is_rolled_out(story.cluster.status)
    assert story.says("Ready")[0] == "False"
    assert story.says("Progressing")[:2] == ("True", "Creating")


def test_an_image_that_cannot_be_had_is_told_with_what_to_do_and_a_corrected_one_goes_on() -> None:
    story = Story()
    story.then(pods(), views(), OLD)
    story.then(pods(), views())
    story.then(
        pods(pod("demo-2", NEW, ready=False, container=IMAGE_PULL)), views(view("demo-2", reachable=False))
    )
    status, reason, message = story.says("Progressing")
    assert (status, reason) == ("False", "RolloutStuck")
    assert (
        "0 of 3 members run the new template; waiting for demo-2: ImagePullBackOff: no such image" in message
    )
    assert "until the spec is corrected" in message
    story.then(pods(), views(), OLD)
    assert is_rolled_out(story.cluster.status)
    assert story.events == ["RolloutStarted", "RolloutStuck", "RolledOut"]


def test_a_member_that_runs_and_does_not_become_ready_holds_the_rollout_up_after_a_while() -> None:
    story = Story()
    story.then(pods(), views(), OLD)
    story.then(pods(pod("demo-2", NEW, ready=False)), views(view("demo-2", ready=False)))
    assert story.says("RolledOut")[1] == "RollingOut"
    old = pod("demo-2", NEW, ready=False, age_s=STUCK_AFTER_S + 1)
    story.then(pods(old), views(view("demo-2", ready=False)))
    assert story.says("RolledOut")[1] == "RolloutStuck"


@pytest.mark.parametrize(
    ("found", "seen"),
    [
        (pods(pod("demo-2", going=True, age_s=999)), views(view("demo-2", reachable=False))),
        (pods(pod("demo-2", age_s=999)), views(view("demo-2", reachable=False))),
        (pods(pod("demo-2", NEW, age_s=999)), views(view("demo-2", reachable=False))),
    ],
    ids=["the old pod is being ended", "an old pod does not answer", "a Ready one was not asked yet"],
)
def test_an_old_pod_does_not_make_a_rollout_stuck(
    found: list[dict[str, Any]], seen: dict[str, MemberView]
) -> None:
    story = Story()
    story.then(pods(), views(), OLD)
    story.then(found, seen)
    assert story.says("RolledOut")[1] == "RollingOut"


def test_a_cluster_is_not_ready_before_its_pods_are() -> None:
    story = Story()
    story.then(pods(pod("demo-1", NEW, ready=False), template=NEW), views())
    assert story.says("Ready")[:2] == ("False", "PodsNotReady")
    assert "demo-1" in story.says("Ready")[2]
