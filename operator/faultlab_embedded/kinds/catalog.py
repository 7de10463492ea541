"""The built-in resources."""

from __future__ import annotations

from collections.abc import Callable

from faultlab_embedded.kinds import core, policies, workloads
from faultlab_embedded.kinds.base import BuiltinStrategy
from faultlab_embedded.kinds.crd import CrdStrategy
from faultlab_embedded.kinds.events import EventView
from faultlab_embedded.kinds.pods import PodStrategy
from faultlab_embedded.store import names
from faultlab_embedded.store.catalog import Catalog, Conversion, Resource, ScalePaths
from faultlab_embedded.store.errors import FieldError

_REPLICAS = ScalePaths()
_STRATEGIES: dict[str, type[BuiltinStrategy]] = {
    "ClusterRole": policies.RoleStrategy,
    "ClusterRoleBinding": policies.RoleBindingStrategy,
    "ConfigMap": core.ConfigMapStrategy,
    "CustomResourceDefinition": CrdStrategy,
    "DaemonSet": workloads.DaemonSetStrategy,
    "Deployment": workloads.DeploymentStrategy,
    "EndpointSlice": policies.EndpointSliceStrategy,
    "Event": core.EventStrategy,
    "Job": workloads.JobStrategy,
    "Lease": policies.LeaseStrategy,
    "Namespace": core.NamespaceStrategy,
    "NetworkPolicy": policies.NetworkPolicyStrategy,
    "PersistentVolumeClaim": core.PersistentVolumeClaimStrategy,
    "Pod": PodStrategy,
    "PodDisruptionBudget": policies.DisruptionBudgetStrategy,
    "ReplicaSet": workloads.ReplicaSetStrategy,
    "Role": policies.RoleStrategy,
    "RoleBinding": policies.RoleBindingStrategy,
    "Secret": core.SecretStrategy,
    "Service": core.ServiceStrategy,
    "StatefulSet": workloads.StatefulSetStrategy,
    "StorageClass": policies.StorageClassStrategy,
}
_NAME_RULES: dict[str, Callable[[str, str], list[FieldError]]] = {
    "ClusterRole": names.path_segment,
    "ClusterRoleBinding": names.path_segment,
    "Namespace": names.label,
    "Role": names.path_segment,
    "RoleBinding": names.path_segment,
    "Service": names.service_name,
}


def _resource(
    group: str,
    version: str,
    plural: str,
    kind: str,
    *short: str,
    namespaced: bool = True,
    status: bool = False,
    generation: bool = False,
    scale: ScalePaths | None = None,
    subresources: tuple[str, ...] = (),
    stored_as: str | None = None,
    conversion: Conversion | None = None,
    categories: tuple[str, ...] = (),
) -> Resource:
    return Resource(
        group=group,
        versions=(version,),
        storage_version=version,
        plural=plural,
        singular=kind.lower(),
        kind=kind,
        namespaced=namespaced,
        short_names=short,
        categories=categories,
        has_status=status,
        scale=scale,
        subresources=subresources,
        generation=generation,
        name_rule=_NAME_RULES.get(kind, names.subdomain),
        stored_as=stored_as,
        conversion=conversion,
        strategies={version: _STRATEGIES.get(kind, BuiltinStrategy)(group, version, kind)},
    )


def builtin_catalog() -> Catalog:
    """A catalog of every built-in resource."""
    catalog = Catalog()
    rbac = "rbac.authorization.k8s.io"
    everything = ("all",)
    for resource in (
        _resource("", "v1", "namespaces", "Namespace", "ns", namespaced=False, status=True),
        _resource("", "v1", "nodes", "Node", "no", namespaced=False, status=True),
        _resource(
            "", "v1", "pods", "Pod", "po", status=True, generation=True, categories=everything,
            subresources=("log", "proxy", "eviction"),
        ),
        _resource("", "v1", "services", "Service", "svc", status=True, categories=everything, subresources=("proxy",)),
        _resource("", "v1", "endpoints", "Endpoints", "ep"),
        _resource("", "v1", "configmaps", "ConfigMap", "cm"),
        _resource("", "v1", "secrets", "Secret"),
        _resource("", "v1", "events", "Event", "ev"),
        _resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", status=True),
        _resource("", "v1", "serviceaccounts", "ServiceAccount", "sa"),
        _resource(
            "apps", "v1", "statefulsets", "StatefulSet", "sts", status=True, generation=True, scale=_REPLICAS,
            categories=everything,
        ),
        _resource(
            "apps", "v1", "deployments", "Deployment", "deploy", status=True, generation=True, scale=_REPLICAS,
            categories=everything,
        ),
        _resource(
            "apps", "v1", "replicasets", "ReplicaSet", "rs", status=True, generation=True, scale=_REPLICAS,
            categories=everything,
        ),
        _resource(
            "apps", "v1", "daemonsets", "DaemonSet", "ds", status=True, generation=True, categories=everything
        ),
        _resource("apps", "v1", "controllerrevisions", "ControllerRevision"),
        _resource("batch", "v1", "jobs", "Job", status=True, generation=True, categories=everything),
        _resource(
            "events.k8s.io", "v1", "events", "Event", "ev", stored_as="events", conversion=EventView(),
        ),
        _resource("coordination.k8s.io", "v1", "leases", "Lease"),
        _resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", generation=True),
        _resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", status=True, generation=True),
        _resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", "sc", namespaced=False),
        _resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol", generation=True),
        _resource(rbac, "v1", "roles", "Role"),
        _resource(rbac, "v1", "rolebindings", "RoleBinding"),
        _resource(rbac, "v1", "clusterroles", "ClusterRole", namespaced=False),
        _resource(rbac, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
        _resource(
            "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", "crd", "crds",
            namespaced=False, status=True, generation=True, categories=("api-extensions",),
        ),
    ):  # fmt: skip
        catalog.add(resource)
    return catalog
