"""kubectl, the program itself, against the API server."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on the PATH")

WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.dev}
spec:
  group: example.dev
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd], categories: [all, gadgets]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Colour, type: string, jsonPath: .spec.colour, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        description: A thing to try schemas on.
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1, maximum: 9, description: How large it is.}
              colour: {type: string, default: red, enum: [red, green]}
            x-kubernetes-validations:
            - {rule: "self.size % 2 == 1", message: "size must be odd: write 1, 3, 5, 7 or 9"}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""

WORKLOAD = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: "1"}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 2
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: example/web:1
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
        ports: [{containerPort: 80}]
"""

POD = {
    "metadata": {"name": "p", "labels": {"app": "p"}},
    "spec": {"containers": [{"name": "main", "image": "example/p:1"}]},
}


class Kubectl:
    """Runs kubectl with an own home, so that its cache of discovery is this test's."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(home)}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(KUBECTL),
            *arguments,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def run(self, *arguments: str, text: str = "", code: int | None = 0) -> str:
        process = await self.start(*arguments)
        output, _ = await asyncio.wait_for(process.communicate(text.encode()), 60)
        assert code is None or process.returncode == code, output.decode()
        return output.decode()


@pytest.fixture
async def kubectl(api: Any, tmp_path: Path) -> Kubectl:
    return Kubectl(api.kubeconfig, tmp_path)


async def test_apply_creates_then_changes_then_leaves_alone(kubectl: Kubectl, api: Any) -> None:
    assert "statefulset.apps/web created" in await kubectl.run("apply", "-f", "-", text=WORKLOAD)
    assert "statefulset.apps/web unchanged" in await kubectl.run("apply", "-f", "-", text=WORKLOAD)
    changed = WORKLOAD.replace('{name: A, value: "1"}, ', "").replace("example/web:1", "example/web:2")
    assert "statefulset.apps/web configured" in await kubectl.run("apply", "-f", "-", text=changed)
    container = api.registry.get("statefulsets.apps", "default", "web")["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert container["image"] == "example/web:2"
    assert container["env"] == [{"name": "B", "value": "2"}]


async def test_server_side_apply_conflicts_and_forces(kubectl: Kubectl, api: Any) -> None:
    await kubectl.run("apply", "--server-side", "-f", "-", text=WORKLOAD)
    other = WORKLOAD.replace("replicas: 2", "replicas: 4")
    refused = await kubectl.run(
        "apply", "--server-side", "--field-manager=other", "-f", "-", text=other, code=1
    )
    assert 'conflict with "kubectl"' in refused
    assert ".spec.replicas" in refused
    await kubectl.run(
        "apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", text=other
    )
    assert api.registry.get("statefulsets.apps", "default", "web")["spec"]["replicas"] == 4


async def test_custom_resources_are_checked_shown_scaled_and_explained(kubectl: Kubectl, api: Any) -> None:
    await kubectl.run("apply", "-f", "-", text=WIDGETS)
    await kubectl.run("wait", "--for=condition=Established", "crd/widgets.example.dev", "--timeout=10s")
    widget = {
        "apiVersion": "example.dev/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"size": 3},
    }
    refused = await kubectl.run(
        "apply", "-f", "-", text=yaml.safe_dump({**widget, "spec": {"size": 4}}), code=1
    )
    assert "size must be odd: write 1, 3, 5, 7 or 9" in refused
    unknown = await kubectl.run(
        "apply", "-f", "-", text=yaml.safe_dump({**widget, "spec": {"size": 3, "siez": 1}}), code=1
    )
    assert 'unknown field "spec.siez"' in unknown
    await kubectl.run("apply", "-f", "-", text=yaml.safe_dump(widget))
    api.registry.patch(
        "widgets.example.dev",
        "default",
        "w",
        {"status": {"size": 3, "conditions": [{"type": "Ready", "status": "True"}]}},
        subresource="status",
    )
    shown = (await kubectl.run("get", "wd")).split("\n")
    assert shown[0].split() == ["NAME", "SIZE", "READY"]
    assert shown[1].split() == ["w", "3", "True"]
    assert "red" in await kubectl.run("get", "gadgets", "-o", "wide")
    await kubectl.run("wait", "--for=condition=Ready", "widget/w", "--timeout=10s")
    await kubectl.run("scale", "widget/w", "--replicas=5")
    assert "5" in await kubectl.run("get", "widget", "w", "-o", "jsonpath={.spec.size}")
    assert "How large it is." in await kubectl.run("explain", "widget.spec.size")
    await kubectl.run("patch", "widget", "w", "--type=merge", "-p", '{"spec":{"colour":"green"}}')
    assert api.registry.get("widgets.example.dev", "default", "w")["spec"]["colour"] == "green"


async def test_explain_knows_the_built_in_kinds(kubectl: Kubectl) -> None:
    assert "replicas" in await kubectl.run("explain", "statefulset.spec")
    assert "List of containers" in await kubectl.run("explain", "pod.spec.containers")


async def test_get_describe_label_annotate_and_delete(kubectl: Kubectl, api: Any) -> None:
    api.registry.create("pods", POD)
    api.registry.create(
        "events",
        {
            "metadata": {"name": "p.1"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default", "uid": "u"},
            "reason": "Started",
            "message": "Started container main",
            "type": "Normal",
        },
    )
    assert "Pending" in await kubectl.run("get", "pods", "-o", "wide")
    assert "name: p" in await kubectl.run("get", "pod", "p", "-o", "yaml")
    described = await kubectl.run("describe", "pod", "p")
    assert "example/p:1" in described
    assert "Started container main" in await kubectl.run("get", "events")
    await kubectl.run("label", "pod", "p", "tier=web")
    await kubectl.run("annotate", "pod", "p", "note=x")
    assert "p" in await kubectl.run("get", "pods", "-l", "tier in (web,db),app", "--no-headers")
    assert "No resources" in await kubectl.run("get", "pods", "-l", "tier!=web")
    assert 'pod "p" deleted' in await kubectl.run("delete", "pod", "p")
    assert "not found" in await kubectl.run("get", "pod", "p", code=1)


async def test_describe_shows_the_events_of_its_object(kubectl: Kubectl, api: Any) -> None:
    pod = api.registry.create("pods", POD)
    about = {"kind": "Pod", "name": "p", "namespace": "default", "uid": pod["metadata"]["uid"]}
    event = {"metadata": {"name": "p.1"}, "involvedObject": about, "reason": "Killing", "message": "Stopping"}
    api.registry.create("events", event)
    api.registry.create(
        "events", {**event, "metadata": {"name": "q.1"}, "involvedObject": {**about, "uid": "x", "name": "q"}}
    )
    described = await kubectl.run("describe", "pod", "p")
    assert described.count("Killing") == 1


async def test_delete_waits_until_the_pod_is_gone(kubectl: Kubectl, api: Any) -> None:
    api.registry.create("pods", {**POD, "spec": {**POD["spec"], "nodeName": "n"}})
    deleting = await kubectl.start("delete", "pod", "p")
    async for kind, pod in api.registry.watch("pods"):
        if kind == "MODIFIED" and "deletionTimestamp" in pod["metadata"]:
            break
    assert deleting.returncode is None
    api.registry.delete("pods", "default", "p", grace_seconds=0)
    assert await asyncio.wait_for(deleting.wait(), 30) == 0


async def test_logs_and_logs_follow(kubectl: Kubectl, api: Any) -> None:
    api.registry.create("pods", POD)
    api.node.lines["p"] = [b"one\n", b"two\n"]
    assert await kubectl.run("logs", "p") == "one\ntwo\n"
    assert await kubectl.run("logs", "p", "--tail=1") == "two\n"
    following = await kubectl.start("logs", "-f", "p")
    assert following.stdout is not None
    assert await asyncio.wait_for(following.stdout.readline(), 30) == b"one\n"
    api.node.more.set()
    rest = await asyncio.wait_for(following.stdout.read(), 30)
    assert rest == b"two\nand more\n"


async def test_get_watch_shows_one_header_and_each_change(kubectl: Kubectl, api: Any) -> None:
    api.registry.create("pods", POD)
    watching = await kubectl.start("get", "pods", "-w")
    assert watching.stdout is not None
    lines = [await asyncio.wait_for(watching.stdout.readline(), 30) for _ in range(2)]
    api.registry.patch("pods", "default", "p", {"status": {"phase": "Running"}}, subresource="status")
    lines.append(await asyncio.wait_for(watching.stdout.readline(), 30))
    watching.terminate()
    await watching.wait()
    assert [line.split()[0] for line in lines] == [b"NAME", b"p", b"p"]
    assert b"Running" in lines[2]


async def test_what_only_speaks_protobuf_is_told_what_to_do(kubectl: Kubectl) -> None:
    told = await kubectl.run("create", "configmap", "x", "--from-literal=a=b", code=1)
    assert "kubectl apply -f" in told


async def test_a_resource_that_is_not_served_is_named(kubectl: Kubectl) -> None:
    assert 'a resource type "cronjobs"' in await kubectl.run("get", "cronjobs", code=1)


async def test_replace_scale_rollout_and_deleting_a_namespace(kubectl: Kubectl, api: Any) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
    await kubectl.run("apply", "-f", "-", text=yaml.safe_dump(namespace))
    await kubectl.run("-n", "team", "apply", "-f", "-", text=WORKLOAD)
    await kubectl.run("-n", "team", "scale", "sts/web", "--replicas=7")
    assert api.registry.get("statefulsets.apps", "team", "web")["spec"]["replicas"] == 7
    await kubectl.run("-n", "team", "set", "image", "sts/web", "main=example/web:9")
    await kubectl.run("-n", "team", "replace", "-f", "-", text=WORKLOAD)
    assert api.registry.get("statefulsets.apps", "team", "web")["spec"]["replicas"] == 2
    await kubectl.run("delete", "namespace", "team")
    assert api.registry.list("statefulsets.apps", "team") == []
    assert api.registry.find("namespaces", None, "team") is None
