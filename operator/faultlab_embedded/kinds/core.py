"""The other kinds of the core group: namespaces, services, configuration, claims, events."""

from __future__ import annotations

import base64
from typing import Any

from faultlab_embedded.kinds.base import BuiltinStrategy
from faultlab_embedded.kinds.checks import config_keys, duplicates, immutable, one_of, port_name, port_number
from faultlab_embedded.schema import quantity
from faultlab_embedded.store import names
from faultlab_embedded.store.errors import FieldError, Forbidden
from faultlab_embedded.store.strategy import Object

_IMMORTAL = ("default", "kube-public", "kube-system")
MAX_DATA_BYTES = 1024 * 1024
CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
"""The finalizer of claims: the claim-protection controller takes it away when no pod on a node uses them."""
_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


class NamespaceStrategy(BuiltinStrategy):
    """Active until it is deleted, then Terminating while anything is in it."""

    def default(self, obj: Object) -> None:
        meta = obj["metadata"]
        if meta.get("name"):
            meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": meta["name"]}
        obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        obj.setdefault("status", {}).setdefault("phase", "Active")

    def check_delete(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        if name in _IMMORTAL:
            raise Forbidden.of("namespaces", name, "this namespace may not be deleted")

    def prepare_delete(self, obj: Object) -> None:
        obj["status"]["phase"] = "Terminating"


class ServiceStrategy(BuiltinStrategy):
    """All services are headless here: the world has no virtual addresses, a name is its pods' addresses."""

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        kind = spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        for port in spec.get("ports") or ():
            port.setdefault("protocol", "TCP")
            if not port.get("targetPort"):
                port["targetPort"] = port.get("port")
        if kind == "ExternalName":
            return
        asked = spec.get("clusterIP")
        if not asked:
            if not spec.get("ports"):
                return  # refused by `check`: only who says that the service is headless may leave ports out
            spec["clusterIP"] = "None"
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
        if asked == "None" and not spec.get("selector"):
            spec.setdefault("ipFamilyPolicy", "RequireDualStack")
        both = spec.setdefault("ipFamilyPolicy", "SingleStack") != "SingleStack"
        spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if both else ["IPv4"])
        spec.setdefault("internalTrafficPolicy", "Cluster")

    def prepare_create(self, obj: Object) -> None:
        obj.setdefault("status", {"loadBalancer": {}})

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        spec = obj["spec"]
        kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
        errors = one_of("spec.type", spec["type"], kinds)
        if spec["type"] == "ExternalName" and not spec.get("externalName"):
            errors.append(FieldError.required("spec.externalName"))
        errors += names.label_errors("spec.selector", spec.get("selector"))
        ports = spec.get("ports") or []
        if not ports and spec["type"] != "ExternalName" and not spec.get("clusterIP"):
            errors.append(FieldError.required("spec.ports"))
        errors += one_of("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
        errors += duplicates("spec.ports", ports, "name")
        for index, port in enumerate(ports):
            path = f"spec.ports[{index}]"
            if port.get("name"):
                errors += names.label(f"{path}.name", port["name"])
            elif len(ports) > 1:
                errors.append(FieldError.required(f"{path}.name"))
            if port.get("nodePort") and spec["type"] == "ClusterIP":
                text = "may not be used when `type` is 'ClusterIP'"
                errors.append(FieldError.forbidden(f"{path}.nodePort", text))
            errors += port_number(f"{path}.port", port.get("port", 0))
            errors += one_of(f"{path}.protocol", port["protocol"], ("SCTP", "TCP", "UDP"))
            target = port.get("targetPort")
            if isinstance(target, int):
                errors += port_number(f"{path}.targetPort", target)
            elif target is not None:
                errors += port_name(f"{path}.targetPort", target)
        if old is not None and old["spec"].get("clusterIP") and spec["type"] != "ExternalName":
            errors += immutable("spec.clusterIP", spec.get("clusterIP"), old["spec"]["clusterIP"])
        return errors


class ConfigMapStrategy(BuiltinStrategy):
    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        errors = config_keys("data", data) + config_keys("binaryData", binary)
        for key in data.keys() & binary.keys():
            errors.append(FieldError.invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        if (
            sum(len(key) + len(value) for part in (data, binary) for key, value in part.items())
            > MAX_DATA_BYTES
        ):
            errors.append(FieldError.too_long("", MAX_DATA_BYTES))
        return errors + _check_frozen(obj, old, ("data", "binaryData"))


class SecretStrategy(BuiltinStrategy):
    def default(self, obj: Object) -> None:
        obj.setdefault("type", "Opaque")
        for key, value in (obj.pop("stringData", None) or {}).items():
            obj.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        data = obj.get("data") or {}
        errors = config_keys("data", data)
        if sum(map(len, data.values())) * 3 // 4 > MAX_DATA_BYTES:
            errors.append(FieldError.too_long("data", MAX_DATA_BYTES))
        if old is not None:
            errors += immutable("type", obj.get("type"), old.get("type"))
        return errors + _check_frozen(obj, old, ("data",))


def _check_frozen(obj: Object, old: Object | None, fields: tuple[str, ...]) -> list[FieldError]:
    """An object with `immutable: true` stays as it is."""
    if old is None or not old.get("immutable"):
        return []
    errors = []
    if not obj.get("immutable"):
        errors.append(FieldError.forbidden("immutable", "field is immutable when `immutable` is set"))
    changed = [field for field in fields if obj.get(field) != old.get(field)]
    detail = "field is immutable when `immutable` is set"
    return errors + [FieldError.forbidden(field, detail) for field in changed]


def check_claim(spec: Object, path: str) -> list[FieldError]:
    """Everything wrong with the spec of a claim."""
    errors, modes = [], spec.get("accessModes") or ()
    if not modes:
        errors.append(FieldError.required(f"{path}.accessModes", "at least 1 access mode is required"))
    for mode in modes:
        errors += one_of(f"{path}.accessModes", mode, _ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        text = "may not use ReadWriteOncePod with other access modes"
        errors.append(FieldError.forbidden(f"{path}.accessModes", text))
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        errors.append(FieldError.required(f"{path}.resources[storage]"))
    elif quantity.parse(storage) <= 0:
        text = "must be greater than zero"
        errors.append(FieldError.invalid(f"{path}.resources[storage]", storage, text))
    if spec.get("storageClassName"):
        errors += names.subdomain(f"{path}.storageClassName", spec["storageClassName"])
    return errors + one_of(f"{path}.volumeMode", spec.get("volumeMode"), ("Block", "Filesystem"))


class PersistentVolumeClaimStrategy(BuiltinStrategy):
    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending"}
        finalizers = obj["metadata"].setdefault("finalizers", [])
        if CLAIM_PROTECTION not in finalizers:
            finalizers.append(CLAIM_PROTECTION)

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        spec = obj["spec"]
        errors = check_claim(spec, "spec")
        if old is not None and _fixed_claim(spec, old["spec"]) != _fixed_claim(old["spec"], old["spec"]):
            detail = (
                "spec is immutable after creation except resources.requests and volumeAttributesClassName "
                "for "
                "bound claims"
            )
            errors.append(FieldError.forbidden("spec", detail))
        return errors


def _fixed_claim(spec: Object, old: Object) -> dict[str, Any]:
    """The part of a claim that stays; the binding is made once."""
    free = {"resources"} | ({"volumeName", "storageClassName"} if not old.get("volumeName") else set())
    return {key: value for key, value in spec.items() if key not in free}


class EventStrategy(BuiltinStrategy):
    def default(self, obj: Object) -> None:
        """What Kubernetes writes of an event even if it is empty."""
        for time in ("firstTimestamp", "lastTimestamp", "eventTime"):
            obj.setdefault(time, None)
        obj.setdefault("source", {})
        for name in ("reportingComponent", "reportingInstance"):
            obj.setdefault(name, "")

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        del old
        about = obj.get("involvedObject") or {}
        namespace = about.get("namespace") or "default"
        if obj["metadata"]["namespace"] != namespace:
            detail = "does not match event.namespace"
            return [FieldError.invalid("involvedObject.namespace", about.get("namespace", ""), detail)]
        return []
