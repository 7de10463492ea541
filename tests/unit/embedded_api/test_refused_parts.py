"""The smaller parts of built-in kinds that cannot work are refused, in Kubernetes' words."""

from __future__ import annotations

from typing import Any

import pytest

from faultlab_embedded.store.errors import Invalid
from faultlab_embedded.store.open import open_registry

CONTAINER = {"name": "c", "image": "i"}
ROLLING = "spec.strategy.rollingUpdate.maxUnavailable"


def refused(resource: str, spec: Any) -> str:
    with pytest.raises(Invalid) as found:
        open_registry(None).create(resource, {"metadata": {"name": "x"}, "spec": spec})
    return found.value.message


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"ports": [{"containerPort": 1, "name": "-1"}]}, "must contain at least one letter (a-z)"),
        (
            {"env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]},
            "field label not supported",
        ),
        ({"env": [{"name": "a", "valueFrom": {"resourceFieldRef": {"resource": "cpu"}}}]}, '"limits.cpu"'),
        (
            {"env": [{"name": "a", "valueFrom": {"secretKeyRef": {"name": "s"}}}]},
            "secretKeyRef.key: Required value",
        ),
        ({"readinessProbe": {"exec": {}}}, "readinessProbe.exec.command: Required value"),
        ({"lifecycle": {"preStop": {}}}, "lifecycle.preStop: Required value: must specify a handler type"),
        ({"resources": {"limits": {"bogus": 1}}}, "must be a standard resource type or fully qualified"),
        ({"securityContext": {"runAsUser": -1}}, "must be between 0 and 2147483647, inclusive"),
        ({"terminationMessagePolicy": "X"}, '"File", "FallbackToLogsOnError"'),
    ],
)
def test_a_container_that_cannot_run_is_refused(part: Any, says: str) -> None:
    assert says in refused("pods", {"containers": [{**CONTAINER, **part}]})


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"tolerations": [{"operator": "Equal"}]}, "operator must be Exists when `key` is empty"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 3}]}, "effect must be 'NoExecute'"),
        ({"volumes": [{"name": "v", "configMap": {"name": "m", "defaultMode": 4096}}]}, "between 0 and 0777"),
        (
            {
                "volumes": [
                    {"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": "../p"}]}}
                ]
            },
            "must not contain '..'",
        ),
        ({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "-1"}}]}, "SizeLimit field must be a valid"),
        ({"activeDeadlineSeconds": 0}, "must be between 1 and 2147483647, inclusive"),
        ({"nodeName": "A!"}, "spec.nodeName: Invalid value"),
    ],
)
def test_a_pod_that_cannot_run_is_refused(part: Any, says: str) -> None:
    assert says in refused("pods", {"containers": [CONTAINER], **part})


@pytest.mark.parametrize(
    ("resource", "part", "says"),
    [
        (
            "deployments.apps",
            {"strategy": {"type": "X"}},
            'Unsupported value: {"Type":"X","RollingUpdate":null}',
        ),
        (
            "deployments.apps",
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
            "may not be 0 when `maxSurge` is 0",
        ),
        (
            "deployments.apps",
            {"strategy": {"rollingUpdate": {"maxUnavailable": "200%"}}},
            f"{ROLLING}: Invalid",
        ),
        (
            "deployments.apps",
            {"progressDeadlineSeconds": 5, "minReadySeconds": 5},
            "greater than minReadySeconds",
        ),
        (
            "daemonsets.apps",
            {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}},
            "cannot be 0 when maxSurge",
        ),
        ("statefulsets.apps", {"podManagementPolicy": "X"}, "must be 'OrderedReady' or 'Parallel'"),
        ("statefulsets.apps", {"serviceName": "Not A Name"}, "spec.serviceName: Invalid value"),
        ("statefulsets.apps", {"ordinals": {"start": -1}}, "spec.ordinals.start: Invalid value: -1"),
        (
            "statefulsets.apps",
            {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {}}},
            "only allowed for updateStrategy 'RollingUpdate'",
        ),
        (
            "statefulsets.apps",
            {"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]},
            "spec.volumeClaimTemplates[0].spec.accessModes: Required value",
        ),
    ],
)
def test_a_workload_that_cannot_work_is_refused(resource: str, part: Any, says: str) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
    assert says in refused(resource, {"selector": {"matchLabels": {"a": "b"}}, "template": template, **part})


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"accessModes": ["ReadWriteOnce", "ReadWriteOncePod"]}, "may not use ReadWriteOncePod with other"),
        (
            {"resources": {"requests": {"storage": "0"}}},
            'spec.resources[storage]: Invalid value: "0": must be',
        ),
        ({"volumeMode": "X"}, '"Block", "Filesystem"'),
    ],
)
def test_a_claim_for_what_cannot_be_is_refused(spec: Any, says: str) -> None:
    whole = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    assert says in refused("persistentvolumeclaims", {**whole, **spec})
