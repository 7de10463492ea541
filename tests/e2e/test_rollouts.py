"""Specs of running clusters change: one member at a time, the leader last, no acknowledged write lost."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest
from clusters import (
    NAME,
    apply,
    assert_nothing_was_lost,
    begin_load,
    claims,
    cluster,
    events,
    holds_now,
    load_status,
    start,
    uids,
)
from lab import Lab, eventually

pytestmark = pytest.mark.e2e
MEMBERS = ("demo-0", "demo-1", "demo-2")
ROLLS_WITHIN_S = 150
"""Some ten seconds where the machine has nothing else to do."""
ACKNOWLEDGED = 1000
NO_SUCH_IMAGE = "registry.invalid/faultlab/no-such-image:1"


def _rolled_out(lab: Lab, namespace: str) -> bool:
    """Whether the newest spec runs everywhere, and the cluster is well."""
    return holds_now(lab, namespace, "RolledOut", "Ready")


@dataclass
class Seen:
    """What was seen of the members while somebody watched, ten times a second."""

    generations: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in MEMBERS})
    """The uids of each member's pods, in order."""
    order: list[str] = field(default_factory=list)
    """Members in the order in which their pods were replaced."""
    leader_at: list[str | None] = field(default_factory=list)
    """Who led just before each of them."""
    fewest: int = len(MEMBERS)
    """The fewest pods that were there at once."""

    def look(self, lab: Lab, namespace: str, leader: str | None) -> None:
        found = uids(lab, namespace)
        self.fewest = min(self.fewest, len(found))
        for name, uid in found.items():
            known = self.generations[name]
            if uid in known:
                continue
            known.append(uid)
            if len(known) > 1:
                self.order.append(name)
                self.leader_at.append(leader)


@contextmanager
def _watched(lab: Lab, namespace: str) -> Iterator[Seen]:
    seen, stop, failures = Seen(), Event(), []
    seen.look(lab, namespace, None)

    def watch() -> None:
        leader = None
        try:
            while not stop.wait(0.1):
                seen.look(lab, namespace, leader)
                leader = lab.status_of("raft", NAME, namespace).get("leader")
        except Exception as error:
            failures.append(error)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
    assert not failures, failures


def test_no_acknowledged_write_is_lost_over_a_rollout_under_load(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    start(world_lab, namespace, tmp_path, electionTimeout="500ms")
    volumes = claims(world_lab, namespace)
    begin_load(world_lab, namespace, tmp_path)

    first_leader = world_lab.status_of("raft", NAME, namespace)["leader"]
    with _watched(world_lab, namespace) as seen:
        apply(world_lab, namespace, tmp_path, cluster(electionTimeout="600ms"))
        began = time.monotonic()
        eventually("it is rolled out", lambda: _rolled_out(world_lab, namespace), ROLLS_WITHIN_S)
        print(f"rolled out in {time.monotonic() - began:.1f} s: {', '.join(seen.order)}")
    after = load_status(world_lab, namespace)["ok"]
    # Six operations in ten are writes; a rollout on a quiet machine is over before there are enough of them.
    enough = max(after + 200, 2 * ACKNOWLEDGED)
    eventually("it goes on", lambda: load_status(world_lab, namespace)["ok"] > enough, 60)

    assert sorted(seen.order) == sorted(MEMBERS), "each member is restarted exactly once"
    before_the_last = list(zip(seen.order, seen.leader_at, strict=True))[:-1]
    assert all(member != leader for member, leader in before_the_last), "a leader came before a follower"
    if seen.leader_at == [first_leader] * len(MEMBERS):
        assert seen.order[-1] == first_leader, "the leader comes last"
    assert seen.fewest >= len(MEMBERS) - 1
    assert claims(world_lab, namespace) == volumes
    assert_nothing_was_lost(world_lab, namespace, tmp_path, ACKNOWLEDGED)
    restarts = events(world_lab, namespace, "MemberRestarted")
    assert sum("has taken over" in text for text in restarts) >= 1, "the leader handed over first"


def test_a_rollout_goes_on_where_an_operator_left_it(world_lab: Lab, namespace: str, tmp_path: Path) -> None:
    start(world_lab, namespace, tmp_path, electionTimeout="500ms")
    before = uids(world_lab, namespace)
    with _watched(world_lab, namespace) as seen:
        apply(world_lab, namespace, tmp_path, cluster(electionTimeout="600ms"))
        eventually("the first member is replaced", lambda: seen.order, 30)
        with world_lab.operator_away():
            eventually("all pods are there", lambda: len(uids(world_lab, namespace)) == len(MEMBERS), 30)
        eventually("it is rolled out", lambda: _rolled_out(world_lab, namespace), ROLLS_WITHIN_S)
    assert sorted(seen.order) == sorted(MEMBERS), "each member is restarted exactly once"
    assert not set(before.values()) & set(uids(world_lab, namespace).values())


def test_an_image_that_does_not_exist_costs_one_member_and_a_corrected_spec_goes_on(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    start(world_lab, namespace, tmp_path)
    before, volumes = uids(world_lab, namespace), claims(world_lab, namespace)
    apply(world_lab, namespace, tmp_path, cluster(image=NO_SUCH_IMAGE))

    def stuck() -> str:
        found = world_lab.condition("raft", NAME, "RolledOut", namespace) or {}
        return str(found["message"]) if found.get("reason") == "RolloutStuck" else ""

    message = eventually("the rollout says that it is stuck", stuck, 60)
    assert "0 of 3 members run the new template" in message
    assert "correct" in message
    assert world_lab.holds("raft", NAME, "Available", namespace)
    left = [name for name, uid in uids(world_lab, namespace).items() if before[name] == uid]
    assert len(left) == len(MEMBERS) - 1, "the others go on as they were"
    assert "RolloutStuck" in eventually("events", lambda: events(world_lab, namespace))

    # Without `image` again: fields that an apply no longer names are given up.
    apply(world_lab, namespace, tmp_path, cluster())
    eventually("the cluster is as it was", lambda: _rolled_out(world_lab, namespace), ROLLS_WITHIN_S)
    assert {name: uid for name, uid in uids(world_lab, namespace).items() if name in left} == {
        name: before[name] for name in left
    }, "whoever had the right template is left alone"
    assert claims(world_lab, namespace) == volumes


def test_a_stateful_set_that_somebody_scaled_is_put_right_at_once(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    start(world_lab, namespace, tmp_path)
    volumes = claims(world_lab, namespace)
    kube = world_lab.kube()
    kube.request(
        "PATCH",
        kube.resource("statefulsets").path(namespace, NAME),
        headers={"Content-Type": "application/merge-patch+json"},
        json={"spec": {"replicas": 1}},
    )

    def restored() -> bool:
        stateful_set = world_lab.object("statefulset", NAME, namespace)
        return bool(stateful_set and stateful_set["spec"]["replicas"] == len(MEMBERS))

    eventually("the number is put right", restored, 5)
    eventually("the cluster is well", lambda: _rolled_out(world_lab, namespace), 60)
    assert claims(world_lab, namespace) == volumes
