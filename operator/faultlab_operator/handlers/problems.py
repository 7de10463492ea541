"""What of a spec its CRD cannot tell is wrong, in words that say what to write instead."""

from typing import Final

from pydantic import ValidationError

from faultlab_operator.api import RaftCluster
from faultlab_operator.api.quantity import quantity
from faultlab_operator.api.raftcluster import Resources
from faultlab_operator.render.raftcluster import LOG_SHARE, snapshot_log_bytes

SMALLEST_MEMORY: Final = 32 * 2**20
SMALLEST_STORAGE: Final = 8 * 2**20
SMALLEST_LOG: Final = 2**20
SMALLEST_UNCOMMITTED: Final = 8 * 2**20
"""Two requests of the largest kind."""


def cluster_problem(cluster: RaftCluster) -> str | None:
    """What is wrong with the spec, or None."""
    spec = cluster.spec
    if quantity(spec.storage.size) < SMALLEST_STORAGE:
        return f"storage.size: {spec.storage.size} is too small for a log: write at least 8Mi, such as 256Mi"
    return _bounds_problem(cluster) or _resources_problem(spec.resources)


def _bounds_problem(cluster: RaftCluster) -> str | None:
    spec = cluster.spec
    log_bytes = snapshot_log_bytes(cluster)
    if log_bytes < SMALLEST_LOG:
        return (
            f"snapshot.logSize: {spec.snapshot.log_size} would have members do nothing but snapshots: write "
            "at least 1Mi, such as 64Mi"
        )
    if log_bytes * LOG_SHARE > quantity(spec.storage.size):
        return (
            f"snapshot.logSize: {spec.snapshot.log_size} is more than an eighth of storage.size: "
            f"{spec.storage.size}, which has to hold four times that where snapshots are late, two snapshots "
            "and one that comes in: write a smaller logSize, or leave it out"
        )
    if quantity(spec.max_uncommitted) < SMALLEST_UNCOMMITTED:
        return (
            f"maxUncommitted: {spec.max_uncommitted} is less than two requests may take: write at least "
            "8Mi, such as 64Mi"
        )
    return None


def _resources_problem(resources: Resources) -> str | None:
    requests, limits = resources.requests.wire(), resources.limits.wire()
    for name in sorted(requests.keys() & limits.keys()):
        if quantity(requests[name]) > quantity(limits[name]):
            return (
                f"resources.requests.{name}: {requests[name]} is more than resources.limits.{name}: "
                f"{limits[name]}: write a smaller request or a larger limit"
            )
    if "memory" in limits and quantity(limits["memory"]) < SMALLEST_MEMORY:
        return (
            f"resources.limits.memory: {limits['memory']} is too little for a member to start: "
            "write at least 32Mi, such as 256Mi"
        )
    return None


def model_problem(error: ValidationError) -> str:
    """What pydantic found wrong in an object that its CRD let through (made under an older CRD)."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}; `kubectl explain` says what may be written"
