"""Choosing a fault's sides: what it may touch, whether it is alone, who has which role at this moment."""

import asyncio
import contextlib
import random

from faultlab_operator.api import NetworkPartition
from faultlab_operator.api.networkpartition import Cut
from faultlab_operator.core import Services
from faultlab_operator.core.cache import Object
from faultlab_operator.faults.errors import Refusal
from faultlab_operator.faults.pods import lacks_ipv4
from faultlab_operator.faults.scope import Scope, find_scope, who_leads
from faultlab_operator.faults.selection import Selection, select
from faultlab_operator.faults.standing import cut_edges, is_wanted, namespace_of

ROLES_WITHIN_S = 0.4
"""How long members may take to say who leads; a member that does not answer does not count as leading."""


async def choose(services: Services, obj: Object, partition: NetworkPartition) -> tuple[Scope, Selection]:
    """The sides as of now. Raises Refusal and NotYet."""
    scope = find_scope(partition, services.cache)
    _alone(services, obj, scope)
    _have_ipv4(services, scope)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ROLES_WITHIN_S):
            await services.members.refresh(scope.namespace, scope.system)
    return scope, select_now(services, partition, scope)


def select_now(services: Services, partition: NetworkPartition, scope: Scope) -> Selection:
    """With the roles that the hub knows; the seed that is used is kept in the status."""
    status = partition.status
    if status.seed is None:
        status.seed = partition.spec.seed
    if status.seed is None:
        status.seed = random.SystemRandom().randrange(2**32)
    return select(partition.spec, who_leads(scope, services.members), scope.load_pods, status.seed)


def pin(partition: NetworkPartition, scope: Scope, selection: Selection) -> None:
    """Writes the selection into the status, which from then on says what is cut."""
    status = partition.status
    status.namespace = scope.namespace
    status.cut_off = list(selection.cut_off)
    status.cut_edges = [Cut(source=edge.source, target=edge.target) for edge in selection.edges]
    status.leader_at_injection = status.leader_at_injection or selection.leader
    rest = [name for name in scope.members if name not in selection.cut_off]
    shape = f"{','.join(selection.cut_off)} | {','.join(rest)}" if selection.cut_off else "each | some others"
    status.cut = f"{shape} ({partition.spec.topology.type})"[:512]


def _have_ipv4(services: Services, scope: Scope) -> None:
    """Raises Refusal for a pod that could not be cut off, nor be told whether it is."""
    for name in (*scope.members, *scope.load_pods):
        pod = services.cache.get("Pod", scope.namespace, name)
        if pod is not None and lacks_ipv4(pod):
            raise Refusal(
                "NoIPv4Address",
                f"pod {name} has only the address {pod['status'].get('podIP')}: partitions are made of IPv4 "
                "addresses; use a cluster whose pods have one (single-stack IPv4, or dual-stack)",
            )


def _alone(services: Services, obj: Object, scope: Scope) -> None:
    """Raises Refusal where another partition of the same system stands or is about to."""
    now = services.clock.now()
    for other in services.cache.list(obj["kind"]):
        if other["metadata"].get("uid") == obj["metadata"].get("uid") or not is_wanted(other, now):
            continue
        if namespace_of(other) != scope.namespace:
            continue
        names = {name for edge in cut_edges(other) for name in edge}
        if names & set(scope.members):
            until = (other.get("status") or {}).get("healsAt", "its time")
            raise Refusal(
                "AlreadyPartitioned",
                f"{other['metadata']['name']} partitions {scope.system} already, until {until}: "
                "delete it, or apply this one again when it has healed",
            )
