"""RaftCluster -> ConfigMap, headless Service, StatefulSet, PodDisruptionBudget."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from faultlab.contract.member import PeerAddress, RaftConfig
from faultlab.contract.ports import ADMIN_PORT, CLIENT_PORT, PEER_PORT
from faultlab_operator.api import RaftCluster
from faultlab_operator.api.quantity import quantity
from faultlab_operator.render.common import (
    CONFIG_HASH,
    CONTAINER_SECURITY,
    POD_SECURITY,
    Object,
    child_labels,
    child_metadata,
    config_map,
    digest,
    http_probe,
    resources,
    selector_labels,
)

APP: Final = "raft"
COMPONENT: Final = "member"
CONTAINER: Final = "member"
STOPS_WITHIN_S: Final = 4
"""A member ends so long after it has handed the leadership over, which takes an election timeout at most."""
PEERS_FOLDER: Final = "/etc/faultlab/peers"
CLIENTS_FOLDER: Final = "/etc/faultlab/clients"
PEER_KEY: Final = "key"
"""In the Secret of `peer_secret_name`."""
USERS: Final = "users.json"
"""In the Secret that `clientAuth` names."""
DEFAULT_LOG_BYTES: Final = 64 * 2**20
LOG_SHARE: Final = 8
"""Between two snapshots the log grows by at most this part of the volume: where they are late it gets four
times as long before writes are refused. The other half is for two snapshots and one that comes in."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Who is a member, as the children say it; nobody is restarted because it changes."""

    members: tuple[PeerAddress, ...]
    """With the ids of those that joined later."""
    initial_state: Literal["new", "existing"]
    pods: int
    spare: int
    """So many pods may be evicted at a time without costing a majority."""


def founding(cluster: RaftCluster, replicas: int) -> Membership:
    """A cluster of which nobody has ever run."""
    return Membership(peer_addresses(cluster, replicas), "new", replicas, spare_of(replicas))


def spare_of(voters: int) -> int:
    """How many of them a majority can do without."""
    return max(0, (voters - 1) // 2)


def member_names(name: str, replicas: int) -> tuple[str, ...]:
    """The members' names, which are their pods'."""
    return tuple(f"{name}-{index}" for index in range(replicas))


def peer_secret_name(name: str) -> str:
    """The Secret with the key by which a cluster's members prove themselves to each other."""
    return f"{name}-peers"


def peer_addresses(cluster: RaftCluster, replicas: int | None = None) -> tuple[PeerAddress, ...]:
    """Every member (as many as wanted, if no number is given) with the host name under which pods in and
    outside of the cluster reach it."""
    names = member_names(cluster.metadata.name, cluster.spec.replicas if replicas is None else replicas)
    return tuple(PeerAddress(name=member, host=member_host(cluster, member)) for member in names)


def member_host(cluster: RaftCluster, member: str) -> str:
    return f"{member}.{cluster.metadata.name}.{cluster.metadata.namespace}.svc"


def raft_config(cluster: RaftCluster, membership: Membership) -> RaftConfig:
    """The configuration that all members read."""
    spec = cluster.spec
    return RaftConfig(
        cluster=cluster.metadata.name,
        members=membership.members,
        initial_state=membership.initial_state,
        election_timeout_ms=round(spec.election_timeout.ms),
        heartbeat_interval_ms=round(spec.heartbeat_interval.ms),
        reads=spec.reads,
        max_clock_drift_percent=spec.max_clock_drift_percent,
        on_follower=spec.on_follower,
        pre_vote=spec.pre_vote,
        check_quorum=spec.check_quorum,
        priorities=spec.leader_priority,
        snapshot_log_bytes=snapshot_log_bytes(cluster),
        max_uncommitted_bytes=int(quantity(spec.max_uncommitted)),
        peer_key_file=f"{PEERS_FOLDER}/{PEER_KEY}",
        client_auth_file=f"{CLIENTS_FOLDER}/{USERS}" if spec.client_auth is not None else None,
        break_rule=spec.testing.break_rule if spec.testing is not None else None,
    )


def snapshot_log_bytes(cluster: RaftCluster) -> int:
    """As the spec says, else what fits into the volume."""
    wanted = cluster.spec.snapshot.log_size
    if wanted is not None:
        return int(quantity(wanted))
    return min(DEFAULT_LOG_BYTES, int(quantity(cluster.spec.storage.size)) // LOG_SHARE)


def raft_labels(cluster: RaftCluster) -> dict[str, str]:
    name = cluster.metadata.name
    return child_labels(APP, COMPONENT, name, "RaftCluster", name)


def raft_selector(cluster: RaftCluster) -> dict[str, str]:
    """Selects the member pods."""
    return selector_labels(APP, COMPONENT, cluster.metadata.name)


def raft_children(cluster: RaftCluster, image: str, membership: Membership | None = None) -> list[Object]:
    """Everything that a cluster consists of, in the order in which it is best applied: a pod that joins
    finds its id in the ConfigMap. Without a membership that of a new cluster.

    The Secret of `peer_secret` is not among them: it is made once and never written again.
    """
    membership = membership or founding(cluster, cluster.spec.replicas)
    config = config_map(
        f"{cluster.metadata.name}-config",
        "RaftCluster",
        cluster.metadata,
        raft_labels(cluster),
        raft_config(cluster, membership),
    )
    return [
        config,
        _service(cluster),
        _stateful_set(cluster, image, membership.pods),
        _budget(cluster, membership.spare),
    ]


def peer_secret(cluster: RaftCluster) -> Object:
    """The metadata of the Secret with the key by which members prove themselves to each other."""
    return _metadata(cluster, peer_secret_name(cluster.metadata.name))


def template_hash(cluster: RaftCluster, pod_spec: Object) -> str:
    """Of everything that a member is restarted for: all but who the members are."""
    return digest(raft_config(cluster, Membership((), "new", 0, 0)), pod_spec)


def config_hash_of(stateful_set: Mapping[str, Any]) -> str:
    """The hash that pods of the current template carry; empty where somebody took it out."""
    return str((stateful_set["spec"]["template"]["metadata"].get("annotations") or {}).get(CONFIG_HASH, ""))


def _service(cluster: RaftCluster) -> Object:
    """Headless; names members that are not ready too, or they could never meet to become it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(cluster, cluster.metadata.name),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": raft_selector(cluster),
            "ports": [
                {"name": "client", "port": CLIENT_PORT, "targetPort": "client", "protocol": "TCP"},
                {"name": "peer", "port": PEER_PORT, "targetPort": "peer", "protocol": "TCP"},
                {"name": "admin", "port": ADMIN_PORT, "targetPort": "admin", "protocol": "TCP"},
            ],
        },
    }


def _stateful_set(cluster: RaftCluster, image: str, pods: int) -> Object:
    """Parallel, because members need each other to become ready; OnDelete, because the operator rolls."""
    spec = _pod_spec(cluster, image)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(cluster, cluster.metadata.name),
        "spec": {
            "serviceName": cluster.metadata.name,
            "replicas": pods,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            # A later cluster of this name must not start from this one's log. A number of replicas that
            # somebody else wrote must not cost a log: of members that were removed the operator deletes it.
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
            "selector": {"matchLabels": raft_selector(cluster)},
            "template": {
                "metadata": {
                    "labels": raft_labels(cluster),
                    "annotations": {CONFIG_HASH: template_hash(cluster, spec)},
                },
                "spec": spec,
            },
            "volumeClaimTemplates": [_claim(cluster)],
        },
    }


def _pod_spec(cluster: RaftCluster, image: str) -> Object:
    mounts, volumes = _files(cluster)
    return {
        "terminationGracePeriodSeconds": math.ceil(cluster.spec.election_timeout.ms / 1000) + STOPS_WITHIN_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "affinity": _spread(cluster),
        "containers": [
            {
                "name": CONTAINER,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["faultlab-node", "raft", "--config", "/config/config.json"],
                "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "ports": [
                    {"name": "client", "containerPort": CLIENT_PORT, "protocol": "TCP"},
                    {"name": "peer", "containerPort": PEER_PORT, "protocol": "TCP"},
                    {"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
                ],
                "resources": resources(cluster.spec.resources),
                "securityContext": CONTAINER_SECURITY,
                "livenessProbe": http_probe(
                    "/healthz", "admin", period_s=5, failures=6, timeout_s=3, delay_s=10
                ),
                "readinessProbe": http_probe("/readyz", "admin", period_s=1, failures=2),
                # Why a member refused to start is in its pod's status.
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    *mounts,
                    {"name": "data", "mountPath": "/data"},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
            }
        ],
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}],
    }


def _files(cluster: RaftCluster) -> tuple[list[Object], list[Object]]:
    """Mounts and volumes of what a member reads and never writes."""
    name, auth = cluster.metadata.name, cluster.spec.client_auth
    found = [
        ("config", "/config", {"configMap": {"name": f"{name}-config"}}),
        ("peers", PEERS_FOLDER, {"secret": {"secretName": peer_secret_name(name)}}),
    ]
    if auth is not None:
        found.append(("clients", CLIENTS_FOLDER, {"secret": {"secretName": auth.secret_name}}))
    return (
        [{"name": volume, "mountPath": path, "readOnly": True} for volume, path, _ in found],
        [{"name": volume, **source} for volume, _, source in found],
    )


def _spread(cluster: RaftCluster) -> Object:
    """Members on different nodes where there are several."""
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "podAffinityTerm": {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": raft_selector(cluster)},
                    },
                }
            ]
        }
    }


def _claim(cluster: RaftCluster) -> Object:
    storage = cluster.spec.storage
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "labels": raft_selector(cluster)},
        "spec": spec,
    }


def _budget(cluster: RaftCluster, spare: int) -> Object:
    """As many members may be evicted as a majority can spare; of a single one, none."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(cluster, cluster.metadata.name),
        "spec": {
            "maxUnavailable": spare,
            "selector": {"matchLabels": raft_selector(cluster)},
        },
    }


def _metadata(cluster: RaftCluster, name: str) -> Object:
    return child_metadata(name, "RaftCluster", cluster.metadata, raft_labels(cluster))
