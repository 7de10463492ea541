"""What all children have in common: owners, labels, security, probes."""

import hashlib
from typing import Any, Final

import msgspec

from faultlab_operator.api import API_VERSION, Metadata
from faultlab_operator.api.raftcluster import Resources

CONFIG_HASH: Final = "faultlab.dev/config-hash"
"""Annotation of a pod: what its configuration and template were when it was made."""

SYSTEM_KIND: Final = "faultlab.dev/system-kind"
SYSTEM_NAME: Final = "faultlab.dev/system-name"

Object = dict[str, Any]


def owner_reference(kind: str, owner: Metadata) -> Object:
    """Makes the child go when its owner goes, without the owner's deletion waiting for it."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def child_labels(
    app: str, component: str, instance: str, system_kind: str, system_name: str
) -> dict[str, str]:
    """The labels of every child."""
    return {
        **selector_labels(app, component, instance),
        "app.kubernetes.io/managed-by": "faultlab",
        "app.kubernetes.io/part-of": "faultlab",
        SYSTEM_KIND: system_kind,
        SYSTEM_NAME: system_name,
    }


def selector_labels(app: str, component: str, instance: str) -> dict[str, str]:
    """Those of the labels that select pods; they can never change."""
    return {
        "app.kubernetes.io/name": app,
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/component": component,
    }


def child_metadata(name: str, owner_kind: str, owner: Metadata, labels: dict[str, str]) -> Object:
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": labels,
        "ownerReferences": [owner_reference(owner_kind, owner)],
    }


def config_map(name: str, owner_kind: str, owner: Metadata, labels: dict[str, str], config: Any) -> Object:
    """A ConfigMap whose `config.json` is a contract's document, readable for people."""
    text = msgspec.json.format(msgspec.json.encode(config), indent=2).decode() + "\n"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(name, owner_kind, owner, labels),
        "data": {"config.json": text},
    }


def digest(*documents: Any) -> str:
    """A short hash of plain documents; equal for equal content."""
    packed = b"\0".join(msgspec.json.encode(document, order="sorted") for document in documents)
    return hashlib.sha256(packed).hexdigest()[:16]


def http_probe(
    path: str, port: str, *, period_s: int, failures: int, timeout_s: int = 1, delay_s: int = 0
) -> Object:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "initialDelaySeconds": delay_s,
        "periodSeconds": period_s,
        "timeoutSeconds": timeout_s,
        "failureThreshold": failures,
        "successThreshold": 1,
    }


def resources(wanted: Resources) -> Object:
    """A container's `resources`; kinds of amounts that are not given are left out."""
    return {kind: amounts for kind, amounts in wanted.wire().items() if amounts}


POD_SECURITY: Final[Object] = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}

CONTAINER_SECURITY: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""As the Pod Security level `restricted` wants it."""
