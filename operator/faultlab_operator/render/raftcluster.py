"""RaftCluster -> ConfigMap, headless Service, StatefulSet, PodDisruptionBudget."""

from collections.abc import Mapping
from typing import Any, Final

from faultlab.contract.member import PeerAddress, RaftConfig
from faultlab.contract.ports import ADMIN_PORT, CLIENT_PORT, PEER_PORT
from faultlab_operator.api import RaftCluster
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
TERMINATION_GRACE_S: Final = 5


def member_names(name: str, replicas: int) -> tuple[str, ...]:
    """The members' names, which are their pods'."""
    return tuple(f"{name}-{index}" for index in range(replicas))


def peer_addresses(cluster: RaftCluster) -> tuple[PeerAddress, ...]:
    """Every member with the host name under which pods in and outside of the cluster reach it."""
    name, namespace = cluster.metadata.name, cluster.metadata.namespace
    return tuple(
        PeerAddress(name=member, host=f"{member}.{name}.{namespace}.svc")
        for member in member_names(name, cluster.spec.replicas)
    )


def raft_config(cluster: RaftCluster) -> RaftConfig:
    """The configuration that all members read."""
    spec = cluster.spec
    return RaftConfig(
        cluster=cluster.metadata.name,
        members=peer_addresses(cluster),
        election_timeout_ms=round(spec.election_timeout.ms),
        heartbeat_interval_ms=round(spec.heartbeat_interval.ms),
        reads=spec.reads,
        on_follower=spec.on_follower,
        pre_vote=spec.pre_vote,
        check_quorum=spec.check_quorum,
        break_rule=spec.testing.break_rule if spec.testing is not None else None,
    )


def raft_labels(cluster: RaftCluster) -> dict[str, str]:
    name = cluster.metadata.name
    return child_labels(APP, COMPONENT, name, "RaftCluster", name)


def raft_selector(cluster: RaftCluster) -> dict[str, str]:
    """Selects the member pods."""
    return selector_labels(APP, COMPONENT, cluster.metadata.name)


def raft_children(cluster: RaftCluster, image: str) -> list[Object]:
    """Everything that a cluster consists of, in the order in which it is best applied."""
    config = config_map(
        f"{cluster.metadata.name}-config",
        "RaftCluster",
        cluster.metadata,
        raft_labels(cluster),
        raft_config(cluster),
    )
    return [config, _service(cluster), _stateful_set(cluster, image, config), _budget(cluster)]


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


def _stateful_set(cluster: RaftCluster, image: str, config: Object) -> Object:
    """Parallel, because members need each other to become ready; OnDelete, because the operator rolls."""
    spec = _pod_spec(cluster, image)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(cluster, cluster.metadata.name),
        "spec": {
            "serviceName": cluster.metadata.name,
            "replicas": cluster.spec.replicas,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            # A later cluster of this name must not start from this one's log.
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
            "selector": {"matchLabels": raft_selector(cluster)},
            "template": {
                "metadata": {
                    "labels": raft_labels(cluster),
                    "annotations": {CONFIG_HASH: digest(config["data"], spec)},
                },
                "spec": spec,
            },
            "volumeClaimTemplates": [_claim(cluster)],
        },
    }


def _pod_spec(cluster: RaftCluster, image: str) -> Object:
    return {
        "terminationGracePeriodSeconds": TERMINATION_GRACE_S,
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
                "volumeMounts": [
                    {"name": "config", "mountPath": "/config", "readOnly": True},
                    {"name": "data", "mountPath": "/data"},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
            }
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": f"{cluster.metadata.name}-config"}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


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


def _budget(cluster: RaftCluster) -> Object:
    """As many members may be evicted as a majority can spare; of a single one, none."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(cluster, cluster.metadata.name),
        "spec": {
            "maxUnavailable": (cluster.spec.replicas - 1) // 2,
            "selector": {"matchLabels": raft_selector(cluster)},
        },
    }


def _metadata(cluster: RaftCluster, name: str) -> Object:
    return child_metadata(name, "RaftCluster", cluster.metadata, raft_labels(cluster))
