"""The node: takes every pod, runs it, and reports; see the package's docstring for what a pod gets."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any

from faultlab_embedded.node import logs
from faultlab_embedded.node.context import NodeContext
from faultlab_embedded.node.node_object import NodeObject
from faultlab_embedded.node.places import NODE_NAME
from faultlab_embedded.node.pod import PodWorker
from faultlab_embedded.node.static import StaticPods
from faultlab_embedded.store.errors import ApiError, BadRequest, Expired, ServiceUnavailable
from faultlab_embedded.store.log import Record
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
Handler = Callable[[str, Object], Awaitable[None] | None]
_CHECK_S = 10.0
_FINAL_PHASES = ("Succeeded", "Failed")
log = logging.getLogger(__name__)


async def follow(registry: Registry, resource: str, handler: Handler) -> None:
    """Feeds a watch to `handler`, for ever; one that fell behind starts over with all that exists as
    ADDED."""
    while True:
        try:
            async for event, obj in registry.watch(resource):
                result = handler(event, obj)
                if result is not None:
                    await result
        except Expired:
            log.warning("the watch on %s fell behind and starts over", resource)


class Kubelet:
    """Runs all pods of the registry.

    `start` once; `shut_down` once. Serves as the API server's `NodeBackend`.
    """

    def __init__(self, context: NodeContext, static_pods: Sequence[Object]) -> None:
        self._context = context
        self._registry = context.registry
        self._workers: dict[str, PodWorker] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._static = StaticPods(context.registry, static_pods)
        self._node = NodeObject(context.registry, context.address)
        self._stopping = False

    # Life

    def start(self) -> None:
        """Begins; returns at once."""
        self._sweep()
        self._node.register()
        self._static.create()
        self._spawn(follow(self._registry, "endpoints", self._endpoints))
        self._spawn(follow(self._registry, "persistentvolumeclaims", self._context.claims.changed))
        for resource in ("configmaps", "secrets"):
            self._spawn(follow(self._registry, resource, self._source_handler(resource)))
        self._spawn(follow(self._registry, "pods", self._pod_event))
        self._spawn(self._node.beat())
        self._spawn(self._check_workers())

    async def wait_for_static_pods(self) -> None:
        """Returns once every static pod has begun: see `PodWorker.begun`."""
        if self._static_run():
            return
        async for _ in self._registry.watch("pods"):  # every change of a container changes its pod
            if self._static_run():
                return

    async def shut_down(self, grace_s: float) -> None:
        """Stops all pods within about `grace_s` seconds; their objects stay for the next life of the
        world."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        for worker in self._workers.values():
            worker.stop(grace_s, keep_object=True)
        if self._lives:
            await asyncio.wait(self._lives.values(), timeout=grace_s + 1.0)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_log_failure)
        self._tasks.append(task)

    def _static_run(self) -> bool:
        running = {(w.namespace, w.name) for w in self._workers.values() if w.begun()}
        return self._static.names <= running

    def _sweep(self) -> None:
        """What an earlier life of the world left: files of pods that are no more."""
        known = {pod["metadata"]["uid"] for pod in self._registry.list("pods")}
        self._context.claims.sweep()
        for folder in ("pods", "logs"):
            root = self._context.home / folder
            for directory in root.iterdir() if root.is_dir() else ():
                if directory.name.rpartition("_")[2] not in known:
                    shutil.rmtree(directory, ignore_errors=True)

    async def _check_workers(self) -> None:
        """Ends pods whose deletion was missed because a watch had fallen behind."""
        while True:
            await asyncio.sleep(_CHECK_S)
            for worker in list(self._workers.values()):
                found = self._registry.find("pods", worker.namespace, worker.name)
                if found is None or found.uid != worker.uid:
                    worker.stop(0)

    # Events

    def _endpoints(self, event: str, obj: Object) -> None:
        self._context.hosts.endpoints_changed(event, obj)

    def _source_handler(self, resource: str) -> Handler:
        def changed(event: str, obj: Object) -> None:
            if event == "DELETED":
                return
            for worker in list(self._workers.values()):
                if worker.namespace == obj["metadata"]["namespace"]:
                    worker.source_changed(resource, obj["metadata"]["name"])

        return changed

    def _pod_event(self, event: str, pod: Object) -> None:
        meta = pod["metadata"]
        worker = self._workers.get(meta["uid"])
        if event == "DELETED":
            self._pod_gone(pod, worker)
        elif worker is not None:
            worker.update(pod)
        elif not pod["spec"].get("nodeName"):
            self._bind(pod)
        elif pod["spec"]["nodeName"] == NODE_NAME:
            self._take(pod)

    def _pod_gone(self, pod: Object, worker: PodWorker | None) -> None:
        if worker is not None:
            worker.stop(0)
        else:
            self._forget(pod)
        self._static.deleted(pod)

    def _forget(self, pod: Object) -> None:
        meta = pod["metadata"]
        directory = self._context.log_directory(meta["namespace"], meta["name"], meta["uid"])
        asyncio.get_running_loop().run_in_executor(None, shutil.rmtree, directory, True)

    def _bind(self, pod: Object) -> None:
        """The scheduler: there is one node, and only a nodeSelector can refuse it."""
        meta = pod["metadata"]
        if "deletionTimestamp" in meta:
            return
        selector = pod["spec"].get("nodeSelector") or {}
        if mismatch := self._node.mismatch(selector):
            self._unschedulable(pod, mismatch)
            return
        try:
            self._registry.patch("pods", meta["namespace"], meta["name"], {"spec": {"nodeName": NODE_NAME}})
        except ApiError as error:
            log.warning("pod %s/%s was not bound: %s", meta["namespace"], meta["name"], error)
            return
        self._context.recorder.normal(
            pod,
            "Scheduled",
            f"Successfully assigned {meta['namespace']}/{meta['name']} to {NODE_NAME}",
        )

    def _unschedulable(self, pod: Object, mismatch: str) -> None:
        message = f"0/1 nodes are available: the only node, {NODE_NAME}, does not match {mismatch}"
        conditions = (pod.get("status") or {}).get("conditions") or ()
        if any(c["type"] == "PodScheduled" and c.get("message") == message for c in conditions):
            return
        self._context.recorder.warning(pod, "FailedScheduling", message)
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
        }
        meta = pod["metadata"]
        status = {"status": {"phase": "Pending", "conditions": [condition]}}
        self._registry.patch("pods", meta["namespace"], meta["name"], status, "status")

    def _take(self, pod: Object) -> None:
        if self._stopping or (pod.get("status") or {}).get("phase") in _FINAL_PHASES:
            return
        uid = pod["metadata"]["uid"]
        worker = self._workers[uid] = PodWorker(self._context, pod)
        life = self._lives[uid] = asyncio.create_task(worker.run())
        life.add_done_callback(lambda _: self._ended(worker))
        if "deletionTimestamp" in pod["metadata"]:
            worker.stop(0)

    def _ended(self, worker: PodWorker) -> None:
        self._lives.pop(worker.uid, None)
        self._workers.pop(worker.uid, None)
        if not self._stopping:
            self._forget(
                {"metadata": {"namespace": worker.namespace, "name": worker.name, "uid": worker.uid}}
            )

    # NodeBackend

    async def logs(
        self,
        namespace: str,
        name: str,
        container: str,
        *,
        follow: bool,
        tail_lines: int | None,
        previous: bool,
        timestamps: bool,
        since: datetime | None,
    ) -> AsyncIterator[bytes]:
        """The output of a container's current run (or the one before), as `NodeBackend` says."""
        record = self._registry.record("pods", namespace, name)
        directory = self._context.log_directory(namespace, name, record.uid) / container
        runs = sorted(int(file.stem) for file in directory.glob("*.log"))
        if len(runs) < (2 if previous else 1):
            what = f'previous terminated container "{container}"' if previous else f'container "{container}"'
            raise BadRequest(f'{what} in pod "{name}" is waiting to start: {_waits_for(record, container)}')
        path = directory / f"{runs[-2 if previous else -1]}.log"
        worker = self._workers.get(record.uid)
        runner = worker.runner(container) if worker else None
        log_now = runner.log if runner and not previous else None
        lines = logs.read(
            path, log_now, follow=follow, tail_lines=tail_lines, timestamps=timestamps, since=since
        )
        async for piece in lines:
            yield piece

    def address(self, namespace: str, pod: str) -> str:
        """The pod's address. Raises NotFound, or ServiceUnavailable where it has none (yet, or any more)."""
        found = self._registry.get("pods", namespace, pod)
        worker = self._workers.get(found["metadata"]["uid"])
        if worker is None or not worker.address:
            raise ServiceUnavailable(
                f'pod "{pod}" in namespace "{namespace}" has no address: it does not run'
            )
        return worker.address


def _waits_for(record: Record, container: str) -> str:
    """The reason that a container's status gives for not running."""
    status = record.decode().get("status") or {}
    for entry in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        if entry["name"] == container:
            waiting = entry["state"].get("waiting") or {}
            return str(waiting.get("reason") or "it has not run before")
    return "PodInitializing"


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a task of the node ended: %r", error, exc_info=error)
