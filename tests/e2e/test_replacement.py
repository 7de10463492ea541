"""A member that lost what it had promised is not revived: it is taken out, and joins anew under a new id."""

from pathlib import Path

import pytest
from clusters import (
    NAME,
    assert_nothing_was_lost,
    begin_load,
    events,
    holds_now,
    is_settled,
    more_load,
    said,
    start,
    status,
    uids,
)
from lab import Lab, eventually

pytestmark = pytest.mark.e2e
LOST = "demo-1"
REPLACED_WITHIN_S = 120
"""Some seconds where the machine has nothing else to do; a container's back-off on a cluster is 10 s."""
ACKNOWLEDGED = 500

DAMAGE = """
from pathlib import Path
found = sorted(Path('.').glob('*/wal/*.wal'))
with found[0].open('r+b') as log:
    log.seek(2 * 512 + 60)
    byte = log.read(1)[0]
    log.seek(2 * 512 + 60)
    log.write(bytes([byte ^ 0x55]))
"""
"""A bit of an early group is flipped: what came after it was synced, so this is no torn end."""


def _delete_pod(lab: Lab, namespace: str, name: str) -> None:
    kube = lab.kube()
    kube.delete(kube.resource("pods").path(namespace, name))


def _lose_volume(lab: Lab, namespace: str, member: str) -> None:
    """As when a node takes its disk with it: the claim is gone with all that was in it, and made anew."""
    kube = lab.kube()
    claim = kube.resource("persistentvolumeclaims").path(namespace, f"data-{member}")
    before = kube.get(claim)["metadata"]["uid"]
    kube.delete(claim)
    _delete_pod(lab, namespace, member)

    def is_another() -> bool:
        found = kube.find(claim)
        return found is not None and found["metadata"]["uid"] != before

    eventually("there is another volume", is_another, 60)


def _id_of(lab: Lab, namespace: str, member: str) -> str:
    configuration = status(lab, namespace)["configuration"]
    return str(next(each["id"] for each in configuration["voters"] if each["name"] == member))


def _is_replaced(lab: Lab, namespace: str) -> bool:
    return is_settled(lab, namespace, 3) and _id_of(lab, namespace, LOST) != LOST


def _await_replacement(lab: Lab, namespace: str) -> None:
    try:
        eventually("it is a voter again", lambda: _is_replaced(lab, namespace), REPLACED_WITHIN_S)
    except AssertionError as error:
        raise AssertionError(f"{error}; {said(lab, namespace, 'MembershipSettled')}") from error


@pytest.mark.parametrize("loss", ["an empty volume", "a damaged log"])
def test_a_member_without_its_data_is_refused_and_replaced_and_nothing_is_lost(
    world_lab: Lab, namespace: str, tmp_path: Path, loss: str
) -> None:
    start(world_lab, namespace, tmp_path)
    eventually("it has begun", lambda: holds_now(world_lab, namespace, "Initialized"), 10)
    before = uids(world_lab, namespace)
    begin_load(world_lab, namespace, tmp_path)
    if loss == "an empty volume":
        _lose_volume(world_lab, namespace, LOST)
        why = "must not come back under this id"
    else:
        world_lab.in_volume(LOST, namespace, DAMAGE)
        _delete_pod(world_lab, namespace, LOST)
        why = "damaged"
    _await_replacement(world_lab, namespace)
    told = events(world_lab, namespace, "Replacing")
    assert any(why in text for text in told), told
    assert any(f"new: {LOST}#" in text for text in events(world_lab, namespace, "MembershipChanged"))
    after = uids(world_lab, namespace)
    assert {name: after[name] for name in after if name != LOST} == {
        name: before[name] for name in before if name != LOST
    }, "nobody else was restarted"
    more_load(world_lab, namespace, 600)
    assert_nothing_was_lost(world_lab, namespace, tmp_path, ACKNOWLEDGED)


def test_nobody_is_replaced_where_no_majority_is_left_to_decide_it(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    start(world_lab, namespace, tmp_path)
    eventually("it has begun", lambda: holds_now(world_lab, namespace, "Initialized"), 10)
    for member in ("demo-1", "demo-2"):
        world_lab.in_volume(member, namespace, DAMAGE)
    for member in ("demo-1", "demo-2"):
        _delete_pod(world_lab, namespace, member)
    blocked = lambda: said(world_lab, namespace, "MembershipSettled")[1] == "ReplacementBlocked"  # noqa: E731
    eventually("it says that it cannot replace them", blocked, 60)
    assert "no majority" in said(world_lab, namespace, "MembershipSettled")[2]
    ids = {each["id"] for each in status(world_lab, namespace)["configuration"]["voters"]}
    assert ids == {f"{NAME}-{index}" for index in range(3)}
