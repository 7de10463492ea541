"""What a scenario's systems leave behind when they are gone: their members' volumes.

A volume claim outlives its StatefulSet on purpose: a member that comes back finds its log. But a system
that was made for one run does not come back, and the next run must not start from its data.
"""

import asyncio
import logging
from collections.abc import Iterable

from faultlab_operator.core import Services
from faultlab_operator.errors import OperatorError
from faultlab_operator.render.common import SYSTEM_NAME, selector_labels
from faultlab_operator.render.raftcluster import APP, COMPONENT

log = logging.getLogger(__name__)

PODS_GONE_WITHIN_S = 30.0
"""Then the claims are left: the system, or one of its name, lives."""
LOOK_S = 0.5


async def sweep(services: Services, namespace: str, systems: Iterable[str]) -> None:
    """Deletes the claims of systems that are gone, once their pods are. Never raises."""
    for name in systems:
        try:
            await _sweep_one(services, namespace, name)
        except OperatorError as error:
            log.info("the volume claims of %s/%s stay: %s", namespace, name, error)


async def _sweep_one(services: Services, namespace: str, name: str) -> None:
    deadline = services.clock.monotonic() + PODS_GONE_WITHIN_S
    while services.cache.list("Pod", namespace, {SYSTEM_NAME: name}):
        if services.clock.monotonic() > deadline:
            return
        await asyncio.sleep(LOOK_S)
    labels = selector_labels(APP, COMPONENT, name)
    for claim in await services.kube.list("PersistentVolumeClaim", namespace, labels):
        if services.cache.get("RaftCluster", namespace, name) is not None:
            return  # another of its name has come, and takes them over
        await services.kube.delete("PersistentVolumeClaim", namespace, claim["metadata"]["name"])
