"""Every topology on offer in chaos/faults: cut as it says, proven, healed, and nothing of it left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import CHAOS_NAMESPACE_LABELS, ROOT, Lab, eventually

from faultlab_chaos.injectors.partition import table_name

pytestmark = pytest.mark.e2e
NAMESPACE = "t-partitions"
MEMBERS = tuple(f"demo-{index}" for index in range(5))
CLUSTER = {
    "apiVersion": "faultlab.dev/v1alpha1",
    "kind": "RaftCluster",
    "metadata": {"name": "demo"},
    "spec": {"replicas": 5, "electionTimeout": "400ms"},
}
FAULTS = sorted((ROOT / "chaos" / "faults").glob("*.yaml"))
HELD_S = 5.0
WITHIN_S = 20.0
"""What is held up by a busy machine only; benchmarks/cluster.py tells how long it takes."""

Edges = set[tuple[str, str]]
"""(source, target): the target does not hear the source."""


@pytest.fixture(scope="module")
def demo(world_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Five members that have a leader, in a namespace of their own."""
    world_lab.make_namespace(NAMESPACE, CHAOS_NAMESPACE_LABELS)
    try:
        applied = world_lab.apply(tmp_path_factory.mktemp("demo"), NAMESPACE, CLUSTER)
        assert applied.returncode == 0, applied.stderr
        eventually("the cluster is Ready", lambda: world_lab.holds("raft", "demo", "Ready", NAMESPACE), 90)
        yield world_lab
    finally:
        world_lab.delete_namespace(NAMESPACE)


@pytest.mark.parametrize("manifest", FAULTS, ids=lambda path: path.stem)
def test_a_topology_is_cut_proven_and_healed_without_a_trace(
    demo: Lab, manifest: Path, tmp_path: Path
) -> None:
    eventually("one leader", lambda: _one_leader(demo), WITHIN_S)
    fault = yaml.safe_load(manifest.read_text())
    fault["spec"]["duration"] = f"{HELD_S:.0f}s"
    name = fault["metadata"]["name"]
    applied = demo.apply(tmp_path, NAMESPACE, fault)
    assert applied.returncode == 0, applied.stderr

    def holds(condition: str) -> bool:
        return demo.holds("networkpartition", name, condition, NAMESPACE)

    eventually("the cut is proven", lambda: holds("EffectObserved"), WITHIN_S)
    status = demo.status_of("networkpartition", name, NAMESPACE)
    cut: Edges = {(edge["source"], edge["target"]) for edge in status["cutEdges"]}
    expected = _expected(fault["spec"]["topology"], status)
    assert cut == expected, status
    unreached = [member for member in MEMBERS if demo.member(member, NAMESPACE) is None]
    assert holds("Healed") or not unreached, "an admin port is not reached under the cut"
    eventually("the heal is proven", lambda: holds("HealVerified"), HELD_S + WITHIN_S)
    eventually("all members follow one leader", lambda: _one_leader(demo), WITHIN_S)

    found = demo.object("networkpartition", name, NAMESPACE)
    assert found is not None
    conditions = {each["type"]: each["status"] for each in found["status"]["conditions"]}
    assert "Interrupted" not in conditions, found["status"]
    left = table_name("faultlab-operator", f"{NAMESPACE}/{name}/{found['metadata']['uid']}")
    assert not [line for line in demo.tables() if line.endswith(left)]
    for pod in demo.objects("pod", NAMESPACE, "app.kubernetes.io/component=member"):
        assert [each["restartCount"] for each in pod["status"]["containerStatuses"]] == [0]


def _one_leader(lab: Lab) -> str | None:
    """The member that all members name as their leader."""
    views = [lab.member(name, NAMESPACE) for name in MEMBERS]
    named = {view["leader"] if view else None for view in views}
    return named.pop() if len(named) == 1 else None


def _expected(topology: dict[str, Any], status: dict[str, Any]) -> Edges:
    """What the topology's words say, from the members that the operator chose."""
    cut_off = set(status["cutOff"])
    rest = set(MEMBERS) - cut_off
    match topology["type"]:
        case "isolate":
            assert cut_off == {status["leaderAtInjection"]}
            return _apart(cut_off, rest)
        case "halves":
            assert "demo-0" in cut_off
            assert len(cut_off) == 2
            return _apart(cut_off, rest)
        case "minority":
            assert status["leaderAtInjection"] in cut_off
            assert len(cut_off) == 2
            return _apart(cut_off, rest)
        case "bridge":
            heard_by_both = rest - {edge["source"] for edge in status["cutEdges"]}
            assert len(cut_off) == 2
            assert len(heard_by_both) == 1
            assert heard_by_both != {status["leaderAtInjection"]}
            return _apart(cut_off, rest - heard_by_both)
        case "majoritiesRing":
            ring = [(index, (index + step) % 5) for index in range(5) for step in (2, 3)]
            return {(MEMBERS[a], MEMBERS[b]) for a, b in ring}
        case "oneWay":
            assert cut_off == {status["leaderAtInjection"]}
            return {(leader, other) for leader in cut_off for other in rest}
        case "groups":
            sides = [set(group) for group in topology["groups"]]
            pairs = [(a, b) for a in sides for b in sides if a is not b]
            return {(source, target) for a, b in pairs for source in a for target in b}
        case other:
            raise AssertionError(f"chaos/faults offers {other}, and this test does not know it")


def _apart(one: set[str], other: set[str]) -> Edges:
    """Neither hears the other."""
    return {edge for a in one for b in other for edge in ((a, b), (b, a))}
