"""StatefulSets, Deployments, ReplicaSets, DaemonSets and Jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from faultlab_embedded.kinds import podspec
from faultlab_embedded.kinds.base import BuiltinStrategy
from faultlab_embedded.kinds.checks import at_least, immutable, one_of, percentage, selector_and_template
from faultlab_embedded.kinds.core import check_claim
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
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def _template_defaults(spec: Object) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    podspec.set_defaults(template.setdefault("spec", {}))


class _Workload(BuiltinStrategy):
    """What all of them have: a template, a selector that fits it and stays, replicas that are not
    negative."""

    keeps_selector = True
    selector_required = True
    named = ""
    """What the text about an empty selector calls the kind."""
    endless = ""
    """What the text about a pod's deadline, which there may not be, calls the kind."""
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
        errors = selector_and_template(spec, self.named, required=self.selector_required)
        errors += check_template(
            spec.get("template"), ("Always",), claims=_claims(spec), endless=self.endless
        )
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
    named, endless = "statefulset", "StatefulSet"
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
        policy, errors = spec["podManagementPolicy"], []
        if policy not in ("OrderedReady", "Parallel"):
            text = "must be 'OrderedReady' or 'Parallel'"
            errors.append(FieldError.invalid("spec.podManagementPolicy", policy, text))
        errors += _check_set_strategy(spec["updateStrategy"])
        for field, value in spec["persistentVolumeClaimRetentionPolicy"].items():
            where = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
            errors += one_of(where, value, ("Retain", "Delete"))
        errors += at_least("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
        if spec.get("serviceName"):
            errors += names.label("spec.serviceName", spec["serviceName"])
        given = len(spec["template"]["spec"].get("volumes") or ())
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            volume = f"spec.template.spec.volumes[{given + index}].name"
            name = (claim.get("metadata") or {}).get("name")
            errors += names.label(volume, name) if name else [FieldError.required(volume)]
            errors += check_claim(claim["spec"], f"spec.volumeClaimTemplates[{index}].spec")
        return errors

    def validate(self, obj: Object, old: Object | None, subresource: str | None) -> Sequence[FieldError]:
        if subresource == "status":
            return _check_set_status(obj.get("status") or {})
        return super().validate(obj, old, subresource)

    def check(self, obj: Object, old: Object | None) -> list[FieldError]:
        errors = super().check(obj, old)
        if old is None:
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


def _check_set_strategy(strategy: Object) -> list[FieldError]:
    kind, rolling = strategy["type"], strategy.get("rollingUpdate")
    where = "spec.updateStrategy"
    shown = rolling and {
        "Partition": rolling.get("partition"),
        "MaxUnavailable": rolling.get("maxUnavailable"),
    }
    if kind == "OnDelete":
        text = "only allowed for updateStrategy 'RollingUpdate'"
        return [FieldError.invalid(f"{where}.rollingUpdate", shown, text)] if rolling is not None else []
    if kind != "RollingUpdate":
        text = "must be 'RollingUpdate' or 'OnDelete'"
        return [FieldError.invalid(where, {"Type": kind, "RollingUpdate": shown}, text)]
    return at_least(f"{where}.rollingUpdate.partition", (rolling or {}).get("partition"))


def _check_set_status(status: Object) -> list[FieldError]:
    replicas = status.get("replicas", 0)
    parts = ("readyReplicas", "currentReplicas", "updatedReplicas")
    errors = at_least("status.replicas", replicas)
    for field in (*parts, "availableReplicas", "observedGeneration", "collisionCount"):
        errors += at_least(f"status.{field}", status.get(field))
    for field in (*parts, "availableReplicas"):
        value = status.get(field, 0)
        if value > replicas:
            text = "cannot be greater than status.replicas"
            errors.append(FieldError.invalid(f"status.{field}", value, text))
    if status.get("availableReplicas", 0) > status.get("readyReplicas", 0):
        text = "cannot be greater than status.readyReplicas"
        errors.append(FieldError.invalid("status.availableReplicas", status["availableReplicas"], text))
    return errors


class DeploymentStrategy(_Workload):
    named, endless = "deployment", "ReplicaSet"

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
        strategy, rolling = spec["strategy"], spec["strategy"].get("rollingUpdate")
        kinds = ("Recreate", "RollingUpdate")
        if strategy["type"] not in kinds:
            shown = {"Type": strategy["type"], "RollingUpdate": rolling}
            errors = [FieldError.not_supported("spec.strategy", shown, kinds)]
        elif strategy["type"] == "Recreate":
            detail = "may not be specified when strategy `type` is 'Recreate'"
            unwanted = rolling is not None
            errors = [FieldError.forbidden("spec.strategy.rollingUpdate", detail)] if unwanted else []
        else:
            errors = _check_rolling(rolling)
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
            text = "must be greater than minReadySeconds"
            errors.append(FieldError.invalid("spec.progressDeadlineSeconds", deadline, text))
        return errors


def _check_rolling(rolling: Object) -> list[FieldError]:
    where = "spec.strategy.rollingUpdate"
    surge, unavailable = rolling["maxSurge"], rolling["maxUnavailable"]
    errors = percentage(f"{where}.maxUnavailable", unavailable)
    errors += percentage(f"{where}.maxSurge", surge, most=None)
    if not errors and all(value in (0, "0%") for value in (surge, unavailable)):
        text = "may not be 0 when `maxSurge` is 0"
        errors.append(FieldError.invalid(f"{where}.maxUnavailable", unavailable, text))
    return errors


class ReplicaSetStrategy(_Workload):
    named, endless = "deployment", "ReplicaSet"
    first_status: ClassVar[Object] = {"replicas": 0}

    def default_spec(self, spec: Object) -> None:
        spec.setdefault("replicas", 1)


class DaemonSetStrategy(_Workload):
    named, endless = "daemonset", "DaemonSet"
    selector_required = False
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

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        obj["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = "1"

    def prepare_update(self, obj: Object, old: Object, subresource: str | None) -> None:
        if subresource is not None:
            return
        before = (old["metadata"].get("annotations") or {}).get(_TEMPLATE_GENERATION, "0")
        changed = obj["spec"]["template"] != old["spec"]["template"]
        number = str(int(before) + 1) if changed and before.isdigit() else before
        obj["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = number

    def check_spec(self, spec: Object) -> list[FieldError]:
        strategy, kinds = spec["updateStrategy"], ("RollingUpdate", "OnDelete")
        if strategy["type"] not in kinds:
            shown = {"Type": strategy["type"], "RollingUpdate": strategy.get("rollingUpdate")}
            return [FieldError.not_supported("spec.updateStrategy", shown, kinds)]
        rolling = strategy.get("rollingUpdate") or {}
        where = "spec.updateStrategy.rollingUpdate.maxUnavailable"
        if not any(rolling.get(field) not in (0, "0%") for field in ("maxUnavailable", "maxSurge")):
            return [FieldError.required(where, "cannot be 0 when maxSurge is 0")]
        return []


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
        errors = selector_and_template(spec, "job")
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
