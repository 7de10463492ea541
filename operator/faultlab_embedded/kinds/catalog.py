"""The built-in resources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from faultlab_embedded.kinds import core, policies, workloads
from faultlab_embedded.kinds.base import BuiltinStrategy
from faultlab_embedded.kinds.crd import CrdStrategy
from faultlab_embedded.kinds.events import EventView
from faultlab_embedded.kinds.pods import PodStrategy
from faultlab_embedded.store import names
from faultlab_embedded.store.catalog import Catalog, Conversion, Resource, ScalePaths
from faultlab_embedded.store.errors import FieldError

_STRATEGIES: dict[str, type[BuiltinStrategy]] = {
    "ClusterRole": policies.RoleStrategy,
    "ClusterRoleBinding": policies.RoleBindingStrategy,
    "ConfigMap": core.ConfigMapStrategy,
    "CustomResourceDefinition": CrdStrategy,
    "DaemonSet": workloads.DaemonSetStrategy,
    "Deployment": workloads.DeploymentStrategy,
    "Endpoints": policies.EndpointsStrategy,
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
    "StatefulSet": names.label,  # its pods are named NAME-ORDINAL and carry that as a label
}


_SELECTABLE = {
    "events": "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid "
    "involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath reason "
    "reportingComponent source type",
    "jobs": "status.successful",
    "namespaces": "status.phase",
    "nodes": "spec.unschedulable",
    "pods": "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork "
    "status.phase status.podIP status.nominatedNodeName",
    "secrets": "type",
    "services": "spec.clusterIP spec.type",
}
_RETURNING_DELETED = frozenset(
    ("namespaces", "persistentvolumeclaims", "pods", "serviceaccounts", "services", "storageclasses")
)
_ENDPOINTS_WARNING = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
_IN_ALL = frozenset(("pods", "services", "statefulsets", "deployments", "replicasets", "daemonsets", "jobs"))
"""What `kubectl get all` shows."""


def builtin_catalog() -> Catalog:
    """A catalog of every built-in resource."""
    catalog = Catalog()
    for resource in (*_core(), *_workloads(), *_others()):
        catalog.add(resource)
    return catalog


def _core() -> Iterator[Resource]:
    namespaces = _resource("v1", "namespaces", "Namespace", "ns", namespaced=False, status=True)
    yield replace(namespaces, collection_deletes=False)
    yield _resource("v1", "nodes", "Node", "no", namespaced=False, status=True)
    pod_parts = ("log", "proxy", "eviction")
    yield _resource("v1", "pods", "Pod", "po", status=True, generation=True, subresources=pod_parts)
    yield _resource("v1", "services", "Service", "svc", status=True, subresources=("proxy",))
    yield replace(_resource("v1", "endpoints", "Endpoints", "ep"), warning=_ENDPOINTS_WARNING)
    yield _resource("v1", "configmaps", "ConfigMap", "cm")
    yield _resource("v1", "secrets", "Secret")
    yield _resource("v1", "events", "Event", "ev")
    yield _resource("v1", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", status=True)
    yield _resource("v1", "serviceaccounts", "ServiceAccount", "sa")


def _workloads() -> Iterator[Resource]:
    for plural, kind, short in (
        ("statefulsets", "StatefulSet", "sts"),
        ("deployments", "Deployment", "deploy"),
        ("replicasets", "ReplicaSet", "rs"),
    ):
        yield _resource("apps/v1", plural, kind, short, status=True, generation=True, scale=ScalePaths())
    yield _resource("apps/v1", "daemonsets", "DaemonSet", "ds", status=True, generation=True)
    yield _resource("apps/v1", "controllerrevisions", "ControllerRevision")
    yield _resource("batch/v1", "jobs", "Job", status=True, generation=True)


def _others() -> Iterator[Resource]:
    yield _resource("coordination.k8s.io/v1", "leases", "Lease")
    yield _resource("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", generation=True)
    view = EventView()
    yield _resource("events.k8s.io/v1", "events", "Event", "ev", stored_as="events", conversion=view)
    yield _resource(
        "policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", status=True, generation=True
    )
    yield _resource("storage.k8s.io/v1", "storageclasses", "StorageClass", "sc", namespaced=False)
    yield _resource("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", "netpol", generation=True)
    rbac = "rbac.authorization.k8s.io/v1"
    yield _resource(rbac, "roles", "Role")
    yield _resource(rbac, "rolebindings", "RoleBinding")
    yield _resource(rbac, "clusterroles", "ClusterRole", namespaced=False)
    yield _resource(rbac, "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
    yield _resource(
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "crd",
        "crds",
        namespaced=False,
        status=True,
        generation=True,
        categories=("api-extensions",),
    )


def _resource(
    api_version: str,
    plural: str,
    kind: str,
    *short: str,
    namespaced: bool = True,
    status: bool = False,
    generation: bool = False,
    scale: ScalePaths | None = None,
    subresources: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    stored_as: str | None = None,
    conversion: Conversion | None = None,
) -> Resource:
    group, _, version = api_version.rpartition("/")
    return Resource(
        group=group,
        versions=(version,),
        storage_version=version,
        plural=plural,
        singular=kind.lower(),
        kind=kind,
        namespaced=namespaced,
        short_names=short,
        categories=(*categories, "all") if plural in _IN_ALL else categories,
        has_status=status,
        scale=scale,
        subresources=subresources,
        generation=generation,
        returns_deleted=plural in _RETURNING_DELETED,
        selectable=frozenset(_SELECTABLE.get(plural, "").split()),
        name_rule=_NAME_RULES.get(kind, names.subdomain),
        stored_as=stored_as,
        conversion=conversion,
        strategies={version: _STRATEGIES.get(kind, BuiltinStrategy)(group, version, kind)},
    )
