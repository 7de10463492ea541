"""Children as they are rendered, kept as files. `FAULTLAB_UPDATE_GOLDEN=1` writes them anew."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from faultlab.contract.member import PeerAddress
from faultlab_operator.api import LoadTest, RaftCluster
from faultlab_operator.render import load_children, peer_addresses, raft_children
from faultlab_operator.render.raftcluster import Membership

GOLDEN = Path(__file__).parent / "golden"
IMAGE = "faultlab/faultlab:0.1.0"
UID = "11111111-2222-3333-4444-555555555555"

CLUSTERS: dict[str, dict[str, Any]] = {
    "raft-defaults": {},
    "raft-everything": {
        "replicas": 5,
        "electionTimeout": "1.5s",
        "heartbeatInterval": "100ms",
        "reads": "stale",
        "maxClockDriftPercent": 20,
        "leaderPriority": {"demo-0": 10},
        "maxUncommitted": "16Mi",
        "snapshot": {"logSize": "96Mi"},
        "clientAuth": {"secretName": "demo-users"},
        "onFollower": "redirect",
        "preVote": False,
        "checkQuorum": False,
        "image": "registry.example:5000/lab/faultlab:next",
        "storage": {"size": "1Gi", "storageClassName": "fast"},
        "resources": {"requests": {"cpu": "1", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
        "testing": {"breakRule": "staleReads"},
    },
}
LOADS: dict[str, dict[str, Any]] = {
    "load-defaults": {},
    "load-everything": {
        "users": 40,
        "workers": 2,
        "arrival": {"mode": "constantRate", "operationsPerSecond": 400},
        "mix": {"read": 50, "write": 20, "cas": 10, "append": 15, "incr": 5},
        "keys": {"count": 20, "distribution": "zipfian", "exponent": 1.2},
        "operationTimeout": "1500ms",
        "retries": False,
        "sessions": False,
        "clientAuth": {"secretName": "demo-login"},
        "record": False,
        "seed": 7,
    },
}


class Readable(yaml.SafeDumper):
    """Texts of several lines as such."""

    def represent_str(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    def ignore_aliases(self, _data: Any) -> bool:
        return True


Readable.add_representer(str, Readable.represent_str)


def cluster(spec: dict[str, Any]) -> RaftCluster:
    return RaftCluster.parse(
        {"metadata": {"name": "demo", "namespace": "faultlab", "uid": UID}, "spec": spec}
    )


def load(spec: dict[str, Any]) -> LoadTest:
    system = {"kind": "RaftCluster", "name": "demo"}
    return LoadTest.parse(
        {
            "metadata": {"name": "demo", "namespace": "faultlab", "uid": UID},
            "spec": {"system": system, **spec},
        }
    )


def rendered(name: str) -> list[dict[str, Any]]:
    if name in CLUSTERS:
        made = cluster(CLUSTERS[name])
        return raft_children(made, made.spec.image or IMAGE)
    return load_children(load(LOADS[name]), peer_addresses(cluster({})), seed=42, image=IMAGE)


ALL = [*CLUSTERS, *LOADS]


@pytest.mark.parametrize("name", ALL)
def test_children_are_those_of_the_golden_file(name: str) -> None:
    file = GOLDEN / f"{name}.yaml"
    made = rendered(name)
    if os.environ.get("FAULTLAB_UPDATE_GOLDEN"):
        file.write_text(yaml.dump_all(made, Dumper=Readable, sort_keys=False))
    assert made == list(yaml.safe_load_all(file.read_text()))


@pytest.mark.parametrize("name", ALL)
def test_rendering_twice_gives_the_same(name: str) -> None:
    assert rendered(name) == rendered(name)


@pytest.mark.parametrize("name", ALL)
def test_every_child_is_owned_and_does_not_hold_its_owner_back(name: str) -> None:
    for child in rendered(name):
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner["uid"] == UID
        assert owner["controller"] is True
        assert owner["blockOwnerDeletion"] is False
        assert "finalizers" not in child["metadata"]


@pytest.mark.parametrize("name", ALL)
def test_every_child_carries_the_labels(name: str) -> None:
    for child in rendered(name):
        labels = child["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "faultlab"
        assert labels["app.kubernetes.io/instance"] == "demo"
        assert labels["faultlab.dev/system-kind"] == "RaftCluster"
        assert labels["faultlab.dev/system-name"] == "demo"


def pod_specs(name: str) -> list[dict[str, Any]]:
    specs = []
    for child in rendered(name):
        if child["kind"] == "Pod":
            specs.append(child["spec"])
        elif child["kind"] == "StatefulSet":
            specs.append(child["spec"]["template"]["spec"])
    return specs


@pytest.mark.parametrize("name", ALL)
def test_pods_fit_the_restricted_security_level(name: str) -> None:
    (spec,) = pod_specs(name)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]
    for volume in spec["volumes"]:
        assert "hostPath" not in volume


def test_liveness_and_readiness_ask_different_questions() -> None:
    (spec,) = pod_specs("raft-defaults")
    (container,) = spec["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["readinessProbe"]["periodSeconds"] == 1


def config_of(spec: dict[str, Any], membership: Membership | None = None) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(
        raft_children(cluster(spec), IMAGE, membership)[0]["data"]["config.json"]
    )
    return made


def test_only_members_are_given_the_peers_key() -> None:
    for name in ALL:
        (spec,) = pod_specs(name)
        mounted = {(volume.get("secret") or {}).get("secretName") for volume in spec["volumes"]} - {None}
        assert ("demo-peers" in mounted) is name.startswith("raft"), name
        for mount in spec["containers"][0]["volumeMounts"]:
            assert mount.get("readOnly") or mount["name"] in ("data", "tmp")


def test_the_log_leaves_room_for_snapshots_on_a_small_volume() -> None:
    assert config_of({})["snapshotLogBytes"] == 32 * 2**20
    assert config_of({"storage": {"size": "40Mi"}})["snapshotLogBytes"] == 5 * 2**20
    assert config_of({"storage": {"size": "10Gi"}})["snapshotLogBytes"] == 64 * 2**20
    assert config_of({"snapshot": {"logSize": "3Mi"}})["snapshotLogBytes"] == 3 * 2**20


def test_who_is_a_member_restarts_nobody() -> None:
    made = cluster({})
    grown = Membership(
        (*peer_addresses(made), PeerAddress("demo-3", "demo-3.demo.faultlab.svc", id="demo-3#17")),
        "existing",
        4,
        1,
    )
    assert config_of({}, grown) != config_of({})
    hashes = {
        children[2]["spec"]["template"]["metadata"]["annotations"]["faultlab.dev/config-hash"]
        for children in (raft_children(made, IMAGE), raft_children(made, IMAGE, grown))
    }
    assert len(hashes) == 1
    assert raft_children(made, IMAGE, grown)[2]["spec"]["replicas"] == 4


def test_a_leader_has_time_to_hand_over_before_it_is_killed() -> None:
    grace = lambda spec: raft_children(cluster(spec), IMAGE)[2]["spec"]["template"]["spec"][  # noqa: E731
        "terminationGracePeriodSeconds"
    ]
    assert grace({}) == 5
    assert grace({"electionTimeout": "30s"}) == 34


def template_hash(spec: dict[str, Any], image: str = IMAGE) -> str:
    (made,) = [child for child in raft_children(cluster(spec), image) if child["kind"] == "StatefulSet"]
    annotations = made["spec"]["template"]["metadata"]["annotations"]
    assert list(annotations) == ["faultlab.dev/config-hash"]
    return str(annotations["faultlab.dev/config-hash"])


@pytest.mark.parametrize(
    "change",
    [{"electionTimeout": "900ms"}, {"reads": "stale"}, {"resources": {"limits": {"memory": "512Mi"}}}],
    ids=str,
)
def test_the_hash_changes_with_whatever_a_member_must_restart_for(change: dict[str, Any]) -> None:
    assert template_hash(change) != template_hash({})
    assert template_hash({}, image="faultlab/faultlab:9") != template_hash({})


@pytest.mark.parametrize(("replicas", "spared"), [(1, 0), (3, 1), (5, 2), (7, 3), (9, 4)])
def test_evictions_never_cost_the_majority(replicas: int, spared: int) -> None:
    (budget,) = [
        child
        for child in raft_children(cluster({"replicas": replicas}), IMAGE)
        if child["kind"] == "PodDisruptionBudget"
    ]
    assert budget["spec"]["maxUnavailable"] == spared


def test_two_loads_never_share_keys() -> None:
    first = load({})
    second = first.model_copy(deep=True)
    second.metadata.uid = "99999999-2222-3333-4444-555555555555"
    configs = [
        load_children(one, peer_addresses(cluster({})), seed=1, image=IMAGE)[0]["data"]["config.json"]
        for one in (first, second)
    ]
    assert '"keyPrefix": "11111111-"' in configs[0]
    assert '"keyPrefix": "99999999-"' in configs[1]
