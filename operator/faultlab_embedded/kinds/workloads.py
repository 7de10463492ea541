"""StatefulSets, Deployments, ReplicaSets, DaemonSets and Jobs."""

from __future__ import annotations

from typing import ClassVar

from faultlab_embedded.kinds import podspec
from faultlab_embedded.kinds.base import BuiltinStrategy
from faultlab_embedded.kinds.checks import at_least, immutable, one_of, selector_and_template
from faultlab_embedded.kinds.podchecks import RESTART_POLICIES, check_template
from faultlab_embedded.store import names
from faultlab_embedded.store.errors import FieldError
from faultlab_embedded.store.strategy import Object

_STATEFUL_SET_CHANGES = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "persistentVolumeClaimRetentionPolicy",
    "revisionHistoryLimit",
)


def _template_defaults(spec: Object) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    podspec.set_defaults(template.setdefault("spec", {}))


class _Workload(BuiltinStrategy):
    """What all of them have: a template, a selector that fits it and stays, replicas that are not
    negative."""

    keeps_selector = True
    first_status: ClassVar[Object] = {}

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = dict(self.first_status)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        _template_defaults(spec)
        self.default_spec(spec)

    def default_spec(self, spec: Object) -> None:
        """The kind's own defaults, in place."""

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        spec = obj["spec"]
        errors = selector_and_template(spec)
        errors += check_template(spec.get("template"), ("Always",), claims=_claims(spec))
        for field in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
            errors += at_least(f"spec.{field}", spec.get(field))
        errors += self.check_spec(spec)
        if old is not None and self.keeps_selector:
            errors += immutable("spec.selector", spec.get("selector"), old["spec"].get("selector"))
        return errors

    def check_spec(self, spec: Object) -> list[FieldError]:
        """What is wrong with the kind's own fields."""
        del spec
        return []


class StatefulSetStrategy(_Workload):
    keeps_selector = False
    first_status: ClassVar[Object] = {"replicas": 0, "availableReplicas": 0}

    def default_spec(self, spec: Object) -> None:
        spec.setdefault("replicas", 1)
        spec.setdefault("serviceName", "")
        spec.setdefault("podManagementPolicy", "OrderedReady")
        spec.setdefault("revisionHistoryLimit", 10)
        strategy = spec.setdefault("updateStrategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        retention.setdefault("whenDeleted", "Retain")
        retention.setdefault("whenScaled", "Retain")
        for claim in spec.get("volumeClaimTemplates") or ():
            claim.setdefault("apiVersion", "v1")
            claim.setdefault("kind", "PersistentVolumeClaim")
            claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
            claim.setdefault("status", {}).setdefault("phase", "Pending")

    def check_spec(self, spec: Object) -> list[FieldError]:
        policy = spec["podManagementPolicy"]
        errors = one_of("spec.podManagementPolicy", policy, ("OrderedReady", "Parallel"))
        strategy = spec["updateStrategy"]["type"]
        errors += one_of("spec.updateStrategy.type", strategy, ("OnDelete", "RollingUpdate"))
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            path = f"spec.volumeClaimTemplates[{index}]"
            if not (claim.get("metadata") or {}).get("name"):
                errors.append(FieldError.required(f"{path}.metadata.name"))
        return errors

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        errors = super().check(obj, old)
        if old is None:
            # Pods are named NAME-ORDINAL and carry that as a label.
            errors += names.label("metadata.name", obj["metadata"].get("name", ""))
            return errors
        fixed = [{k: v for k, v in x["spec"].items() if k not in _STATEFUL_SET_CHANGES} for x in (obj, old)]
        if fixed[0] != fixed[1]:
            detail = (
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                "'minReadySeconds' are forbidden"
            )
            errors.append(FieldError.forbidden("spec", detail))
        return errors


class DeploymentStrategy(_Workload):
    def default_spec(self, spec: Object) -> None:
        spec.setdefault("replicas", 1)
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")

    def check_spec(self, spec: Object) -> list[FieldError]:
        strategy = spec["strategy"]
        errors = one_of("spec.strategy.type", strategy["type"], ("Recreate", "RollingUpdate"))
        if strategy["type"] == "Recreate" and "rollingUpdate" in strategy:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            errors.append(FieldError.forbidden("spec.strategy.rollingUpdate", detail))
        return errors


class ReplicaSetStrategy(_Workload):
    first_status: ClassVar[Object] = {"replicas": 0}

    def default_spec(self, spec: Object) -> None:
        spec.setdefault("replicas", 1)


class DaemonSetStrategy(_Workload):
    first_status: ClassVar[Object] = {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    }

    def default_spec(self, spec: Object) -> None:
        spec.setdefault("revisionHistoryLimit", 10)
        strategy = spec.setdefault("updateStrategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", 1)
            rolling.setdefault("maxSurge", 0)

    def check_spec(self, spec: Object) -> list[FieldError]:
        strategy = spec["updateStrategy"]["type"]
        return one_of("spec.updateStrategy.type", strategy, ("RollingUpdate", "OnDelete"))


class JobStrategy(BuiltinStrategy):
    """A Job selects its pods by its own uid, which the server writes into selector and template."""

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        _template_defaults(spec)
        if "completions" not in spec and "parallelism" not in spec:
            spec["completions"] = 1
        spec.setdefault("parallelism", 1)
        spec.setdefault("backoffLimit", 6)
        spec.setdefault("completionMode", "NonIndexed")
        spec.setdefault("suspend", False)
        spec.setdefault("manualSelector", False)
        spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {}
        spec, meta = obj["spec"], obj["metadata"]
        if spec["manualSelector"]:
            return
        labels = spec["template"]["metadata"].setdefault("labels", {})
        own = {"controller-uid": meta["uid"], "job-name": meta["name"]}
        for key, value in own.items():
            labels[key] = labels[f"batch.kubernetes.io/{key}"] = value
        # Kubernetes gives a Job without labels those of its template.
        meta.setdefault("labels", dict(labels))
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": meta["uid"]}}

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        spec = obj["spec"]
        errors = selector_and_template(spec)
        errors += check_template(spec.get("template"), RESTART_POLICIES)
        if spec["template"]["spec"].get("restartPolicy") == "Always":
            detail = 'valid values: "OnFailure", "Never"'
            errors.append(FieldError.required("spec.template.spec.restartPolicy", detail))
        for field in ("parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished"):
            errors += at_least(f"spec.{field}", spec.get(field))
        errors += at_least("spec.activeDeadlineSeconds", spec.get("activeDeadlineSeconds"))
        errors += one_of("spec.completionMode", spec["completionMode"], ("NonIndexed", "Indexed"))
        if old is not None:
            for field in ("completions", "selector", "template", "completionMode"):
                errors += immutable(f"spec.{field}", spec.get(field), old["spec"].get(field))
        return errors


def _claims(spec: Object) -> list[str]:
    templates = spec.get("volumeClaimTemplates") or ()
    return [(claim.get("metadata") or {}).get("name", "") for claim in templates]
