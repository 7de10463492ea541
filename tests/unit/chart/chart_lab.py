"""The chart under test: what Helm makes of it with which values."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "faultlab"
NAMESPACE = "faultlab-system"
KUBE_VERSION = "1.34.4"
"""Said to Helm: without a cluster it assumes the one that it was built for, or none."""

Object = dict[str, Any]

EVERYTHING: Object = {
    "networkPolicies": {
        "enabled": True,
        "pagesFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "metricsFrom": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        ],
    },
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Faultlab"}},
    "imagePullSecrets": [{"name": "registry"}],
    "image": {"repository": "registry.example.com:5000/team/faultlab", "digest": "sha256:" + "0" * 64},
    "operator": {
        "watchNamespaces": ["lab-1", "lab-2"],
        "podAnnotations": {"example.com/note": "operator"},
        "podLabels": {"example.com/team": "storage"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "lab", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    },
    "agent": {
        "podAnnotations": {"example.com/note": "agent"},
        "podLabels": {"example.com/team": "storage"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-node-critical",
        "runtimeRoot": "/var/run/other",
    },
    "artifacts": {
        "persistence": {"storageClassName": "fast"},
        "keep": {"runs": 7, "bytes": "1Gi", "age": "12h"},
    },
    "pages": {
        "service": {
            "type": "NodePort",
            "nodePorts": {"pages": 30080, "locust": 30089},
            "annotations": {"example.com/note": "pages"},
        },
        "url": "http://localhost:8080",
        "locustURL": "http://localhost:8089",
    },
    "namespaces": ["lab-1", "lab-2"],
}
"""Values that switch on all that there is."""


def program(name: str) -> str:
    """A program's path. Skips the test where it is missing, and fails it where a test bed has promised it."""
    bed = os.environ.get("KINDBED_CACHE")
    path = os.environ.get("PATH", "") + (f"{os.pathsep}{bed}/bin" if bed else "")
    found = shutil.which(name, path=path)
    if found is None:
        assert bed is None, f"{name} is not in the test bed {bed}, which is to have it"
        pytest.skip(f"no {name} on the PATH")
    return found


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("helm"), *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


def template(
    values: Object | None = None, *arguments: str, namespace: str = NAMESPACE
) -> subprocess.CompletedProcess[str]:
    """`helm template`, with values that go over the chart's own."""
    command = [program("helm"), "template", "faultlab", str(CHART), "--namespace", namespace]
    command += ["--kube-version", KUBE_VERSION, "--values", "-", *arguments]
    return subprocess.run(
        command, input=json.dumps(values or {}), capture_output=True, text=True, check=False, cwd=ROOT
    )


def render(values: Object | None = None, *arguments: str, namespace: str = NAMESPACE) -> list[Object]:
    """The objects that the chart makes of the values, hooks included. Fails where Helm refuses them."""
    done = template(values, *arguments, namespace=namespace)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def refusal(values: Object) -> str:
    """Why Helm does not take the values. Fails where it does."""
    done = template(values)
    assert done.returncode != 0, f"{values} was taken"
    return done.stderr


def one(objects: list[Object], kind: str, name: str, namespace: str | None = None) -> Object:
    """The object of that kind and name."""
    found = [
        each
        for each in objects
        if (each["kind"], each["metadata"]["name"]) == (kind, name)
        and namespace in (None, each["metadata"].get("namespace"))
    ]
    assert len(found) == 1, f"{len(found)} objects are {kind} {name}"
    return found[0]


def is_hook(obj: Object) -> bool:
    return "helm.sh/hook" in (obj["metadata"].get("annotations") or {})
