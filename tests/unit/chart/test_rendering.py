"""What the chart makes of its values, and what it refuses. `make golden` writes the golden file anew."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_lab import CHART, EVERYTHING, NAMESPACE, ROOT, helm, one, refusal, render, template

from faultlab_operator.api.generate import load_crds
from faultlab_operator.api.generate import render as generated_crds

GOLDEN = Path(__file__).parent / "golden" / "default.yaml"
KEEP = {"helm.sh/resource-policy": "keep"}


def test_helm_lint_has_no_complaint() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


def test_default_rendering_is_that_of_the_golden_file() -> None:
    done = template()
    assert done.returncode == 0, done.stderr
    if os.environ.get("FAULTLAB_UPDATE_GOLDEN"):
        GOLDEN.write_text(done.stdout)
    same = done.stdout == GOLDEN.read_text()
    assert same, f"not what {GOLDEN.relative_to(ROOT)} says: look at the difference after `make golden`"


def test_rendering_twice_gives_the_same() -> None:
    """A random value would be another one at each upgrade."""
    assert template(EVERYTHING).stdout == template(EVERYTHING).stdout


def test_chart_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {chart["version"], chart["appVersion"]} == {project["version"]}


def test_image_is_that_of_the_version_unless_another_is_named() -> None:
    def images(values: dict[str, Any]) -> set[str]:
        objects = render(values)
        pods = [each["spec"]["template"] for each in objects if each["kind"] in ("Deployment", "DaemonSet")]
        pods.append(one(objects, "Pod", "faultlab-test"))
        operator = one(objects, "Deployment", "faultlab-operator")["spec"]["template"]["spec"]["containers"][
            0
        ]
        told = next(item["value"] for item in operator["env"] if item["name"] == "FAULTLAB_IMAGE")
        return {told} | {container["image"] for pod in pods for container in pod["spec"]["containers"]}

    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert images({}) == {f"faultlab/faultlab:{version}"}
    assert images({"image": {"repository": "example.com/lab", "tag": "2"}}) == {"example.com/lab:2"}
    digest = "sha256:" + "a" * 64
    assert images({"image": {"tag": "2", "digest": digest}}) == {f"faultlab/faultlab@{digest}"}


def test_crds_of_the_chart_are_the_generated_ones() -> None:
    files = {file.name: file.read_text() for file in (CHART / "files" / "crds").iterdir()}
    assert files == generated_crds(), "run `make generate`"


def test_crds_are_templates_that_stay_when_the_chart_goes() -> None:
    rendered = {
        each["metadata"]["name"]: each for each in render() if each["kind"] == "CustomResourceDefinition"
    }
    for crd in load_crds():
        mine = rendered.pop(crd["metadata"]["name"])
        assert mine["metadata"].pop("annotations") == KEEP
        assert mine == crd
    assert not rendered


def test_crds_can_be_left_to_somebody_else() -> None:
    assert "CustomResourceDefinition" not in {each["kind"] for each in render({"crds": {"enabled": False}})}


def test_namespaces_allow_faults_are_restricted_and_stay() -> None:
    objects = render({"namespaces": ["first", "second"]})
    for name in ("first", "second"):
        metadata = one(objects, "Namespace", name)["metadata"]
        assert metadata["annotations"] == KEEP
        assert metadata["labels"]["faultlab.dev/chaos"] == "enabled"
        assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert "Namespace" not in {each["kind"] for each in render({"namespaces": []})}


def test_volume_of_the_runs_stays_and_can_be_done_without() -> None:
    claim = one(render(), "PersistentVolumeClaim", "faultlab-artifacts")
    assert claim["metadata"]["annotations"] == KEEP
    without = render({"artifacts": {"persistence": {"enabled": False, "size": "3Gi"}}})
    assert "PersistentVolumeClaim" not in {each["kind"] for each in without}
    volumes = one(without, "Deployment", "faultlab-operator")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "emptyDir": {"sizeLimit": "3Gi"}} in volumes


def test_every_namespaced_object_names_its_namespace_and_its_release() -> None:
    cluster_wide = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    for obj in render(EVERYTHING, namespace="elsewhere"):
        metadata = obj["metadata"]
        if obj["kind"] in cluster_wide:
            assert "namespace" not in metadata
        else:
            assert metadata["namespace"] in ("elsewhere", "lab-1", "lab-2"), metadata
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "faultlab"


def test_nothing_secret_is_rendered() -> None:
    assert "Secret" not in {each["kind"] for each in render(EVERYTHING)}


def test_every_value_has_an_effect_and_a_comment() -> None:
    """One that no template reads is a promise that nobody keeps."""
    templates = "".join(file.read_text() for file in (CHART / "templates").rglob("*") if file.is_file())
    text = (CHART / "values.yaml").read_text().splitlines()
    for path in _leaves(yaml.safe_load("\n".join(text))):
        key = path[-1]
        assert f".{key}" in templates, f"no template reads {'.'.join(path)}"
        start = "  " * (len(path) - 1) + f"{key}:"
        at = [number for number, line in enumerate(text) if line.startswith(start)]
        assert at, path
        assert all(text[number - 1].strip().startswith("#") for number in at), f"{key} has no comment"


def _leaves(values: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of the values; what a user fills in as a whole (resources, labels) counts as one."""
    whole = ("resources", "labels")
    if not isinstance(values, dict) or not values or (path and path[-1] in whole):
        return [path]
    return [leaf for key, value in values.items() for leaf in _leaves(value, (*path, key))]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("a value that does not exist", {"replicas": 2}, "'replicas' not allowed"),
    ("a misspelt value", {"operator": {"podAnotations": {}}}, "'podAnotations' not allowed"),
    ("a size that is none", {"artifacts": {"persistence": {"size": "big"}}}, "/artifacts/persistence/size"),
    ("a negative number of runs", {"artifacts": {"keep": {"runs": -1}}}, "minimum"),
    ("an age without a unit", {"artifacts": {"keep": {"age": "30"}}}, "/artifacts/keep/age"),
    ("a Service type that does not exist", {"pages": {"service": {"type": "Ingress"}}}, "'LoadBalancer'"),
    ("a url without its scheme", {"pages": {"url": "localhost:8080"}}, "/pages/url"),
    ("a url with a slash at its end", {"pages": {"url": "http://localhost:8080/"}}, "/pages/url"),
    ("a port beyond all ports", {"networkPolicies": {"apiServerPorts": [70000]}}, "maximum"),
    ("a tag in the repository", {"image": {"repository": "faultlab/faultlab:1"}}, "/image/repository"),
    ("a namespace that cannot be", {"namespaces": ["Not_A_Name"]}, "/namespaces/0"),
    ("one namespace twice", {"namespaces": ["a", "a"]}, "equal"),
    ("a pull policy that does not exist", {"image": {"pullPolicy": "Sometimes"}}, "'IfNotPresent'"),
    ("a label that selects the pods", {"agent": {"podLabels": {"app.kubernetes.io/name": "x"}}}, "podLabels"),
    ("a relative path on the nodes", {"agent": {"runtimeRoot": "run/containerd"}}, "/agent/runtimeRoot"),
    ("image latest", {"image": {"tag": "latest"}}, "name a version"),
    ("faults in Kubernetes' own namespace", {"namespaces": ["kube-system"]}, "name one of its own"),
    ("faults in the lab's own namespace", {"namespaces": [NAMESPACE]}, "name one of its own"),
    (
        "node ports for a ClusterIP",
        {"pages": {"service": {"nodePorts": {"pages": 30080}}}},
        "set pages.service.type=NodePort",
    ),
    (
        "a namespace that is made and not served",
        {"operator": {"watchNamespaces": ["other"]}},
        "operator.watchNamespaces does not name it",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0])
def test_nonsense_is_refused_with_its_place_or_its_remedy(case: tuple[str, dict[str, Any], str]) -> None:
    _, values, says = case
    assert says in refusal(values)
