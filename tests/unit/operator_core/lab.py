"""The embedded API on loopback with the operator's reconcilers on it; pods are objects only."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import kopf
from aiohttp import web

from faultlab_embedded.apiserver.app import SHUTDOWN_TIMEOUT_S, build_app
from faultlab_embedded.apiserver.settings import Settings as ApiSettings
from faultlab_embedded.store.errors import NotFound
from faultlab_embedded.store.open import open_registry
from faultlab_embedded.store.registry import Registry
from faultlab_operator.api.generate import load_crds
from faultlab_operator.core import Cache, Key, Services, Settings, SystemClock, WorkQueue
from faultlab_operator.handlers.elections import ElectionAnnouncer
from faultlab_operator.handlers.loadtest import LoadTestReconciler
from faultlab_operator.handlers.raftcluster import RaftClusterReconciler
from faultlab_operator.handlers.watch import keys_to_wake
from faultlab_operator.kube.client import KubeClient
from faultlab_operator.kube.connection import Connection
from faultlab_operator.kube.resources import RESOURCES, WATCHED, is_ours
from faultlab_operator.members import LoadsHub, MembersHub

TOKEN = "tests-only"
NAMESPACE = "lab"


WELL: dict[str, Any] = {
    "conditions": [{"type": "Ready", "status": "True"}],
    "containerStatuses": [
        {
            "name": "member",
            "image": "none",
            "imageID": "",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }
    ],
}
"""What a pod's status says of a container that runs and is ready."""


class NoNode:
    """No pod runs, so none has logs or an address."""

    def logs(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def address(self, *_: Any) -> str:
        raise NotImplementedError


def resource_of(kind: str) -> str:
    info = RESOURCES[kind]
    return f"{info.plural}.{info.api_version.rpartition('/')[0]}".rstrip(".")


def find(registry: Registry, kind: str, name: str) -> dict[str, Any] | None:
    """The object, None if there is none."""
    try:
        return registry.get(resource_of(kind), NAMESPACE, name)
    except NotFound:
        return None


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Registry, str]]:
    """The embedded API with the CRDs and a namespace; its registry and its address."""
    registry = open_registry(None)
    for crd in load_crds():
        registry.create("customresourcedefinitions.apiextensions.k8s.io", crd)
    labels = {"faultlab.dev/chaos": "enabled"}
    registry.create("namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}})
    app = build_app(registry, NoNode(), ApiSettings(tokens={TOKEN: "tests"}))
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield registry, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def client(address: str, cache: Cache) -> KubeClient:
    info = kopf.ConnectionInfo(server=address, token=TOKEN)
    return KubeClient(Connection(info, lambda: TOKEN), cache)


@dataclass
class Lab:
    """What a test looks at and turns."""

    registry: Registry
    services: Services
    queue: WorkQueue
    deleted_pods: list[str] = field(default_factory=list)

    def apply(self, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        return self.registry.apply(
            {
                "apiVersion": RESOURCES[kind].api_version,
                "kind": kind,
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": spec,
            },
            manager="tests",
        )

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        return find(self.registry, kind, name)

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any]:
        conditions = ((self.get(kind, name) or {}).get("status") or {}).get("conditions") or []
        return next((item for item in conditions if item["type"] == condition), {})

    def events(self, name: str) -> list[tuple[str, str]]:
        return [
            (event["reason"], event["message"])
            for event in self.registry.list("events", NAMESPACE)
            if event["involvedObject"]["name"] == name
        ]

    def make_pod(self, name: str, owner: dict[str, Any], address: str, template: dict[str, Any]) -> None:
        """What a StatefulSet controller and a node would do."""
        made = self.registry.create(
            "pods",
            {
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "labels": template["metadata"]["labels"],
                    "annotations": template["metadata"]["annotations"],
                    "ownerReferences": [
                        {
                            "apiVersion": "apps/v1",
                            "kind": "StatefulSet",
                            "name": owner["metadata"]["name"],
                            "uid": owner["metadata"]["uid"],
                            "controller": True,
                        }
                    ],
                },
                "spec": {"containers": [{"name": "member", "image": "none"}]},
            },
        )
        status = {"phase": "Running", "podIP": address, **WELL}
        self.set_pod_status(made["metadata"]["name"], status)

    def make_claim(self, pod: str, labels: dict[str, str]) -> None:
        """The pod's volume, unless it has one."""
        if self.get("PersistentVolumeClaim", f"data-{pod}") is not None:
            return
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        metadata = {"name": f"data-{pod}", "namespace": NAMESPACE, "labels": labels}
        self.registry.create("persistentvolumeclaims", {"metadata": metadata, "spec": spec})
        finalizers = {"metadata": {"finalizers": None}}  # nobody takes them away here
        self.registry.patch("persistentvolumeclaims", NAMESPACE, f"data-{pod}", finalizers)

    def set_pod_status(self, name: str, status: dict[str, Any]) -> None:
        self.registry.patch("pods", NAMESPACE, name, {"status": status}, subresource="status")


@asynccontextmanager
async def running_lab(members: Sequence[Any], load_port: int = 1) -> AsyncIterator[Lab]:
    """RaftCluster and LoadTest reconciled against the embedded API; pods of StatefulSets get the
    members' addresses in turn of their index."""
    cache, clock = Cache(), SystemClock()
    queue = WorkQueue(clock)

    def changed(key: Key, before: Any, now: Any) -> None:
        for woken in keys_to_wake(key, now or before, cache):
            queue.wake(woken)

    cache.listen(changed)
    async with (
        serving() as (registry, address),
        client(address, cache) as kube,
        aiohttp.ClientSession() as http,
    ):
        hub = MembersHub(http, admin_port=members[0].port)
        loads = LoadsHub(http, port=load_port)
        hub.listen(lambda namespace, name: queue.wake(Key("RaftCluster", namespace, name)))
        loads.listen(lambda namespace, name: queue.wake(Key("LoadTest", namespace, name)))
        settings = Settings(locust_url="http://loads.invalid")
        services = Services(settings, clock, cache, kube, hub, loads, http, queue.wake)
        announcer = ElectionAnnouncer(kube, cache, hub, clock)
        lab = Lab(registry, services, queue)
        reconcilers = {
            "RaftCluster": RaftClusterReconciler(services, announcer),
            "LoadTest": LoadTestReconciler(services),
        }
        tasks = [
            asyncio.create_task(queue.run(reconcilers)),
            asyncio.create_task(announcer.run()),
            asyncio.create_task(_make_pods(lab, [member.address for member in members])),
            *(asyncio.create_task(_pump(registry, kind, cache)) for kind in WATCHED),
        ]
        try:
            yield lab
            failed = [task.exception() for task in tasks if task.done()]
            assert not failed, failed
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await hub.close()
            await loads.close()


async def _pump(registry: Registry, kind: str, cache: Cache) -> None:
    """What kopf's watches do."""
    async for change, obj in registry.watch(resource_of(kind)):
        whole = {"apiVersion": RESOURCES[kind].api_version, **obj, "kind": kind}
        if not is_ours(kind, whole["metadata"].get("labels")):
            continue
        if change == "DELETED":
            cache.drop(whole)
        else:
            cache.put(whole)


async def _make_pods(lab: Lab, addresses: list[str]) -> None:
    """A StatefulSet controller in small: makes what is missing, and notes what had been there."""
    made: set[str] = set()
    while True:
        for stateful_set in lab.registry.list("statefulsets.apps", NAMESPACE):
            _observe(lab, stateful_set)
            for index in range(stateful_set["spec"]["replicas"], len(addresses)):
                surplus = f"{stateful_set['metadata']['name']}-{index}"
                if lab.get("Pod", surplus) is not None:
                    lab.registry.delete("pods", NAMESPACE, surplus, grace_seconds=0)
                    made.discard(surplus)
            for index in range(stateful_set["spec"]["replicas"]):
                name = f"{stateful_set['metadata']['name']}-{index}"
                if lab.get("Pod", name) is not None:
                    continue
                if name in made:
                    lab.deleted_pods.append(name)
                made.add(name)
                lab.make_claim(name, stateful_set["spec"]["template"]["metadata"]["labels"])
                lab.make_pod(name, stateful_set, addresses[index], stateful_set["spec"]["template"])
        await asyncio.sleep(0.02)


def _observe(lab: Lab, stateful_set: dict[str, Any]) -> None:
    generation = stateful_set["metadata"]["generation"]
    if (stateful_set.get("status") or {}).get("observedGeneration") != generation:
        status = {"observedGeneration": generation, "replicas": stateful_set["spec"]["replicas"]}
        name = stateful_set["metadata"]["name"]
        lab.registry.patch("statefulsets.apps", NAMESPACE, name, {"status": status}, subresource="status")
