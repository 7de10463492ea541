"""What a scenario leaves behind, and how it goes: its systems and load, then their members' volumes.

A volume claim outlives its StatefulSet on purpose: a member that comes back finds its log. But a system
that was made for one run does not come back, and the next run must not start from its data.
"""

import asyncio
import logging
from collections.abc import Iterable

from faultlab_operator.api import Scenario
from faultlab_operator.core import Services
from faultlab_operator.errors import OperatorError
from faultlab_operator.render.common import SYSTEM_NAME, selector_labels
from faultlab_operator.render.raftcluster import APP, COMPONENT
from faultlab_operator.scenario.manifests import load_name
from faultlab_operator.scenario.ownership import whose

log = logging.getLogger(__name__)

PODS_GONE_WITHIN_S = 30.0
"""Then the claims are left: the system, or one of its name, lives."""
LOOK_S = 0.5


async def clean_up(services: Services, scenario: Scenario) -> bool:
    """Deletes the load and the systems that are this scenario's; whether there were any.

    Load first, so that it does not see its system go. Raises KubeError.
    """
    namespace = scenario.metadata.namespace
    names = [("LoadTest", load_name(scenario))]
    names += [(system.kind, system.metadata.name) for system in scenario.spec.systems]
    found = False
    for kind, name in names:
        obj = services.cache.get(kind, namespace, name)
        if obj is not None and whose(obj, scenario, services.cache) == "ours":
            found = True
            await services.kube.delete(kind, namespace, name, uid=obj["metadata"]["uid"])
    return found


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
