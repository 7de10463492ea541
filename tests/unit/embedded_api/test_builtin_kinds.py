"""Built-in kinds: what is filled in, what is refused, what may not change."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from faultlab_embedded.schema import quantity
from faultlab_embedded.store.errors import BadRequest, Invalid
from faultlab_embedded.store.merge import merge
from faultlab_embedded.store.open import open_registry
from faultlab_embedded.store.registry import Registry, Write

CONTAINER = {"name": "c", "image": "example/i:1"}
POD = {"metadata": {"name": "p"}, "spec": {"containers": [CONTAINER]}}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
SELECTOR = {"matchLabels": {"a": "b"}}
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


@pytest.fixture
def registry() -> Registry:
    return open_registry(None)


def workload(name: str = "w", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"selector": SELECTOR, "template": TEMPLATE, **spec}}


def test_a_pod_gets_what_kubernetes_fills_in(registry: Registry) -> None:
    container = {
        **CONTAINER,
        "ports": [{"containerPort": 80}],
        "readinessProbe": {"httpGet": {"port": 80}},
        "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}, "requests": {"cpu": "0.5"}},
        "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes = [{"name": "config", "configMap": {"name": "x"}}, {"name": "tmp"}]
    made = registry.create(
        "pods", {"metadata": {"name": "p"}, "spec": {"containers": [container], "volumes": volumes}}
    )
    spec = made["spec"]
    expected = {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "serviceAccountName": "default",
        "enableServiceLinks": True,
        "securityContext": {},
    }
    assert expected.items() <= spec.items()
    found = spec["containers"][0]
    assert found["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert found["imagePullPolicy"] == "IfNotPresent"
    probe = found["readinessProbe"]
    assert (probe["periodSeconds"], probe["timeoutSeconds"], probe["failureThreshold"]) == (10, 1, 3)
    assert probe["httpGet"] == {"port": 80, "path": "/", "scheme": "HTTP"}
    assert found["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert found["resources"] == {
        "limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "500m", "memory": "1Gi"},
    }
    assert spec["volumes"][0]["configMap"]["defaultMode"] == 0o644
    assert spec["volumes"][1] == {"name": "tmp", "emptyDir": {}}
    assert made["status"] == {"phase": "Pending", "qosClass": "Burstable"}


def test_an_image_without_a_tag_is_always_pulled(registry: Registry) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "host:5000/i"}]}}
    assert registry.create("pods", pod)["spec"]["containers"][0]["imagePullPolicy"] == "Always"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"containers": [{"image": "i"}]}, "spec.containers[0].name: Required value"),
        ({"containers": [{"name": "c"}]}, "spec.containers[0].image: Required value"),
        ({"containers": [CONTAINER, CONTAINER]}, 'spec.containers[1].name: Duplicate value: "c"'),
        ({"containers": [{**CONTAINER, "name": "C_"}]}, "a lowercase RFC 1123 label must consist of"),
        ({"restartPolicy": "Sometimes"}, 'supported values: "Always", "OnFailure", "Never"'),
        ({"containers": [{**CONTAINER, "ports": [{"containerPort": 70000}]}]}, "must be between 1 and 65535"),
        ({"containers": [{**CONTAINER, "env": [{"value": "x"}]}]}, "env[0].name: Required value"),
        (
            {"containers": [{**CONTAINER, "volumeMounts": [{"name": "x", "mountPath": "/x"}]}]},
            'volumeMounts[0].name: Not found: "x"',
        ),
        ({"volumes": [{"name": "v", "configMap": {}}]}, "spec.volumes[0].configMap.name: Required value"),
        ({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}, "more than 1 volume type"),
        ({"containers": [{**CONTAINER, "livenessProbe": {}}]}, "must specify a handler type"),
        (
            {"containers": [{**CONTAINER, "resources": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}}]},
            "must be less than or equal to cpu limit of 1",
        ),
    ],
)
def test_a_pod_that_cannot_run_is_refused(registry: Registry, spec: Any, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        registry.create("pods", merge(POD, {"spec": spec}))
    assert says in refused.value.message
    assert refused.value.message.startswith('Pod "p" is invalid: ')


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (
            {"containers": [{**CONTAINER, "resources": {"limits": {"memory": "lots"}}}]},
            "quantities must match the regular expression",
        ),
        (
            {"containers": [{**CONTAINER, "ports": [{"containerPort": "80"}]}]},
            "cannot unmarshal string into Go struct field "
            "ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        ({"containers": "c"}, "into Go struct field PodSpec.spec.containers of type []v1.Container"),
        ({"activeDeadlineSeconds": 1.5}, "cannot unmarshal number 1.5 into Go struct field PodSpec.spec."),
        ({"nodeSelector": {"a": 1}}, "PodSpec.spec.nodeSelector of type string"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_as_gos_decoder_would(
    registry: Registry, spec: Any, says: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        registry.create("pods", merge(POD, {"spec": spec}))
    assert says in refused.value.message


def test_times_are_stored_in_utc_and_read_strictly(registry: Registry) -> None:
    lease = {"metadata": {"name": "l"}, "spec": {"renewTime": "2026-01-01T02:00:00.500000+02:00"}}
    assert (
        registry.create("leases.coordination.k8s.io", lease)["spec"]["renewTime"]
        == "2026-01-01T00:00:00.500000Z"
    )
    with pytest.raises(BadRequest, match='cannot parse "today" as "2006"'):
        registry.create(
            "leases.coordination.k8s.io", {"metadata": {"name": "m"}, "spec": {"renewTime": "today"}}
        )


def test_a_pods_spec_stays_but_for_images_and_its_node(registry: Registry) -> None:
    registry.create("pods", POD)
    registry.patch("pods", "default", "p", {"spec": {"nodeName": "n"}})
    image = {"spec": {"containers": [{**CONTAINER, "image": "example/i:2"}]}}
    found = registry.get("pods", "default", "p")
    found["spec"]["containers"][0]["image"] = image["spec"]["containers"][0]["image"]
    registry.update("pods", found)
    for change in ({"nodeName": "other"}, {"restartPolicy": "Never"}):
        with pytest.raises(Invalid, match="pod updates may not change fields other than"):
            registry.patch("pods", "default", "p", {"spec": change})


def test_wrong_types_are_400_and_unknown_fields_are_told(registry: Registry) -> None:
    with pytest.raises(BadRequest, match=r"spec.replicas"):
        registry.create("statefulsets.apps", workload(serviceName="w", replicas="three"))
    warnings: list[str] = []
    made = registry.create("pods", merge(POD, {"spec": {"conatiners": []}}), Write(warnings=warnings))
    assert warnings == ['unknown field "spec.conatiners"']
    assert "conatiners" not in made["spec"]
    with pytest.raises(BadRequest, match=r'strict decoding error: unknown field "spec.conatiners"'):
        registry.create("pods", merge(POD, {"spec": {"conatiners": []}}), Write(strict=True))


def test_a_stateful_set_is_filled_in(registry: Registry) -> None:
    spec = registry.create("statefulsets.apps", workload(serviceName="w", volumeClaimTemplates=[CLAIM]))[
        "spec"
    ]
    assert spec["replicas"] == 1
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["volumeClaimTemplates"][0]["spec"]["volumeMode"] == "Filesystem"
    assert spec["template"]["spec"]["restartPolicy"] == "Always"


def test_a_stateful_sets_claims_are_volumes_for_its_pods(registry: Registry) -> None:
    mounting = {**CONTAINER, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    template = {**TEMPLATE, "spec": {"containers": [mounting]}}
    with pytest.raises(Invalid, match='Not found: "data"'):
        registry.create("statefulsets.apps", workload(template=template))
    registry.create("statefulsets.apps", workload(template=template, volumeClaimTemplates=[CLAIM]))


def test_only_some_of_a_stateful_set_may_change(registry: Registry) -> None:
    registry.create("statefulsets.apps", workload(serviceName="w"))
    registry.patch("statefulsets.apps", "default", "w", {"spec": {"replicas": 3}})
    for change in ({"serviceName": "x"}, {"podManagementPolicy": "Parallel"}):
        with pytest.raises(Invalid, match="updates to statefulset spec for fields other than 'replicas'"):
            registry.patch("statefulsets.apps", "default", "w", {"spec": change})


@pytest.mark.parametrize(
    "resource", ["statefulsets.apps", "deployments.apps", "daemonsets.apps", "replicasets.apps"]
)
def test_a_workloads_selector_must_fit_its_template(registry: Registry, resource: str) -> None:
    with pytest.raises(Invalid, match="`selector` does not match template `labels`"):
        registry.create(resource, workload(selector={"matchLabels": {"a": "other"}}))
    with pytest.raises(Invalid, match=r"spec\.selector: Required value|`selector` does not match"):
        registry.create(resource, workload(selector=None))
    with pytest.raises(Invalid, match=r"spec\.selector: Invalid value: \{\}: empty selector is invalid for "):
        registry.create(resource, workload(selector={}))
    with pytest.raises(Invalid, match=r'spec.template.spec.restartPolicy: Unsupported value: "Never"'):
        registry.create(resource, workload(template=merge(TEMPLATE, {"spec": {"restartPolicy": "Never"}})))


def test_a_deployments_selector_stays(registry: Registry) -> None:
    made = registry.create("deployments.apps", workload())
    assert made["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    labels = {"a": "b", "c": "d"}
    change = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}
    with pytest.raises(Invalid, match="field is immutable"):
        registry.patch("deployments.apps", "default", "w", {"spec": change})


def test_a_job_selects_its_pods_by_its_uid(registry: Registry) -> None:
    template = {"spec": {"containers": [CONTAINER], "restartPolicy": "Never"}}
    made = registry.create("jobs.batch", {"metadata": {"name": "j"}, "spec": {"template": template}})
    uid = made["metadata"]["uid"]
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert made["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"
    assert (made["spec"]["backoffLimit"], made["spec"]["completions"]) == (6, 1)
    with pytest.raises(Invalid, match='valid values: "OnFailure", "Never"'):
        registry.create("jobs.batch", {"metadata": {"name": "k"}, "spec": {"template": TEMPLATE}})


def test_services_are_headless_and_their_ports_filled_in(registry: Registry) -> None:
    made = registry.create("services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    assert made["spec"]["clusterIP"] == "None"
    assert made["spec"]["type"] == "ClusterIP"
    assert made["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    with pytest.raises(Invalid, match=r"spec.ports\[0\].name: Required value"):
        registry.create(
            "services", {"metadata": {"name": "t"}, "spec": {"ports": [{"port": 1}, {"port": 2}]}}
        )
    with pytest.raises(Invalid, match="a DNS-1035 label must consist of"):
        registry.create("services", {"metadata": {"name": "1s"}, "spec": {"ports": [{"port": 80}]}})


def test_a_secrets_plain_text_is_encoded_and_never_shown(registry: Registry) -> None:
    secret = {"metadata": {"name": "s"}, "stringData": {"key": "value"}, "data": {"old": "eA=="}}
    made = registry.create("secrets", secret)
    assert "stringData" not in made
    assert base64.b64decode(made["data"]["key"]) == b"value"
    assert made["type"] == "Opaque"
    with pytest.raises(BadRequest, match="illegal base64 data at input byte"):
        registry.create("secrets", {"metadata": {"name": "t"}, "data": {"a": "not base64!"}})
    with pytest.raises(Invalid, match="field is immutable"):
        registry.patch("secrets", "default", "s", {"type": "other"})


def test_a_frozen_config_map_stays(registry: Registry) -> None:
    registry.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}, "immutable": True})
    with pytest.raises(Invalid, match="field is immutable when `immutable` is set"):
        registry.patch("configmaps", "default", "c", {"data": {"a": "2"}})


def test_a_claims_request_may_grow_and_nothing_else_change(registry: Registry) -> None:
    registry.create("persistentvolumeclaims", CLAIM)
    grown = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    registry.patch("persistentvolumeclaims", "default", "data", grown)
    registry.patch("persistentvolumeclaims", "default", "data", {"spec": {"volumeName": "v"}})
    with pytest.raises(Invalid, match="spec is immutable after creation"):
        registry.patch("persistentvolumeclaims", "default", "data", {"spec": {"volumeName": "w"}})
    with pytest.raises(Invalid, match="at least 1 access mode is required"):
        registry.create("persistentvolumeclaims", {"metadata": {"name": "x"}, "spec": {}})


def test_a_budget_has_one_bound(registry: Registry) -> None:
    spec = {"minAvailable": 1, "maxUnavailable": "50%"}
    with pytest.raises(Invalid, match="cannot be both set"):
        registry.create("poddisruptionbudgets.policy", {"metadata": {"name": "b"}, "spec": spec})
    with pytest.raises(Invalid, match="ending '%'"):
        registry.create(
            "poddisruptionbudgets.policy", {"metadata": {"name": "b"}, "spec": {"minAvailable": "x"}}
        )


def test_a_namespace_is_active_and_carries_its_name(registry: Registry) -> None:
    made = registry.create("namespaces", {"metadata": {"name": "team"}})
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}
    assert made["status"] == {"phase": "Active"}


def test_roles_and_bindings_are_kept_as_they_are(registry: Registry) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    registry.create("clusterroles.rbac.authorization.k8s.io", {"metadata": {"name": "a:b"}, "rules": rules})
    binding = {
        "metadata": {"name": "a:b"},
        "roleRef": {"kind": "ClusterRole", "name": "a:b"},
        "subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": "default"}],
    }
    made = registry.create("clusterrolebindings.rbac.authorization.k8s.io", binding)
    assert made["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
    with pytest.raises(Invalid, match="cannot change roleRef"):
        registry.patch(
            "clusterrolebindings.rbac.authorization.k8s.io", None, "a:b", {"roleRef": {"name": "c"}}
        )


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1500Mi", "1500Mi"),
        ("0", "0"),
        (2, "2"),
        ("100000", "100k"),
        ("1e3", "1e3"),
        ("0.1Gi", "107374182400m"),
        ("1.5Gi", "1536Mi"),
        ("12e6", "12e6"),
    ],
)
def test_quantities_have_one_spelling(given: Any, stored: str) -> None:
    assert quantity.canonical(given) == stored


@pytest.mark.parametrize("text", ["", "lots", "1KB", "--1", "1 Gi", "Mi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        quantity.parse(text)
