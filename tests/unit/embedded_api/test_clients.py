"""kopf, lightkube and the Kubernetes client against the API server, unchanged."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

DEADLINE_S = 30.0

CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gauges.example.dev"},
    "spec": {
        "group": "example.dev",
        "scope": "Namespaced",
        "names": {"plural": "gauges", "kind": "Gauge"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"wanted": {"type": "integer"}}},
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}
GAUGE = {"apiVersion": "example.dev/v1", "kind": "Gauge", "metadata": {"name": "g"}, "spec": {"wanted": 1}}

OPERATOR = """
import kopf

@kopf.on.create("example.dev", "v1", "gauges")
@kopf.on.update("example.dev", "v1", "gauges")
def changed(spec, patch, body, **_):
    patch.status["seen"] = spec["wanted"]
    kopf.info(body, reason="Seen", message=f"wanted {spec['wanted']}")

@kopf.on.event("", "v1", "configmaps", labels={"watched": "yes"})
async def touched(body, logger, **_):
    logger.info("configmap %s", body["metadata"]["name"])
"""


async def until(condition: Any, what: str) -> None:
    """Wait for a condition, looking every 20 ms."""
    end = asyncio.get_running_loop().time() + DEADLINE_S
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"not within {DEADLINE_S} s: {what}"
        await asyncio.sleep(0.02)


async def test_a_kopf_operator_sees_changes_writes_status_and_posts_events(api: Any, tmp_path: Path) -> None:
    pytest.importorskip("kopf")
    api.registry.create("customresourcedefinitions.apiextensions.k8s.io", CRD)
    program = tmp_path / "gauge_operator.py"
    program.write_text(OPERATOR)
    output = tmp_path / "kopf.log"
    with output.open("wb") as log:
        operator = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kopf", "run", "--standalone", "--namespace=default", str(program),
            env={**os.environ, "KUBECONFIG": str(api.kubeconfig)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        api.registry.create("gauges.example.dev", GAUGE)

        def seen() -> Any:
            return api.registry.get("gauges.example.dev", "default", "g").get("status", {}).get("seen")

        await until(lambda: seen() == 1 or operator.returncode is not None, "the first status")
        api.registry.patch("gauges.example.dev", "default", "g", {"spec": {"wanted": 2}})
        await until(lambda: seen() == 2 or operator.returncode is not None, "the second status")
        await until(lambda: len(api.registry.list("events")) >= 2, "two events")
        api.registry.create("configmaps", {"metadata": {"name": "c", "labels": {"watched": "yes"}}})
        await until(lambda: b"configmap c" in output.read_bytes(), "the event handler")
        text = output.read_text()
        assert "Traceback" not in text
        assert "inconsistencies" not in text
    finally:
        if operator.returncode is None:
            operator.terminate()
            await asyncio.wait_for(operator.wait(), DEADLINE_S)
        print(output.read_text())


async def test_lightkube_applies_patches_status_watches_and_reads_logs(api: Any) -> None:
    lightkube = pytest.importorskip("lightkube")
    from lightkube.generic_resource import create_namespaced_resource
    from lightkube.models.core_v1 import Container, PodSpec
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap, Pod
    from lightkube.types import CascadeType, PatchType

    api.registry.create("customresourcedefinitions.apiextensions.k8s.io", CRD)
    gauges = create_namespaced_resource("example.dev", "v1", "Gauge", "gauges")
    config = lightkube.KubeConfig.from_file(str(api.kubeconfig))
    client = lightkube.AsyncClient(config=config, field_manager="tester")
    applied = await client.apply(gauges.from_dict(GAUGE), namespace="default", force=True)
    assert applied.metadata.managedFields[0].manager == "tester"
    await client.patch(
        gauges.Status, "g", {"status": {"seen": 5}}, patch_type=PatchType.MERGE, namespace="default"
    )
    assert (await client.get(gauges, "g", namespace="default"))["status"] == {"seen": 5}
    pod = Pod(metadata=ObjectMeta(name="p"), spec=PodSpec(containers=[Container(name="c", image="i")]))
    await client.create(pod, namespace="default")
    api.node.lines["p"] = [b"hello\n"]
    lines = [line async for line in client.log("p", namespace="default")]
    assert lines == ["hello\n"]
    for name in ("a", "b"):
        await client.create(ConfigMap(metadata=ObjectMeta(name=name, labels={"x": "y"})), namespace="default")
    listed = [item.metadata.name async for item in client.list(ConfigMap, namespace="*", labels={"x": "y"})]
    assert listed == ["a", "b"]
    seen = []
    async for kind, item in client.watch(ConfigMap, namespace="default"):
        seen.append((kind, item.metadata.name))
        if len(seen) == 2:
            await client.delete(ConfigMap, "a", namespace="default", cascade=CascadeType.BACKGROUND)
        if len(seen) == 3:
            break
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]


async def test_the_kubernetes_client_creates_lists_watches_and_patches(api: Any) -> None:
    kubernetes = pytest.importorskip("kubernetes")

    def use() -> list[tuple[str, str]]:
        # In a thread of its own: the client blocks, and the server lives on this test's loop.
        loader = kubernetes.config.new_client_from_config(config_file=str(api.kubeconfig))
        core, apps = kubernetes.client.CoreV1Api(loader), kubernetes.client.AppsV1Api(loader)
        core.create_namespaced_config_map("default", {"metadata": {"name": "c"}, "data": {"a": "1"}})
        core.patch_namespaced_config_map("c", "default", {"data": {"b": "2"}})
        assert core.read_namespaced_config_map("c", "default").data == {"a": "1", "b": "2"}
        template = {
            "metadata": {"labels": {"app": "w"}},
            "spec": {"containers": [{"name": "m", "image": "i"}]},
        }
        spec = {"serviceName": "w", "selector": {"matchLabels": {"app": "w"}}, "template": template}
        apps.create_namespaced_stateful_set("default", {"metadata": {"name": "w"}, "spec": spec})
        apps.patch_namespaced_stateful_set_scale("w", "default", {"spec": {"replicas": 4}})
        assert apps.read_namespaced_stateful_set("w", "default").spec.replicas == 4
        with pytest.raises(kubernetes.client.ApiException) as refused:
            core.create_namespaced_config_map("default", {"metadata": {"name": "c"}})
        assert refused.value.status == 409
        custom = kubernetes.client.CustomObjectsApi(loader)
        custom.create_namespaced_custom_object("example.dev", "v1", "default", "gauges", GAUGE)
        events = kubernetes.watch.Watch()
        found = []
        for event in events.stream(core.list_namespaced_config_map, "default", timeout_seconds=20):
            found.append((event["type"], event["object"].metadata.name))
            if len(found) == 1:
                core.delete_namespaced_config_map("c", "default")
            else:
                events.stop()
        return found

    api.registry.create("customresourcedefinitions.apiextensions.k8s.io", CRD)
    assert await asyncio.to_thread(use) == [("ADDED", "c"), ("DELETED", "c")]


async def test_a_raw_request_with_yaml_is_taken(api: Any) -> None:
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "y"}})
    headers = {"Content-Type": "application/yaml", "Accept": "application/yaml"}
    status, answer = await api.call("POST", "/api/v1/namespaces/default/configmaps", text, headers=headers)
    assert status == 201
    assert yaml.safe_load(answer)["metadata"]["name"] == "y"
