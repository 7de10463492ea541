"""What Kubernetes' own API server makes of the rendered chart, and Helm of the chart's life there."""

import copy
from typing import Any

import pytest
import yaml
from chart_cluster import Cluster
from chart_lab import CHART, EVERYTHING, NAMESPACE, Object, is_hook, one, render

from faultlab_operator.api.generate import load_crds

UNKNOWN = {"PodMonitor"}
"""Kinds of optional parts that a cluster has only with Prometheus' operator."""


def namespace(name: str, **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default values", "all values"])
def test_every_rendered_object_is_taken_in_a_dry_run(cluster: Cluster, values: dict[str, Any]) -> None:
    objects = [each for each in render(values, namespace="dry") if each["kind"] not in UNKNOWN]
    homes = {each["metadata"].get("namespace", "dry") for each in objects}
    for name in homes:  # a dry run makes none
        assert cluster.api.request("POST", "/api/v1/namespaces", namespace(name))[0] in (201, 409)
    done = cluster.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-f", "-", given=yaml.safe_dump_all(objects)
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(objects), done.stdout


def test_pods_of_operator_and_test_are_admitted_at_level_restricted(cluster: Cluster) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.api.request("POST", "/api/v1/namespaces", namespace("tight", **labels))
    objects = render({"namespaces": []})
    template = one(objects, "Deployment", "faultlab-operator")["spec"]["template"]
    for pod in (template, one(objects, "Pod", "faultlab-test")):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": pod["spec"]}
        status, answer = cluster.api.request("POST", "/api/v1/namespaces/tight/pods?dryRun=All", pod)
        assert status == 201, answer["message"]


def test_helm_installs_upgrades_and_uninstalls_leaving_what_it_promises_to_leave(cluster: Cluster) -> None:
    cluster.install()
    cluster.install({"namespaces": ["faultlab", "second"], "artifacts": {"keep": {"runs": 5}}})
    operator = one(render(), "Deployment", "faultlab-operator")
    path = f"{cluster.path(operator)}/faultlab-operator"
    upgraded = cluster.api.request("GET", path)[1]
    env = upgraded["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "FAULTLAB_KEEP_RUNS", "value": "5"} in env
    objects = [each for each in render({"namespaces": ["faultlab", "second"]}) if not is_hook(each)]
    assert all(cluster.exists(each) for each in objects)
    cluster.uninstall()
    left = {(each["kind"], each["metadata"]["name"]) for each in objects if cluster.exists(each)}
    assert left == {
        *(("CustomResourceDefinition", crd["metadata"]["name"]) for crd in load_crds()),
        ("Namespace", "faultlab"),
        ("Namespace", "second"),
        ("PersistentVolumeClaim", "faultlab-artifacts"),
    }
    cluster.install()  # takes up what was left


def test_upgrade_brings_what_a_crd_has_become(installed: Cluster) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/raftclusters.faultlab.dev"
    wanted = installed.api.request("GET", path)[1]
    older = copy.deepcopy(wanted)
    older["spec"]["names"]["shortNames"] = ["old"]
    assert installed.api.request("PUT", path, older)[0] == 200
    installed.install()
    assert installed.api.request("GET", path)[1]["spec"]["names"] == wanted["spec"]["names"]


def test_a_namespace_in_which_agents_cannot_run_is_refused_with_the_command(cluster: Cluster) -> None:
    cluster.install()
    home = f"/api/v1/namespaces/{NAMESPACE}"

    def enforce(level: str) -> None:
        obj = cluster.api.request("GET", home)[1]
        obj["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = level
        assert cluster.api.request("PUT", home, obj)[0] == 200

    enforce("baseline")
    try:
        done = cluster.helm("upgrade", "faultlab", str(CHART))
        assert done.returncode != 0
        assert (
            f"kubectl label namespace {NAMESPACE} pod-security.kubernetes.io/enforce=privileged"
            in done.stderr
        )
    finally:
        enforce("privileged")
    assert cluster.helm("upgrade", "faultlab", str(CHART)).returncode == 0


def test_notes_fit_the_values(installed: Cluster) -> None:
    def notes(values: Object) -> str:
        return installed.install(values, "--dry-run=server").partition("NOTES:\n")[2]

    plain = notes({})
    assert "kubectl -n faultlab apply -f chaos/scenarios/raft-leader-partition.yaml" in plain
    assert "port-forward service/faultlab-pages 8080 8089" in plain
    assert "emptyDir" not in plain
    assert "http://lab.example.com" in notes({"pages": {"url": "http://lab.example.com"}})
    node_port = {"type": "NodePort", "nodePorts": {"pages": 30080}}
    assert "port 30080 of any node" in notes({"pages": {"service": node_port}})
    assert "EXTERNAL-IP:8080" in notes({"pages": {"service": {"type": "LoadBalancer"}}})
    assert "faultlab.dev/chaos=enabled" in notes({"namespaces": []})
    without = notes({"artifacts": {"persistence": {"enabled": False}}})
    assert "gone when the operator's pod is replaced" in without
