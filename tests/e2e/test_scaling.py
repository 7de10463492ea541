"""Members come and go while clients write: nothing is lost, and a leader that is to go hands over first."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from clusters import (
    API,
    NAME,
    apply,
    assert_nothing_was_lost,
    begin_load,
    claims,
    cluster,
    events,
    is_settled,
    more_load,
    said,
    scale,
    start,
    status,
    uids,
)
from lab import Lab, eventually

from faultlab_cli.kube import pod_proxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
SETTLES_WITHIN_S = 90
"""Some seconds where the machine has nothing else to do."""
ACKNOWLEDGED = 1000
THREE = {"data-demo-0", "data-demo-1", "data-demo-2"}


def _settles(lab: Lab, namespace: str, members: int) -> None:
    began = time.monotonic()

    def is_done() -> bool:
        return is_settled(lab, namespace, members)

    try:
        eventually(f"{members} members decide", is_done, SETTLES_WITHIN_S)
    except AssertionError as error:
        raise AssertionError(f"{error}; {said(lab, namespace, 'MembershipSettled')}") from error
    print(f"{members} members decide after {time.monotonic() - began:.1f} s")


def _ids(lab: Lab, namespace: str) -> dict[str, str]:
    return {member["name"]: member["id"] for member in status(lab, namespace)["configuration"]["voters"]}


def _hand_over(lab: Lab, namespace: str, to: str) -> None:
    """Asks the leader for it, with the key that members and operator share, as a person could."""
    kube = lab.kube()
    secret = kube.get(f"/api/v1/namespaces/{namespace}/secrets/{NAME}-peers")
    key = base64.b64decode(secret["data"]["key"])
    proof = hmac.new(key, f"admin {NAME}".encode(), hashlib.sha256).hexdigest()
    leader = status(lab, namespace)["leader"]
    kube.request(
        "POST",
        pod_proxy(namespace, leader, 7002, "/transfer"),
        headers={"X-Faultlab-Key": proof},
        json={"to": to},
    )
    eventually(f"{to} leads", lambda: status(lab, namespace).get("leader") == to, 10)


def _member_events(lab: Lab, namespace: str, member: str, changes: int) -> list[dict[str, Any]]:
    """What a member tells of its life, up to the configuration of that number."""
    seen = []
    with lab.kube().stream(pod_proxy(namespace, member, 7002, "/events"), timeout=10) as answer:
        for line in answer.iter_lines():
            if line.startswith("data:"):
                seen.append(json.loads(line[5:]))
                changes -= seen[-1]["type"] == "ConfigurationChanged"
            if changes == 0:
                break
    return seen


def _led_each_configuration(seen: list[dict[str, Any]]) -> list[str]:
    """Who led when each configuration came to count, in order."""
    leader, led = "", []
    for event in seen:
        if event["type"] == "LeaderElected":
            leader = event["member"]
        elif event["type"] == "LeaderKnown":
            leader = event["leader"]
        elif event["type"] == "ConfigurationChanged":
            led.append(leader)
    return led


def test_three_become_five_and_five_three_under_load_and_nothing_is_lost(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    start(world_lab, namespace, tmp_path)
    first = uids(world_lab, namespace)
    begin_load(world_lab, namespace, tmp_path)
    scale(world_lab, namespace, 5)
    _settles(world_lab, namespace, 5)
    joined = _ids(world_lab, namespace)
    assert {name for name, member_id in joined.items() if "#" in member_id} == {"demo-3", "demo-4"}
    assert any("joined as a learner" in text for text in events(world_lab, namespace, "ScalingUp"))
    budget = world_lab.object("poddisruptionbudget", NAME, namespace)
    assert budget is not None
    assert budget["spec"]["maxUnavailable"] == 2
    more_load(world_lab, namespace, 600)

    _hand_over(world_lab, namespace, "demo-4")
    scale(world_lab, namespace, 3)
    _settles(world_lab, namespace, 3)
    # Two learners, five and three voters by way of joint ones.
    led = _led_each_configuration(_member_events(world_lab, namespace, "demo-0", changes=5))
    assert set(led[-2:]) <= set(first), (
        "the leader that was to go handed over before the configuration changed"
    )
    eventually("volumes of the removed are gone", lambda: set(claims(world_lab, namespace)) == THREE, 30)
    assert uids(world_lab, namespace) == first, "nobody else was restarted"
    more_load(world_lab, namespace, 600)
    assert_nothing_was_lost(world_lab, namespace, tmp_path, ACKNOWLEDGED)


def test_one_becomes_three_by_an_edit_and_three_one_again(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    start(world_lab, namespace, tmp_path, replicas=1)
    apply(world_lab, namespace, tmp_path, cluster(replicas=3))
    _settles(world_lab, namespace, 3)
    first = _ids(world_lab, namespace)
    apply(world_lab, namespace, tmp_path, cluster(replicas=1))
    _settles(world_lab, namespace, 1)
    eventually("volumes are gone", lambda: set(claims(world_lab, namespace)) == {"data-demo-0"}, 30)
    apply(world_lab, namespace, tmp_path, cluster(replicas=3))
    _settles(world_lab, namespace, 3)
    again = _ids(world_lab, namespace)
    assert again["demo-0"] == first["demo-0"]
    assert not {first["demo-1"], first["demo-2"]} & set(again.values()), "an id is never used again"


def _cut(groups: list[list[str]]) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "NetworkPartition",
        "metadata": {"name": "cut"},
        "spec": {
            "selector": {"system": {"kind": "RaftCluster", "name": NAME}},
            "topology": {"type": "groups", "groups": groups},
            "duration": "5m",
        },
    }


def _begin_cut(lab: Lab, namespace: str, folder: Path, groups: list[list[str]]) -> None:
    apply(lab, namespace, folder, _cut(groups))
    observed = lambda: lab.holds("networkpartition", "cut", "EffectObserved", namespace)  # noqa: E731
    eventually("the cut is proven", observed, 20)


def _heal(lab: Lab, namespace: str) -> None:
    kube = lab.kube()
    kube.delete(kube.resource("networkpartition").path(namespace, "cut"), wait_s=20)


def test_scaling_waits_while_nobody_has_a_majority_and_finishes_after_the_heal(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    start(world_lab, namespace, tmp_path)
    before = uids(world_lab, namespace)
    _begin_cut(world_lab, namespace, tmp_path, [["demo-0"], ["demo-1"], ["demo-2"]])
    eventually("nobody leads", lambda: not status(world_lab, namespace).get("leader"), 20)
    scale(world_lab, namespace, 5)
    told = lambda: "no leader has a majority" in said(world_lab, namespace, "MembershipSettled")[2]  # noqa: E731
    eventually("it says what it waits for", told, 20)
    assert uids(world_lab, namespace) == before
    _heal(world_lab, namespace)
    _settles(world_lab, namespace, 5)
    assert {name: uid for name, uid in uids(world_lab, namespace).items() if name in before} == before


def test_members_that_nobody_reaches_are_removed_by_the_majority_of_the_others(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    start(world_lab, namespace, tmp_path, replicas=5)
    begin_load(world_lab, namespace, tmp_path)
    _begin_cut(world_lab, namespace, tmp_path, [["demo-0", "demo-1", "demo-2"], ["demo-3", "demo-4"]])
    scale(world_lab, namespace, 3)
    _settles(world_lab, namespace, 3)
    _heal(world_lab, namespace)
    more_load(world_lab, namespace, 300)
    assert_nothing_was_lost(world_lab, namespace, tmp_path, 300)


def test_a_change_of_members_goes_on_where_an_operator_left_it(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    start(world_lab, namespace, tmp_path)
    before = uids(world_lab, namespace)
    scale(world_lab, namespace, 5)

    def knows_five() -> bool:
        status_now = world_lab.member("demo-0", namespace) or {}
        configuration = status_now.get("configuration") or {}
        return sum(len(configuration.get(group, ())) for group in ("voters", "learners")) >= 5

    eventually("the leader was told", knows_five, 20)
    with world_lab.operator_away():
        scale(world_lab, namespace, 3)
    _settles(world_lab, namespace, 3)
    assert uids(world_lab, namespace) == before
    eventually("no volume is left over", lambda: set(claims(world_lab, namespace)) == THREE, 30)
