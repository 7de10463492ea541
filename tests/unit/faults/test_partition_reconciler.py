"""A partition from its resource to the proven heal, against agents whose kernel the test can look into."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from faultlab_operator.core import Key
from faultlab_operator.core.clock import parse_rfc3339
from faultlab_operator.faults.reconciler import PartitionReconciler

from .fakes import MEMBERS, NAMESPACE, Lab, make_lab

MINORITY = {"type": "minority", "with": {"role": "leader"}, "size": 2}


@pytest.fixture
def lab() -> Lab:
    return make_lab()


@asynccontextmanager
async def driven(lab: Lab, *keys: Key) -> AsyncIterator[PartitionReconciler]:
    """Reconciles the keys as the work queue does."""
    reconciler = PartitionReconciler(lab.services, lab.agents)  # type: ignore[arg-type]

    async def drive(key: Key) -> None:
        while True:
            again = await reconciler.reconcile(key)
            await asyncio.sleep(0.02 if again is None else min(again, 0.05))

    tasks = [asyncio.create_task(drive(key)) for key in keys]
    try:
        yield reconciler
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await reconciler.close()
        for result in results:
            if not isinstance(result, asyncio.CancelledError):
                raise AssertionError("a reconcile failed") from result  # type: ignore[misc]


async def until(what: Callable[[], Any], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "it did not come to be in time"
        await asyncio.sleep(0.01)


async def test_leader_is_cut_off_proven_healed_and_proven_again(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="700ms", maxAffected=2)
    began = time.monotonic()
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        assert time.monotonic() - began < 1.0
        cut_off = lab.status(key)["cutOff"]
        assert "demo-2" in cut_off
        assert len(cut_off) == 2
        for inside in cut_off:
            for outside in set(MEMBERS) - set(cut_off):
                assert lab.agents.is_cut(inside, outside)
                assert lab.agents.is_cut(outside, inside)
            assert not lab.agents.is_cut("demo-load", inside)
        await until(lambda: lab.status(key).get("healVerifiedAt"))
    assert not any(lab.agents.is_cut(a, b) for a in MEMBERS for b in MEMBERS)
    status = lab.status(key)
    times = [
        parse_rfc3339(status[name]) for name in ("injectedAt", "observedAt", "healedAt", "healVerifiedAt")
    ]
    assert times == sorted(times)
    assert (times[2] - times[0]).total_seconds() == pytest.approx(0.7, abs=0.5)
    assert set(lab.conditions(key).items()) >= {
        ("Selected", "True"), ("Injected", "True"), ("EffectObserved", "True"), ("Healed", "True"),
        ("HealVerified", "True"),
    }  # fmt: skip
    assert [reason for reason, _ in lab.kube.events] == [
        "Selected", "Injected", "EffectObserved", "Healed", "HealVerified",
    ]  # fmt: skip


async def test_leases_are_renewed_for_as_long_as_the_cut_stands(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="4200ms")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        cut_off = lab.status(key)["cutOff"]
        other = next(name for name in MEMBERS if name not in cut_off)
        deadline = time.monotonic() + 3.5
        while time.monotonic() < deadline:
            assert lab.agents.is_cut(cut_off[0], other)
            await asyncio.sleep(0.1)
        assert "Interrupted" not in lab.conditions(key)


async def test_without_an_operator_the_cut_ends_with_its_lease(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="60s")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
    before = lab.status(key)["cutOff"]
    inside = before[0]
    outside = next(name for name in MEMBERS if name not in before)
    await until(lambda: not lab.agents.is_cut(inside, outside), within_s=4.0)

    # The next operator makes it again for the rest of its time, and says that it did not stand throughout.
    async with driven(lab, key):
        await until(lambda: lab.conditions(key).get("Interrupted") == "True")
        await until(lambda: lab.agents.is_cut(inside, outside))
        await until(lambda: lab.conditions(key).get("EffectObserved") == "True")
    assert lab.status(key)["cutOff"] == before


async def test_an_operator_that_is_back_within_the_lease_goes_on_as_if_nothing_had_happened(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="3s")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
    before = lab.status(key)["cutEdges"]
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("healVerifiedAt"))
    assert "Interrupted" not in lab.conditions(key)
    assert lab.status(key)["cutEdges"] == before


async def test_an_agent_that_is_away_for_longer_than_the_lease_interrupts_the_fault(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="60s")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        lab.agents.down = {"node-0"}
        await until(lambda: lab.conditions(key).get("Renewed") == "False")
        assert "node-0 cannot be reached" in lab.message(key, "Renewed")
        assert lab.conditions(key)["EffectObserved"] == "True"
        await until(lambda: not lab.agents.cut_on("node-0"), within_s=4.0)
        await until(lambda: lab.conditions(key).get("Interrupted") == "True", within_s=1.0)
        assert "until the agent of node node-0 is back" in lab.message(key, "Interrupted")
        assert lab.conditions(key)["EffectObserved"] == "Unknown"
        lab.agents.down = set()
        await until(lambda: lab.agents.cut_on("node-0") and lab.conditions(key)["Renewed"] == "True")
        await until(lambda: lab.conditions(key)["EffectObserved"] == "True")


async def test_an_agent_that_is_away_at_the_heal_is_waited_for_until_its_lease_has_ended(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="1s")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        lab.agents.down = {"node-1"}
        await until(lambda: lab.status(key).get("healedAt"), within_s=6.0)
        assert not any(lab.agents.is_cut(a, b) for a in MEMBERS for b in MEMBERS)
        await until(lambda: lab.conditions(key).get("HealVerified") == "Unknown")
        lab.agents.down = set()
        await until(lambda: lab.status(key).get("healVerifiedAt"))


async def test_an_operator_that_finds_an_expired_fault_heals_it(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="400ms")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("injectedAt"))
    await asyncio.sleep(0.5)
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("healVerifiedAt"))
    assert "Interrupted" not in lab.conditions(key), "its first lease outlasted it"


async def test_an_operator_that_is_back_after_the_end_says_that_the_cut_may_have_ended_early(
    lab: Lab,
) -> None:
    key = await lab.partition(topology=MINORITY, duration="4s")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
    inside = lab.status(key)["cutOff"][0]
    await until(lambda: not any(lab.agents.is_cut(inside, name) for name in MEMBERS), within_s=4.0)
    await asyncio.sleep(1.5)  # until the fault's own end
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("healVerifiedAt"))
    assert lab.conditions(key)["Interrupted"] == "True"


async def test_deleting_a_partition_heals_it_at_once(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="60s")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        await lab.kube.delete(*key)
        await until(lambda: not any(lab.agents.held.values()), within_s=0.5)


async def test_a_restarted_pod_is_put_under_the_fault_again(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="60s")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        inside = lab.status(key)["cutOff"][0]
        outside = next(name for name in MEMBERS if name not in lab.status(key)["cutOff"])
        lab.pod(inside, "10.0.0.77", "node-1", uid="2")
        await until(lambda: lab.agents.is_cut(inside, outside) and lab.agents.is_cut(outside, inside), 2.0)
        pods = {
            deaf.pod.container_id
            for faults in lab.agents.held.values()
            for _, injection in faults.values()
            for deaf in injection.deaf
        }
        assert f"embedded://{inside}-2" in pods
        await until(lambda: lab.conditions(key)["EffectObserved"] == "True")
        lab.agents.ineffective = True
        lab.pod(inside, "10.0.0.78", "node-1", uid="3")
        await until(lambda: lab.conditions(key)["EffectObserved"] != "True")


async def test_clients_kept_to_one_side_do_not_reach_the_other(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, clients="majority")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        for name in MEMBERS:
            assert lab.agents.is_cut("demo-load", name) == (name in lab.status(key)["cutOff"])
            assert lab.agents.is_cut(name, "demo-load") == (name in lab.status(key)["cutOff"])


async def test_dry_run_says_what_it_would_cut_and_cuts_nothing(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, dryRun=True)
    async with driven(lab, key):
        await until(lambda: lab.conditions(key).get("Injected") == "False")
        assert len(lab.status(key)["cutEdges"]) == 12
        await asyncio.sleep(0.1)
    assert not lab.agents.puts


async def test_a_cut_that_has_no_effect_is_not_called_observed(lab: Lab) -> None:
    lab.agents.ineffective = True
    key = await lab.partition(topology=MINORITY, duration="5s")
    async with driven(lab, key):
        await until(lambda: lab.conditions(key).get("EffectObserved") == "False", within_s=5.0)
    assert "not cut: demo-" in lab.message(key, "EffectObserved")
    assert not lab.status(key).get("observedAt")


async def test_an_agent_that_is_away_makes_the_fault_give_up_and_undo_the_rest(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faultlab_operator.faults.reconciler.INJECT_WINDOW_S", 0.3)
    monkeypatch.setattr("faultlab_operator.faults.reconciler.AGENT_WAIT_S", 0.2)
    lab.agents.down = {"node-1"}
    key = await lab.partition(topology=MINORITY)
    async with driven(lab, key):
        await until(lambda: lab.conditions(key).get("Injected") == "False")
        await until(lambda: not lab.agents.held.get("node-0"))
    assert "node-1 cannot be reached" in lab.message(key, "Injected")


async def test_the_heal_annotation_ends_a_fault_before_its_time(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="60s")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        await lab.kube.patch(*key, {"metadata": {"annotations": {"faultlab.dev/heal": "now"}}})
        await until(lambda: lab.status(key).get("healVerifiedAt"))


async def test_a_followed_role_takes_the_cut_with_it(lab: Lab) -> None:
    topology = {"type": "isolate", "with": {"role": "leader", "follow": True}}
    key = await lab.partition(topology=topology, duration="60s")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        assert lab.status(key)["cutOff"] == ["demo-2"]
        lab.members.lead("demo-4", MEMBERS, term=4)
        await until(lambda: lab.status(key)["cutOff"] == ["demo-4"])
        await until(
            lambda: lab.agents.is_cut("demo-0", "demo-4") and not lab.agents.is_cut("demo-0", "demo-2")
        )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"topology": {"type": "isolate", "with": {"members": ["demo-9"]}}}, "write one of demo-0"),
        ({"topology": MINORITY, "maxAffected": 1}, "write maxAffected: 2"),
        ({"topology": {**MINORITY, "size": 3}}, "a minority of 5 nodes has 1 to 2 nodes"),
        ({"topology": {"type": "majoritiesRing"}, "clients": "majority"}, "write clients: both"),
        (
            {
                "topology": {
                    "type": "oneWay", "with": {"role": "leader"}, "towards": {"members": ["demo-2"]},
                }
            },
            "cannot be cut off from itself",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_within_a_second_with_what_to_write(
    lab: Lab, spec: dict[str, Any], says: str
) -> None:
    key = await lab.partition(**spec)
    async with driven(lab, key):
        await until(lambda: lab.conditions(key).get("Selected") == "False", within_s=1.0)
    assert says in lab.message(key, "Selected")
    assert not lab.agents.puts


async def test_a_namespace_that_does_not_allow_chaos_is_refused(lab: Lab) -> None:
    lab.kube._put({"kind": "Namespace", "metadata": {"name": NAMESPACE, "namespace": "", "labels": {}}})
    key = await lab.partition(topology=MINORITY)
    async with driven(lab, key):
        await until(lambda: lab.conditions(key).get("Selected") == "False", within_s=1.0)
    assert f"kubectl label namespace {NAMESPACE} faultlab.dev/chaos=enabled" in lab.message(key, "Selected")


async def test_a_second_partition_of_one_system_is_refused_while_the_first_stands(lab: Lab) -> None:
    first = await lab.partition("first", topology=MINORITY)
    second = await lab.partition("second", topology=MINORITY)
    async with driven(lab, first):
        await until(lambda: lab.status(first).get("observedAt"))
        reconciler = PartitionReconciler(lab.services, lab.agents)  # type: ignore[arg-type]
        await reconciler.reconcile(second)
        await reconciler.close()
    assert lab.conditions(second)["Selected"] == "False"
    assert "first partitions demo already" in lab.message(second, "Selected")


async def test_a_partition_waits_for_a_leader_and_then_cuts_it_off(lab: Lab) -> None:
    lab.members.lead(None, MEMBERS)
    key = await lab.partition(topology=MINORITY)
    async with driven(lab, key):
        await until(lambda: lab.conditions(key).get("Selected") == "Unknown")
        assert "no member leads" in lab.message(key, "Selected")
        lab.members.lead("demo-1", MEMBERS)
        await until(lambda: lab.status(key).get("observedAt"))
    assert "demo-1" in lab.status(key)["cutOff"]
    assert lab.status(key)["leaderAtInjection"] == "demo-1"


def _pod_elsewhere(lab: Lab, name: str, address: str) -> None:
    status = {"phase": "Running", "podIP": address, "containerStatuses": [{"containerID": f"x://{name}"}]}
    metadata = {"name": name, "namespace": "else", "uid": name}
    lab.kube._put({"kind": "Pod", "metadata": metadata, "spec": {"nodeName": "node-0"}, "status": status})


def _elsewhere(lab: Lab) -> None:
    """A namespace in which pods of another system have the same names."""
    labels = {"faultlab.dev/chaos": "enabled"}
    lab.kube._put({"kind": "Namespace", "metadata": {"name": "else", "namespace": "", "labels": labels}})
    for name in MEMBERS:
        pod = lab.cache.get("Pod", NAMESPACE, name)
        assert pod is not None
        labels = {"app.kubernetes.io/component": "member", "faultlab.dev/system-name": "other"}
        metadata = {"name": name, "namespace": "else", "uid": f"else-{name}", "labels": labels}
        lab.kube._put({**pod, "metadata": metadata})


BY_LABEL = {"labelSelectors": {"faultlab.dev/system-name": "demo"}, "namespaces": [NAMESPACE, "else"]}


async def test_pods_of_the_same_names_in_another_namespace_are_left_alone(lab: Lab) -> None:
    _elsewhere(lab)
    key = await lab.partition(topology=MINORITY, selector=BY_LABEL)
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        injections = [each for faults in lab.agents.held.values() for _, each in faults.values()]
        assert {deaf.pod.namespace for each in injections for deaf in each.deaf} == {NAMESPACE}
    assert lab.status(key)["namespace"] == NAMESPACE


async def test_a_partition_from_another_namespace_meets_the_one_that_stands(lab: Lab) -> None:
    _elsewhere(lab)
    first = await lab.partition("first", topology=MINORITY)
    second = Key("NetworkPartition", "else", "second")
    async with driven(lab, first, second):
        await until(lambda: lab.status(first).get("observedAt"))
        await lab.kube.apply(
            {
                "apiVersion": "faultlab.dev/v1alpha1",
                "kind": "NetworkPartition",
                "metadata": {"name": "second", "namespace": "else"},
                "spec": {"selector": BY_LABEL, "topology": MINORITY, "duration": "5s"},
            }
        )
        await until(lambda: lab.cache.get(*second) and lab.conditions(second).get("Selected") == "False")
    assert "first partitions demo already" in lab.message(second, "Selected")


async def test_an_address_that_went_to_a_pod_of_another_system_is_not_cut_any_more(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="60s")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        cut_off = lab.status(key)["cutOff"]
        outside = next(name for name in MEMBERS if name not in cut_off)
        address = lab.agents.addresses[outside]
        gone = lab.cache.get("Pod", NAMESPACE, outside)
        assert gone is not None

        def sources() -> set[str]:
            held = [each for faults in lab.agents.held.values() for _, each in faults.values()]
            return {source for each in held for deaf in each.deaf for source in deaf.sources}

        assert address in sources()
        lab.cache.drop(gone)
        _pod_elsewhere(lab, "stranger", address)
        await until(lambda: address not in sources(), within_s=0.5)
        lab.pod(outside, "10.0.0.99", "node-1", uid="2")
        await until(lambda: "10.0.0.99" in sources(), within_s=0.5)
        assert address not in sources()


async def test_a_pod_that_ended_and_kept_its_address_in_the_status_is_not_cut_any_more(lab: Lab) -> None:
    key = await lab.partition(topology=MINORITY, duration="60s")
    async with driven(lab, key):
        await until(lambda: lab.status(key).get("observedAt"))
        inside = lab.status(key)["cutOff"][0]
        assert any(lab.agents.is_cut(inside, name) for name in MEMBERS)
        pod = lab.cache.get("Pod", NAMESPACE, inside)
        assert pod is not None
        lab.kube._put({**pod, "status": {**pod["status"], "phase": "Failed"}})
        await until(lambda: not any(lab.agents.is_cut(inside, name) for name in MEMBERS), within_s=0.5)


@pytest.mark.parametrize("addresses", [["fd00::7"], ["fd00::7", "10.0.0.7"]])
async def test_pods_are_cut_by_their_ipv4_address_or_the_fault_is_refused(
    lab: Lab, addresses: list[str]
) -> None:
    lab.pod("demo-0", "10.0.0.7", "node-0")
    pod = lab.cache.get("Pod", NAMESPACE, "demo-0")
    assert pod is not None
    given = {"podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses]}
    lab.kube._put({**pod, "status": {**pod["status"], **given}})
    key = await lab.partition(topology=MINORITY)
    async with driven(lab, key):
        if len(addresses) > 1:
            await until(lambda: lab.status(key).get("observedAt"))
            return
        await until(lambda: lab.conditions(key).get("Selected") == "False")
    assert "pod demo-0 has only the address fd00::7" in lab.message(key, "Selected")
    assert not lab.agents.puts


async def test_a_second_lapse_is_told_like_the_first(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faultlab_operator.faults.leases.LEASE_S", 0.4)
    monkeypatch.setattr("faultlab_operator.faults.leases.RENEW_EVERY_S", 0.1)
    key = await lab.partition(topology=MINORITY, duration="60s")
    async with driven(lab, key):
        for _ in range(2):
            await until(lambda: lab.conditions(key).get("EffectObserved") == "True")
            lab.agents.down = {"node-0"}
            await until(lambda: lab.conditions(key)["EffectObserved"] == "Unknown")
            assert "node-0" in lab.message(key, "EffectObserved")
            lab.agents.down = set()
        await until(lambda: lab.conditions(key).get("EffectObserved") == "True")
    assert [reason for reason, _ in lab.kube.events].count("Interrupted") == 4, "away and back, twice"
