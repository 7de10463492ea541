"""Merge patches, conditions, summaries, rollouts, problems: functions of their inputs."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faultlab.contract.member import PeerProgress, RaftStatus
from faultlab.contract.run import MemberView
from faultlab_operator.api import RaftCluster
from faultlab_operator.api.quantity import quantity
from faultlab_operator.handlers.problems import cluster_problem
from faultlab_operator.kube import set_condition
from faultlab_operator.kube.merge import merge_patch
from faultlab_operator.members.summary import summarise

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 2, tzinfo=UTC)

documents = st.recursive(
    st.integers() | st.sampled_from(["", "x", "yy"]) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abcd"), documents, max_size=4)


def apply(target: Any, patch: Any) -> Any:
    """RFC 7396, as it is written there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply(result.get(key), value)
    return result


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(objects, objects)
def test_a_merge_patch_leads_from_one_document_to_the_other(before: Any, after: Any) -> None:
    assert apply(before, merge_patch(before, after)) == after


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(objects)
def test_equal_documents_need_no_patch(document: Any) -> None:
    assert merge_patch(document, document) == {}


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    first = set_condition([], "Ready", False, "Waiting", "one", generation=1, now=NOW)
    same = set_condition(first, "Ready", False, "Waiting", "two", generation=2, now=LATER)
    changed = set_condition(same, "Ready", True, "Done", now=LATER)
    assert same[0].last_transition_time == first[0].last_transition_time
    assert (same[0].message, same[0].observed_generation) == ("two", 2)
    assert changed[0].last_transition_time > same[0].last_transition_time
    assert len(changed) == 1


def view(
    name: str,
    role: str = "follower",
    term: int = 1,
    leader: str | None = "demo-0",
    *,
    ready: bool = True,
    reachable: bool = True,
    peers: dict[str, str] | None = None,
) -> MemberView:
    progress = {
        peer: PeerProgress(1, 0, state)  # type: ignore[arg-type]
        for peer, state in (peers or {}).items()
    }
    status = RaftStatus("raft", "demo", name, role, term, leader, 1, 1, 1, progress, "t", "t", ready)  # type: ignore[arg-type]
    return MemberView(name=name, reachable=reachable, status=status)


def views(*made: MemberView) -> dict[str, MemberView]:
    return {one.name: one for one in made}


def test_members_that_agree_are_summed_up() -> None:
    summary = summarise(views(view("demo-0", "leader"), view("demo-1"), view("demo-2")))
    assert (summary.leader, summary.term, summary.ready) == ("demo-0", 1, 3)
    assert summary.agreed
    assert summary.has_majority(None)


def test_of_two_leaders_the_one_of_the_later_term_counts() -> None:
    summary = summarise(
        views(
            view("demo-0", "leader", 1, "demo-0", ready=False),
            view("demo-1", "leader", 2, "demo-1"),
            view("demo-2", "follower", 2, "demo-1"),
        )
    )
    assert (summary.leader, summary.term) == ("demo-1", 2)
    assert not summary.agreed
    assert summary.has_majority(None)


def test_a_campaigner_of_a_high_term_is_no_leader() -> None:
    summary = summarise(
        views(view("demo-0", "leader"), view("demo-1"), view("demo-2", "candidate", 9, None, ready=False))
    )
    assert (summary.leader, summary.term) == ("demo-0", 1)


def test_an_unreachable_leader_is_not_believed() -> None:
    summary = summarise(views(view("demo-0", "leader", reachable=False), view("demo-1"), view("demo-2")))
    assert summary.leader is None
    assert not summary.has_majority(None)


def test_members_are_listed_by_index_not_by_spelling() -> None:
    summary = summarise(views(view("demo-10"), view("demo-9"), view("demo-0")))
    assert [member.name for member in summary.members] == ["demo-0", "demo-9", "demo-10"]


@pytest.mark.parametrize(
    ("text", "value"), [("50m", 0.05), ("256Mi", 256 * 2**20), ("1G", 1e9), ("2", 2), ("1.5Gi", 1.5 * 2**30)]
)
def test_quantities_are_understood(text: str, value: float) -> None:
    assert quantity(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"storage": {"size": "1Mi"}}, "write at least 8Mi"),
        (
            {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}}},
            "write a smaller request or a larger limit",
        ),
        ({"resources": {"requests": {}, "limits": {"memory": "1Mi"}}}, "write at least 32Mi"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_the_crd_cannot_tell_is_told_with_what_to_write(spec: dict[str, Any], says: str) -> None:
    cluster = RaftCluster.parse({"metadata": {"name": "demo"}, "spec": spec})
    problem = cluster_problem(cluster)
    assert problem is not None
    assert says in problem
    assert cluster_problem(RaftCluster.parse({"metadata": {"name": "demo"}})) is None
