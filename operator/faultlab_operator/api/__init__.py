"""The custom resources as types: one module a kind. The CRDs are generated from them (`generate`).

`KINDS` maps every kind's name to its model; `GROUP`, `VERSION`, `API_VERSION` name the API.
"""

from faultlab_operator.api.base import API_VERSION, GROUP, VERSION, Condition, Metadata, Resource, Status
from faultlab_operator.api.duration import Duration
from faultlab_operator.api.loadtest import LoadTest, LoadTestSpec, LoadTestStatus
from faultlab_operator.api.networkpartition import (
    NetworkPartition,
    NetworkPartitionSpec,
    NetworkPartitionStatus,
)
from faultlab_operator.api.raftcluster import RaftCluster, RaftClusterSpec, RaftClusterStatus
from faultlab_operator.api.scenario import Scenario, ScenarioSpec, ScenarioStatus

KINDS: dict[str, type[Resource]] = {
    model.kind_name: model for model in (RaftCluster, LoadTest, NetworkPartition, Scenario)
}

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "VERSION",
    "Condition",
    "Duration",
    "LoadTest",
    "LoadTestSpec",
    "LoadTestStatus",
    "Metadata",
    "NetworkPartition",
    "NetworkPartitionSpec",
    "NetworkPartitionStatus",
    "RaftCluster",
    "RaftClusterSpec",
    "RaftClusterStatus",
    "Resource",
    "Scenario",
    "ScenarioSpec",
    "ScenarioStatus",
    "Status",
]
