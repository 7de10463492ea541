"""All controllers of the world together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from faultlab_embedded.controllers.accounts import AccountsReconciler
from faultlab_embedded.controllers.daemonset import DaemonSetReconciler
from faultlab_embedded.controllers.deployment import DeploymentReconciler
from faultlab_embedded.controllers.disruption import DisruptionReconciler
from faultlab_embedded.controllers.endpoints import EndpointsReconciler
from faultlab_embedded.controllers.events import sweep_events
from faultlab_embedded.controllers.garbage import GarbageCollector
from faultlab_embedded.controllers.job import JobReconciler
from faultlab_embedded.controllers.protection import ProtectionReconciler
from faultlab_embedded.controllers.replicaset import ReplicaSetReconciler
from faultlab_embedded.controllers.runtime import Controller
from faultlab_embedded.controllers.slices import SliceReconciler
from faultlab_embedded.controllers.statefulset import StatefulSetReconciler
from faultlab_embedded.node.recorder import Recorder
from faultlab_embedded.store.registry import Registry

log = logging.getLogger(__name__)


class ControllerManager:
    """`start` and `stop` once each."""

    def __init__(self, registry: Registry, ca_pem: bytes) -> None:
        self._registry = registry
        self._ca_pem = ca_pem
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins; returns at once."""
        registry = self._registry
        reconcilers: dict[str, Any] = {
            "endpoints": EndpointsReconciler(registry),
            "slices": SliceReconciler(registry),
            "garbage": GarbageCollector(registry),
            "accounts": AccountsReconciler(registry, self._ca_pem),
            "statefulset": StatefulSetReconciler(registry, Recorder(registry, "statefulset-controller")),
            "replicaset": ReplicaSetReconciler(registry, Recorder(registry, "replicaset-controller")),
            "deployment": DeploymentReconciler(registry, Recorder(registry, "deployment-controller")),
            "daemonset": DaemonSetReconciler(registry, Recorder(registry, "daemonset-controller")),
            "job": JobReconciler(registry, Recorder(registry, "job-controller")),
            "disruption": DisruptionReconciler(registry),
            "protection": ProtectionReconciler(registry),
        }
        for name, reconciler in reconcilers.items():
            controller = Controller(registry, name, reconciler, reconciler.sources())
            self._spawn(name, controller.run())
        self._spawn("events", sweep_events(registry))

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_log_failure)
        self._tasks.append(task)

    async def stop(self) -> None:
        """Ends all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the %s controller ended", task.get_name(), exc_info=error)
