"""What every namespace has: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faultlab_embedded.controllers.runtime import Key, Source, own_key
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
ROOT_CA = "kube-root-ca.crt"
_DESCRIBED = {
    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when "
    "using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
}


class AccountsReconciler:
    """Keys are ("", namespace)."""

    def __init__(self, registry: Registry, ca_pem: bytes) -> None:
        self._registry = registry
        self._ca = ca_pem.decode()

    def sources(self) -> list[Source]:
        """Namespaces, and the two objects when they are deleted or changed."""
        return [
            Source("namespaces", own_key),
            Source("serviceaccounts", _namespace_if("default")),
            Source("configmaps", _namespace_if(ROOT_CA)),
        ]

    def reconcile(self, _namespace: str, name: str) -> None:
        """Creates what is missing and mends the certificate."""
        found = self._registry.find("namespaces", None, name)
        if found is None or "deletionTimestamp" in found.decode()["metadata"]:
            return
        if self._registry.find("serviceaccounts", name, "default") is None:
            account = {"apiVersion": "v1", "kind": "ServiceAccount"}
            meta = {"metadata": {"name": "default", "namespace": name}}
            self._registry.create("serviceaccounts", {**account, **meta})
        data = {"ca.crt": self._ca}
        root = self._registry.find("configmaps", name, ROOT_CA)
        if root is None:
            made: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "data": data}
            made["metadata"] = {"name": ROOT_CA, "namespace": name, "annotations": _DESCRIBED}
            self._registry.create("configmaps", made)
        elif root.decode().get("data") != data:
            self._registry.patch("configmaps", name, ROOT_CA, {"data": data})


def _namespace_if(name: str) -> Any:
    def keys(_event: str, obj: Object) -> list[Key]:
        return [("", obj["metadata"]["namespace"])] if obj["metadata"]["name"] == name else []

    return keys
