"""From specs to Kubernetes children: pure functions, no I/O."""

from faultlab_operator.render.loadtest import load_children, load_config, load_pod_name
from faultlab_operator.render.raftcluster import (
    config_hash_of,
    member_names,
    peer_addresses,
    raft_children,
    raft_config,
)

__all__ = [
    "config_hash_of",
    "load_children",
    "load_config",
    "load_pod_name",
    "member_names",
    "peer_addresses",
    "raft_children",
    "raft_config",
]
