"""Pods."""

from __future__ import annotations

from typing import Any

from faultlab_embedded.kinds import podspec
from faultlab_embedded.kinds.base import BuiltinStrategy
from faultlab_embedded.kinds.podchecks import check_spec
from faultlab_embedded.store.errors import FieldError
from faultlab_embedded.store.strategy import Object

_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


class PodStrategy(BuiltinStrategy):
    """Pods start Pending and say their quality of service; afterwards only images and little else may
    change."""

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        podspec.set_defaults(spec)
        podspec.requests_from_limits(spec)
        spec.setdefault("enableServiceLinks", True)
        spec.setdefault("serviceAccountName", "default")
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
        spec.setdefault("priority", 0)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
        _tolerate_trouble(spec)
        for condition in (obj.get("status") or {}).get("conditions") or ():
            for time in ("lastProbeTime", "lastTransitionTime"):
                condition.setdefault(time, None)

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(obj["spec"])}

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        errors = check_spec(obj["spec"], "spec")
        if (
            old is not None
            and not errors
            and _fixed(obj["spec"], old["spec"]) != _fixed(old["spec"], obj["spec"])
        ):
            errors.append(FieldError.forbidden("spec", _MAY_CHANGE))
        return errors


def _tolerate_trouble(spec: Object) -> None:
    """Stay for five minutes on a node that is not ready or unreachable, as DefaultTolerationSeconds has
    it."""
    tolerations = spec.setdefault("tolerations", [])
    for name in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{name}"
        if not any(_tolerates(known, key) for known in tolerations):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            )


def _tolerates(toleration: Object, key: str) -> bool:
    return toleration.get("key") in (None, "", key) and toleration.get("effect") in (None, "", "NoExecute")


def _fixed(spec: Object, other: Object) -> Object:
    """The part of a spec that may not change. A node is set once, by whoever schedules."""
    open_fields = {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"}
    if not spec.get("nodeName") or not other.get("nodeName"):
        open_fields.add("nodeName")
    fixed: dict[str, Any] = {key: value for key, value in spec.items() if key not in open_fields}
    for listed in ("containers", "initContainers"):
        if listed in spec:
            fixed[listed] = [{**container, "image": ""} for container in spec[listed]]
    return fixed


def quality_of_service(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    resources = [container.get("resources") or {} for container in containers]
    if not any(entry.get("limits") or entry.get("requests") for entry in resources):
        return "BestEffort"
    for entry in resources:
        limits = entry.get("limits") or {}
        if not {"cpu", "memory"} <= set(limits) or (entry.get("requests") or limits) != limits:
            return "Burstable"
    return "Guaranteed"
