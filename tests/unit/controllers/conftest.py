"""A registry with all controllers, and a node that only pretends: pods run and are ready at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from faultlab_embedded.controllers.manager import ControllerManager
from faultlab_embedded.store.errors import ApiError
from faultlab_embedded.store.open import open_registry
from faultlab_embedded.store.registry import Registry

Object = dict[str, Any]
DEADLINE_S = 5.0


class Cluster:
    """What a test looks at.

    Pods whose name is in `stuck` never run; with `fail` or `complete` pods end at once.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.stuck: set[str] = set()
        self.fail = False
        self.complete = False
        self.most_terminating = 0
        self.created: list[str] = []
        self.deleted: list[str] = []
        self._addresses = 0

    def pods(self, labels: str | None = None) -> list[Object]:
        return self.registry.list("pods", "default", labels=labels)

    def names(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods()]

    def get(self, resource: str, name: str) -> Object:
        return self.registry.get(resource, "default", name)

    def status(self, resource: str, name: str) -> Object:
        return self.get(resource, name).get("status") or {}

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits for a condition; fails with what is there at the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                seen = [(pod["metadata"]["name"], pod.get("status")) for pod in self.pods()]
                pytest.fail(f"not so within {DEADLINE_S} s; pods: {seen}")
            await asyncio.sleep(0.005)

    async def settle(self) -> None:
        """Returns when nothing has been written for 60 ms."""
        seen = -1
        while seen != self.registry.version:
            seen = self.registry.version
            await asyncio.sleep(0.06)

    async def run_node(self) -> None:
        async for event, pod in self.registry.watch("pods"):
            name = pod["metadata"]["name"]
            if event == "DELETED":
                self.deleted.append(name)
                continue
            with suppress(ApiError):
                self._advance(event, pod)

    def _advance(self, event: str, pod: Object) -> None:
        meta, status = pod["metadata"], pod.get("status") or {}
        if event == "ADDED" and meta["name"] not in self.created:
            self.created.append(meta["name"])
        if not pod["spec"].get("nodeName"):
            self.registry.patch("pods", "default", meta["name"], {"spec": {"nodeName": "embedded"}})
        elif "deletionTimestamp" in meta:
            self.registry.delete("pods", "default", meta["name"], grace_seconds=0)
        elif status.get("phase") in (None, "Pending") and meta["name"] not in self.stuck:
            self.set_phase(pod, "Failed" if self.fail else "Succeeded" if self.complete else "Running")

    def set_phase(self, pod: Object, phase: str, *, ready: bool = True) -> None:
        self._addresses += 1
        value = "True" if phase == "Running" and ready else "False"
        status = {
            "phase": phase,
            "podIP": (pod.get("status") or {}).get("podIP") or f"10.0.0.{self._addresses}",
            "conditions": [{"type": "Ready", "status": value, "lastTransitionTime": "2024-01-01T00:00:00Z"}],
        }
        self.registry.patch("pods", "default", pod["metadata"]["name"], {"status": status}, "status")


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = open_registry(None)
    yield registry
    registry.close()


@pytest.fixture
async def cluster(registry: Registry) -> AsyncIterator[Cluster]:
    cluster = Cluster(registry)
    manager = ControllerManager(registry, b"ca")
    manager.start()
    node = asyncio.create_task(cluster.run_node())
    yield cluster
    node.cancel()
    await manager.stop()


def pod_spec(**extra: Any) -> Object:
    return {"containers": [{"name": "c", "image": "i", "command": ["x"]}], **extra}


@pytest.fixture
def template() -> Object:
    return {"metadata": {"labels": {"app": "web"}}, "spec": pod_spec()}


@pytest.fixture
def make_set(registry: Registry, template: Object) -> Callable[..., Object]:
    """Creates StatefulSet `web`; keywords go into its spec."""

    def make(**spec: Any) -> Object:
        base = {
            "replicas": 3,
            "serviceName": "web",
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
        }
        meta = {"name": "web", "namespace": "default"}
        obj = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": {**base, **spec}}
        return registry.create("statefulsets.apps", obj)

    return make
