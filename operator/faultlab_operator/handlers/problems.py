"""What of a spec its CRD cannot tell is wrong, in words that say what to write instead."""

from typing import Final

from pydantic import ValidationError

from faultlab_operator.api import RaftCluster
from faultlab_operator.api.raftcluster import Resources

_UNITS: Final = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip

SMALLEST_MEMORY: Final = 32 * 2**20
SMALLEST_STORAGE: Final = 8 * 2**20


def quantity(text: str) -> float:
    """The value of a Kubernetes quantity that the CRD's rule let through."""
    digits = text.rstrip("kKMGTim")
    return float(digits) * _UNITS[text[len(digits) :]]


def cluster_problem(cluster: RaftCluster) -> str | None:
    """What is wrong with the spec, or None."""
    spec = cluster.spec
    if quantity(spec.storage.size) < SMALLEST_STORAGE:
        return f"storage.size: {spec.storage.size} is too small for a log: write at least 8Mi, such as 256Mi"
    return _resources_problem(spec.resources)


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
