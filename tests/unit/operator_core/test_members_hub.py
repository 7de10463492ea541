"""Following members: no event is lost or told twice, and views are what members last said."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from faultlab.contract.member import MemberEvent
from faultlab_operator.members import MembersHub

NAMES = ("demo-0", "demo-1", "demo-2")


@pytest.fixture
async def hub(http: aiohttp.ClientSession, members: list[Any]) -> AsyncIterator[MembersHub]:
    made = MembersHub(http, admin_port=members[0].port)
    yield made
    await made.close()


def follow(hub: MembersHub, members: list[Any]) -> None:
    hub.follow("ns", "demo", NAMES, {member.name: member.address for member in members})


def ids(events: list[MemberEvent], member: str) -> list[tuple[str, int]]:
    return [(event.incarnation, event.id) for event in events if event.member == member]


async def test_every_member_is_seen_and_one_without_an_address_is_not_reachable(
    hub: MembersHub, members: list[Any], until: Any
) -> None:
    follow(hub, members[:2])
    await until(lambda: sum(view.reachable for view in hub.statuses("ns", "demo").values()) == 2)
    views = hub.statuses("ns", "demo")
    assert list(views) == list(NAMES)
    assert not views["demo-2"].reachable
    assert views["demo-0"].status is not None
    assert views["demo-0"].status.role == "follower"


async def test_events_after_a_broken_stream_come_once_and_none_is_missing(
    hub: MembersHub, members: list[Any], until: Any
) -> None:
    seen: list[MemberEvent] = []
    hub.subscribe("ns", "demo", seen.append)
    follow(hub, members)
    await until(lambda: len(seen) == 3)
    for number in range(20):
        members[0].say("RoleChanged", term=number)
        if number % 5 == 4:
            await until(lambda number=number: len(ids(seen, "demo-0")) == number + 2)
            members[0].break_streams()
    await until(lambda: len(ids(seen, "demo-0")) == 21)
    assert ids(seen, "demo-0") == [("demo-0-1", number) for number in range(1, 22)]
    assert len(members[0].asked_after) > 1
    assert members[0].asked_after[1] == "6"
    assert hub.lost_events("ns", "demo") == 0


async def test_a_restarted_member_is_heard_from_its_first_event(
    hub: MembersHub, members: list[Any], until: Any
) -> None:
    seen: list[MemberEvent] = []
    hub.subscribe("ns", "demo", seen.append)
    follow(hub, members)
    for number in range(5):
        members[1].say("RoleChanged", term=number)
    await until(lambda: len(ids(seen, "demo-1")) == 6)
    await members[1].stop()
    await until(lambda: not hub.statuses("ns", "demo")["demo-1"].reachable)
    await members[1].start()
    members[1].say("LeaderKnown", leader="demo-0")
    await until(lambda: len(ids(seen, "demo-1")) == 8)
    assert ids(seen, "demo-1")[6:] == [("demo-1-2", 1), ("demo-1-2", 2)]
    assert hub.lost_events("ns", "demo") == 0


async def test_events_that_never_came_are_counted(hub: MembersHub, members: list[Any], until: Any) -> None:
    members[2].events = [members[2].say("RoleChanged") for _ in range(4)][3:]
    seen: list[MemberEvent] = []
    hub.subscribe("ns", "demo", seen.append)
    follow(hub, members)
    await until(lambda: ids(seen, "demo-2"))
    assert ids(seen, "demo-2") == [("demo-2-1", 5)]
    assert hub.lost_events("ns", "demo") == 4


async def test_who_subscribes_late_hears_what_was_before(
    hub: MembersHub, members: list[Any], until: Any
) -> None:
    early: list[MemberEvent] = []
    hub.subscribe("ns", "demo", early.append)
    follow(hub, members)
    await until(lambda: len(early) == 3)
    late: list[MemberEvent] = []
    end = hub.subscribe("ns", "demo", late.append)
    assert late == early
    end()
    members[0].say("RoleChanged")
    await until(lambda: len(early) == 4)
    assert len(late) == 3


async def test_a_subscriber_that_fails_does_not_keep_events_from_others(
    hub: MembersHub, members: list[Any], until: Any
) -> None:
    def fails(_event: MemberEvent) -> None:
        raise RuntimeError("mine")

    seen: list[MemberEvent] = []
    hub.subscribe("ns", "demo", fails)
    hub.subscribe("ns", "demo", seen.append)
    follow(hub, members)
    await until(lambda: len(seen) == 3)


async def test_a_change_of_leader_is_told_at_once(hub: MembersHub, members: list[Any], until: Any) -> None:
    changes: list[tuple[str, str]] = []
    hub.listen(lambda namespace, name: changes.append((namespace, name)))
    follow(hub, members)
    for member in members:
        member.leader = "demo-0"
    members[0].role = "leader"
    await until(lambda: hub.settled("ns", "demo"))
    changes.clear()
    members[1].role, members[1].term, members[1].leader = "leader", 2, "demo-1"
    members[1].say("LeaderElected", term=2)
    await until(lambda: changes, within_s=1.0)
    assert changes[0] == ("ns", "demo")
    assert hub.statuses("ns", "demo")["demo-1"].status.term == 2  # type: ignore[union-attr]
    assert not hub.settled("ns", "demo")


async def test_a_settled_cluster_is_polled_seldom_and_often_in_a_hurry(
    hub: MembersHub, members: list[Any], until: Any
) -> None:
    for member in members:
        member.leader = "demo-0"
    members[0].role = "leader"
    follow(hub, members)
    await until(lambda: hub.settled("ns", "demo"))
    before = members[0].polls
    with hub.hurried("ns", "demo"):
        await until(lambda: members[0].polls >= before + 4, within_s=3.0)


async def test_a_cluster_that_is_forgotten_is_left_alone(
    hub: MembersHub, members: list[Any], until: Any
) -> None:
    follow(hub, members)
    await until(lambda: all(view.reachable for view in hub.statuses("ns", "demo").values()))
    hub.forget("ns", "demo")
    assert hub.statuses("ns", "demo") == {}
    await until(lambda: all(one.is_closing() for member in members for one in member._streams))


async def test_a_member_that_moved_is_followed_to_its_new_address(
    hub: MembersHub, members: list[Any], until: Any
) -> None:
    hub.follow("ns", "demo", ("demo-0",), {"demo-0": "127.77.0.99"})
    await until(lambda: hub.addresses("ns", "demo") == {"demo-0": "127.77.0.99"})
    assert not hub.statuses("ns", "demo")["demo-0"].reachable
    hub.follow("ns", "demo", ("demo-0",), {"demo-0": members[0].address})
    await until(lambda: hub.statuses("ns", "demo")["demo-0"].reachable)


async def test_a_refresh_is_what_members_say_now(hub: MembersHub, members: list[Any], until: Any) -> None:
    follow(hub, members)
    await until(lambda: all(view.reachable for view in hub.statuses("ns", "demo").values()))
    members[0].term = 9
    await members[1].stop()
    views = await hub.refresh("ns", "demo")
    assert views["demo-0"].status is not None
    assert views["demo-0"].status.term == 9
    assert not views["demo-1"].reachable
    assert views["demo-2"].reachable
