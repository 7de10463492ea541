"""Kinds that say what may be: disruption budgets, leases, roles, storage classes, network policies."""

from __future__ import annotations

from faultlab_embedded.kinds.base import BuiltinStrategy
from faultlab_embedded.kinds.checks import at_least, immutable, one_of, percentage
from faultlab_embedded.store import names
from faultlab_embedded.store.errors import FieldError
from faultlab_embedded.store.strategy import Object

RBAC_GROUP = "rbac.authorization.k8s.io"
_BUDGET = {
    "MinAvailable": "minAvailable",
    "Selector": "selector",
    "MaxUnavailable": "maxUnavailable",
    "UnhealthyPodEvictionPolicy": "unhealthyPodEvictionPolicy",
}
"""Fields as Go names them, in its order, for errors that show the whole."""
_ROLE_REFERENCE = {"APIGroup": "apiGroup", "Kind": "kind", "Name": "name"}


class DisruptionBudgetStrategy(BuiltinStrategy):
    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = dict.fromkeys(
            ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"), 0
        )

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        del old
        spec = obj["spec"]
        both = {key: spec[key] for key in ("minAvailable", "maxUnavailable") if key in spec}
        errors = []
        if len(both) == 2:
            detail = "minAvailable and maxUnavailable cannot be both set"
            shown = {name: spec.get(field) for name, field in _BUDGET.items()}
            errors.append(FieldError.invalid("spec", shown, detail))
        for key, value in both.items():
            errors += percentage(f"spec.{key}", value)
        labels = (spec.get("selector") or {}).get("matchLabels")
        errors += names.label_errors("spec.selector.matchLabels", labels)
        policies = ("AlwaysAllow", "IfHealthyBudget")
        where = "spec.unhealthyPodEvictionPolicy"
        errors += one_of(where, spec.get("unhealthyPodEvictionPolicy"), policies)
        return errors


class LeaseStrategy(BuiltinStrategy):
    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        del old
        spec = obj.get("spec") or {}
        seconds = spec.get("leaseDurationSeconds")
        errors = []
        if seconds is not None and seconds <= 0:
            errors.append(FieldError.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
        return errors + at_least("spec.leaseTransitions", spec.get("leaseTransitions"))


class RoleStrategy(BuiltinStrategy):
    """Roles and ClusterRoles: stored, not enforced."""

    def default(self, obj: Object) -> None:
        obj.setdefault("rules", None)  # written even where there are none

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        del old
        errors = []
        for index, rule in enumerate(obj.get("rules") or ()):
            if not rule.get("verbs"):
                errors.append(
                    FieldError.required(f"rules[{index}].verbs", "verbs must contain at least one value")
                )
            if not rule.get("nonResourceURLs"):
                if not rule.get("apiGroups"):
                    detail = "resource rules must supply at least one api group"
                    errors.append(FieldError.required(f"rules[{index}].apiGroups", detail))
                if not rule.get("resources"):
                    detail = "resource rules must supply at least one resource"
                    errors.append(FieldError.required(f"rules[{index}].resources", detail))
        return errors


class RoleBindingStrategy(BuiltinStrategy):
    """RoleBindings and ClusterRoleBindings: stored, not enforced."""

    def default(self, obj: Object) -> None:
        (obj.get("roleRef") or {}).setdefault("apiGroup", RBAC_GROUP)
        for subject in obj.get("subjects") or ():
            if subject.get("kind") in ("User", "Group"):
                subject.setdefault("apiGroup", RBAC_GROUP)

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        role = obj.get("roleRef") or {}
        errors = one_of("roleRef.kind", role.get("kind"), ("ClusterRole", "Role"), required=True)
        if not role.get("name"):
            errors.append(FieldError.required("roleRef.name"))
        for index, subject in enumerate(obj.get("subjects") or ()):
            path = f"subjects[{index}]"
            kinds = ("ServiceAccount", "User", "Group")
            errors += one_of(f"{path}.kind", subject.get("kind"), kinds, required=True)
            if not subject.get("name"):
                errors.append(FieldError.required(f"{path}.name"))
        if old is not None and role != old.get("roleRef"):
            shown = {name: role.get(field, "") for name, field in _ROLE_REFERENCE.items()}
            errors.append(FieldError.invalid("roleRef", shown, "cannot change roleRef"))
        return errors


class StorageClassStrategy(BuiltinStrategy):
    def default(self, obj: Object) -> None:
        obj.setdefault("reclaimPolicy", "Delete")
        obj.setdefault("volumeBindingMode", "Immediate")

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        errors = [] if obj.get("provisioner") else [FieldError.required("provisioner")]
        if old is not None:
            for field in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
                errors += immutable(field, obj.get(field), old.get(field))
        return errors


class NetworkPolicyStrategy(BuiltinStrategy):
    """Stored, not enforced: the world's pods all reach each other unless a fault says otherwise."""

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("policyTypes", ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
        spec.setdefault("podSelector", {})
        for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
            for port in rule.get("ports") or ():
                port.setdefault("protocol", "TCP")


class EndpointsStrategy(BuiltinStrategy):
    def default(self, obj: Object) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                port.setdefault("protocol", "TCP")


class EndpointSliceStrategy(BuiltinStrategy):
    def default(self, obj: Object) -> None:
        obj.setdefault("endpoints", None)
        for endpoint in obj["endpoints"] or ():
            endpoint.setdefault("conditions", {})
        obj.setdefault("ports", None)
        for port in obj["ports"] or ():
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        errors = one_of("addressType", obj.get("addressType"), ("FQDN", "IPv4", "IPv6"), required=True)
        if old is not None:
            errors += immutable("addressType", obj.get("addressType"), old.get("addressType"))
        return errors
