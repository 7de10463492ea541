"""All controllers of the world together."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from faultlab_embedded.controllers.endpoints import EndpointsReconciler
from faultlab_embedded.controllers.runtime import Controller
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
            "statefulset": StatefulSetReconciler(registry, Recorder(registry, "statefulset-controller")),
        }
        for name, reconciler in reconcilers.items():
            controller = Controller(registry, name, reconciler, reconciler.sources())
            task = asyncio.create_task(controller.run(), name=name)
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
