"""Table columns of the built-in kinds, worded as kubectl users know them
(kubernetes/pkg/printers/internalversion)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from faultlab_embedded.kinds.ages import human_duration, since
from faultlab_embedded.kinds.podcolumns import pod_ready, pod_restarts, pod_status
from faultlab_embedded.schema.jsonpath import compile_path
from faultlab_embedded.store.strategy import Object

Value = Callable[[Object], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `priority` 1 shows with `-o wide` only."""

    name: str
    value: Value
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""

    def definition(self) -> Object:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


def custom_column(definition: Mapping[str, Any]) -> Column:
    """A column as a CRD's additionalPrinterColumns define it."""
    kind = definition["type"]
    return Column(
        definition["name"],
        _path(definition["jsonPath"], _CONVERT.get(kind, str)),
        # Dates are shown as ages, which are text.
        type="date" if kind == "date" else kind,
        priority=definition.get("priority", 0),
        format=definition.get("format", ""),
        description=definition.get("description")
        or f"Custom resource definition column (in JSONPath format): {definition['jsonPath']}",
    )


def age_column(kind: str = "string") -> Column:
    """AGE; custom resources call its type date."""
    return Column("Age", lambda obj: since(obj["metadata"].get("creationTimestamp")), type=kind)


NAME = Column("Name", lambda obj: obj["metadata"]["name"], format="name", description="The object's name")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "date": since,
    "integer": int,
    "number": float,
    "boolean": bool,
}


def _path(text: str, convert: Callable[[Any], Any] = _text) -> Value:
    find = compile_path(text)

    def value(obj: Object) -> Any:
        found = find(obj)
        return convert(found[0]) if found and found[0] is not None else None

    return value


def _int(path: str) -> Value:
    find = compile_path(path)
    return lambda obj: int((find(obj) or [0])[0] or 0)


def _or_none(path: str) -> Value:
    find = compile_path(path)
    return lambda obj: ",".join(map(str, find(obj))) or "<none>"


def _count(path: str) -> Value:
    find = compile_path(path)
    return lambda obj: len((find(obj) or [()])[0] or ())


def _selector(obj: Object) -> str:
    labels = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"


def _containers(spec: Callable[[Object], Object]) -> tuple[Column, Column]:
    def each(field: str) -> Value:
        return lambda obj: ",".join(container[field] for container in spec(obj)["containers"])

    return Column("Containers", each("name"), priority=1), Column("Images", each("image"), priority=1)


def _template(obj: Object) -> Object:
    spec: Object = obj["spec"]["template"]["spec"]
    return spec


def _service_ports(obj: Object) -> str:
    return ",".join(_service_port(port) for port in obj["spec"].get("ports") or []) or "<none>"


def _service_port(port: Object) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node}/{port.get('protocol', 'TCP')}"


def _plain_selector(obj: Object) -> str:
    pairs = sorted((obj["spec"].get("selector") or {}).items())
    return ",".join(f"{key}={value}" for key, value in pairs) or "<none>"


def _endpoints(obj: Object) -> str:
    found = [
        f"{address['ip']}:{port['port']}" if port else address["ip"]
        for subset in obj.get("subsets") or []
        for port in subset.get("ports") or [None]
        for address in subset.get("addresses") or []
    ]
    return _few(found, "<none>")


def _few(found: list[str], none: str) -> str:
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more if found else none


def _slice_ports(obj: Object) -> str:
    return _few([str(port.get("port", "*")) for port in obj.get("ports") or []], "<unset>")


def _slice_endpoints(obj: Object) -> str:
    found = [address for endpoint in obj.get("endpoints") or [] for address in endpoint["addresses"]]
    return _few(found, "<unset>")


def _node_status(obj: Object) -> str:
    for condition in obj.get("status", {}).get("conditions") or []:
        if condition["type"] == "Ready":
            return "Ready" if condition["status"] == "True" else "NotReady"
    return "Unknown"


def _node_roles(obj: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or "<none>"


def _event_last_seen(obj: Object) -> str:
    series = obj.get("series") or {}
    return since(series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime"))


def _event_object(obj: Object) -> str:
    about = obj["involvedObject"]
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _completions(obj: Object) -> str:
    spec, status = obj["spec"], obj.get("status", {})
    if spec.get("completions") is not None:
        return f"{status.get('succeeded', 0)}/{spec['completions']}"
    parallelism = spec.get("parallelism", 0)
    return f"{status.get('succeeded', 0)}/1" + (f" of {parallelism}" if parallelism > 1 else "")


def _job_status(obj: Object) -> str:
    for condition in obj.get("status", {}).get("conditions") or []:
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed", "Suspended"):
            return str(condition["type"])
    return "Terminating" if "deletionTimestamp" in obj["metadata"] else "Running"


def _job_duration(obj: Object) -> str:
    status = obj.get("status", {})
    if not status.get("startTime"):
        return ""
    start = datetime.fromisoformat(status["startTime"].replace("Z", "+00:00"))
    end = status.get("completionTime")
    stop = datetime.fromisoformat(end.replace("Z", "+00:00")) if end else datetime.now(UTC)
    return human_duration((stop - start).total_seconds())


def _claim_status(obj: Object) -> str:
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return str(obj.get("status", {}).get("phase", ""))


_ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _access_modes(obj: Object) -> str:
    return ",".join(_ACCESS_MODES.get(mode, mode) for mode in obj.get("status", {}).get("accessModes") or [])


def _ready_of(wanted: str, ready: str) -> Value:
    want, have = _int(wanted), _int(ready)
    return lambda obj: f"{have(obj)}/{want(obj)}"


def _subjects(kind: str) -> Value:
    """A binding's users, groups or service accounts, the last with their namespaces."""

    def value(obj: Object) -> str:
        subjects = [subject for subject in obj.get("subjects") or () if subject["kind"] == kind]
        return ", ".join(
            f"{s.get('namespace', '')}/{s['name']}" if kind == "ServiceAccount" else s["name"]
            for s in subjects
        )

    return value


AGE = age_column()
_CREATED_AT = Column("Created At", _path(".metadata.creationTimestamp"), type="date")
_BINDING = (
    Column("Role", lambda obj: f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"),
    AGE,
    Column("Users", _subjects("User"), priority=1),
    Column("Groups", _subjects("Group"), priority=1),
    Column("ServiceAccounts", _subjects("ServiceAccount"), priority=1),
)
_POD_CONTAINERS = _containers(_template)
_REPLICAS = ".spec.replicas"

BUILTIN_COLUMNS: dict[str, Sequence[Column]] = {
    "pods": (
        NAME,
        Column("Ready", pod_ready),
        Column("Status", pod_status),
        Column("Restarts", pod_restarts),
        AGE,
        Column("IP", _or_none(".status.podIP"), priority=1),
        Column("Node", _or_none(".spec.nodeName"), priority=1),
        Column("Nominated Node", _or_none(".status.nominatedNodeName"), priority=1),
        Column("Readiness Gates", lambda _: "<none>", priority=1),
    ),
    "services": (
        NAME,
        Column("Type", _or_none(".spec.type")),
        Column("Cluster-IP", _or_none(".spec.clusterIP")),
        Column("External-IP", lambda obj: obj["spec"].get("externalName") or "<none>"),
        Column("Port(s)", _service_ports),
        AGE,
        Column("Selector", _plain_selector, priority=1),
    ),
    "endpointslices.discovery.k8s.io": (
        NAME,
        Column("AddressType", _path(".addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_endpoints),
        AGE,
    ),
    "endpoints": (NAME, Column("Endpoints", _endpoints), AGE),
    "configmaps": (NAME, Column("Data", _count(".data")), AGE),
    "secrets": (
        NAME,
        Column("Type", _or_none(".type")),
        Column("Data", _count(".data")),
        AGE,
    ),
    "namespaces": (NAME, Column("Status", _or_none(".status.phase")), AGE),
    "nodes": (
        NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        AGE,
        Column("Version", _or_none(".status.nodeInfo.kubeletVersion")),
        Column("Internal-IP", _or_none('.status.addresses[?(@.type=="InternalIP")].address'), priority=1),
        Column("External-IP", _or_none('.status.addresses[?(@.type=="ExternalIP")].address'), priority=1),
        Column("OS-Image", _or_none(".status.nodeInfo.osImage"), priority=1),
        Column("Kernel-Version", _or_none(".status.nodeInfo.kernelVersion"), priority=1),
        Column("Container-Runtime", _or_none(".status.nodeInfo.containerRuntimeVersion"), priority=1),
    ),
    "events": (
        Column("Last Seen", _event_last_seen),
        Column("Type", _path(".type")),
        Column("Reason", _path(".reason")),
        Column("Object", _event_object),
        Column("Subobject", _path(".involvedObject.fieldPath"), priority=1),
        Column("Source", _path(".source.component"), priority=1),
        Column("Message", lambda obj: str(obj.get("message", "")).strip()),
        Column(
            "First Seen", lambda obj: since(obj.get("firstTimestamp") or obj.get("eventTime")), priority=1
        ),
        Column("Count", lambda obj: obj.get("count") or 1, type="integer", priority=1),
        Column("Name", lambda obj: obj["metadata"]["name"], priority=1, format="name"),
    ),
    "persistentvolumeclaims": (
        NAME,
        Column("Status", _claim_status),
        Column("Volume", _path(".spec.volumeName")),
        Column("Capacity", _path(".status.capacity.storage")),
        Column("Access Modes", _access_modes),
        Column("StorageClass", _path(".spec.storageClassName")),
        Column("VolumeAttributesClass", lambda _: "<unset>"),
        AGE,
        Column("VolumeMode", _path(".spec.volumeMode"), priority=1),
    ),
    "serviceaccounts": (NAME, Column("Secrets", _count(".secrets")), AGE),
    "statefulsets.apps": (
        NAME,
        Column("Ready", _ready_of(_REPLICAS, ".status.readyReplicas")),
        AGE,
        *_POD_CONTAINERS,
    ),
    "deployments.apps": (
        NAME,
        Column("Ready", _ready_of(_REPLICAS, ".status.readyReplicas")),
        Column("Up-to-date", _int(".status.updatedReplicas")),
        Column("Available", _int(".status.availableReplicas")),
        AGE,
        *_POD_CONTAINERS,
        Column("Selector", _selector, priority=1),
    ),
    "replicasets.apps": (
        NAME,
        Column("Desired", _int(_REPLICAS), type="integer"),
        Column("Current", _int(".status.replicas"), type="integer"),
        Column("Ready", _int(".status.readyReplicas"), type="integer"),
        AGE,
        *_POD_CONTAINERS,
        Column("Selector", _selector, priority=1),
    ),
    "daemonsets.apps": (
        NAME,
        Column("Desired", _int(".status.desiredNumberScheduled"), type="integer"),
        Column("Current", _int(".status.currentNumberScheduled"), type="integer"),
        Column("Ready", _int(".status.numberReady"), type="integer"),
        Column("Up-to-date", _int(".status.updatedNumberScheduled"), type="integer"),
        Column("Available", _int(".status.numberAvailable"), type="integer"),
        Column("Node Selector", _or_none(".spec.template.spec.nodeSelector")),
        AGE,
        *_POD_CONTAINERS,
        Column("Selector", _selector, priority=1),
    ),
    "controllerrevisions.apps": (
        NAME,
        Column("Controller", _or_none(".metadata.ownerReferences[0].name")),
        Column("Revision", _int(".revision")),
        AGE,
    ),
    "jobs.batch": (
        NAME,
        Column("Status", _job_status),
        Column("Completions", _completions),
        Column("Duration", _job_duration),
        AGE,
        *_POD_CONTAINERS,
        Column("Selector", _selector, priority=1),
    ),
    "leases.coordination.k8s.io": (NAME, Column("Holder", _path(".spec.holderIdentity")), AGE),
    "poddisruptionbudgets.policy": (
        NAME,
        Column("Min Available", lambda obj: str(obj["spec"].get("minAvailable", "N/A"))),
        Column("Max Unavailable", lambda obj: str(obj["spec"].get("maxUnavailable", "N/A"))),
        Column("Allowed Disruptions", _int(".status.disruptionsAllowed"), type="integer"),
        AGE,
    ),
    "storageclasses.storage.k8s.io": (
        NAME,
        Column("Provisioner", _path(".provisioner")),
        Column("ReclaimPolicy", _or_none(".reclaimPolicy")),
        Column("VolumeBindingMode", _or_none(".volumeBindingMode")),
        Column("AllowVolumeExpansion", lambda obj: bool(obj.get("allowVolumeExpansion"))),
        AGE,
    ),
    "networkpolicies.networking.k8s.io": (
        NAME,
        Column("Pod-Selector", lambda obj: _selector({"spec": {"selector": obj["spec"].get("podSelector")}})),
        AGE,
    ),
    "roles.rbac.authorization.k8s.io": (
        NAME,
        _CREATED_AT,
    ),
    "clusterroles.rbac.authorization.k8s.io": (
        NAME,
        _CREATED_AT,
    ),
    "rolebindings.rbac.authorization.k8s.io": (
        NAME,
        *_BINDING,
    ),
    "clusterrolebindings.rbac.authorization.k8s.io": (
        NAME,
        *_BINDING,
    ),
    "customresourcedefinitions.apiextensions.k8s.io": (
        NAME,
        _CREATED_AT,
    ),
}
