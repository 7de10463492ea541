"""The kinds that the operator reads or writes, and where the API server serves them."""

from typing import Final, NamedTuple

from faultlab_operator.api import API_VERSION, KINDS


class ResourceInfo(NamedTuple):
    """A kind's API version, its plural, and whether its objects live in namespaces."""

    api_version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of a collection, an object or its subresource."""
        prefix = "/api" if "/" not in self.api_version else "/apis"
        parts = [prefix, self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


RESOURCES: Final[dict[str, ResourceInfo]] = {
    **{kind: ResourceInfo(API_VERSION, model.plural) for kind, model in KINDS.items()},
    "Namespace": ResourceInfo("v1", "namespaces", namespaced=False),
    "Pod": ResourceInfo("v1", "pods"),
    "Service": ResourceInfo("v1", "services"),
    "ConfigMap": ResourceInfo("v1", "configmaps"),
    "Secret": ResourceInfo("v1", "secrets"),
    "PersistentVolumeClaim": ResourceInfo("v1", "persistentvolumeclaims"),
    "Lease": ResourceInfo("coordination.k8s.io/v1", "leases"),
    "Event": ResourceInfo("v1", "events"),
    "StatefulSet": ResourceInfo("apps/v1", "statefulsets"),
    "PodDisruptionBudget": ResourceInfo("policy/v1", "poddisruptionbudgets"),
}

WATCHED: Final = (*KINDS, "Namespace", "StatefulSet", "Pod")
"""What the cache holds. Pods and StatefulSets only where `is_ours` says so."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
APP_NAME: Final = "app.kubernetes.io/name"
AGENT_APP: Final = "faultlab-agent"


def is_ours(kind: str, labels: "dict[str, str] | None") -> bool:
    """Whether the cache keeps an object: of pods and StatefulSets only the lab's own and the agents."""
    if kind not in ("Pod", "StatefulSet"):
        return True
    labels = labels or {}
    return labels.get(MANAGED_BY) == "faultlab" or labels.get(APP_NAME) == AGENT_APP
