"""What a scenario leaves behind, and how it goes: its load and its systems, and with them all they own."""

from faultlab_operator.api import Scenario
from faultlab_operator.core import Services
from faultlab_operator.scenario.manifests import load_name
from faultlab_operator.scenario.ownership import whose


async def clean_up(services: Services, scenario: Scenario) -> bool:
    """Deletes the load and the systems that are this scenario's; whether there were any.

    Load first, so that it does not see its system go. Members' volumes go with their StatefulSet, by its
    retention policy. Raises KubeError.
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
