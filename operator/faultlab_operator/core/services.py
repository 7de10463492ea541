"""What every reconciler is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from faultlab_operator.core.cache import Cache
from faultlab_operator.core.clock import Clock
from faultlab_operator.core.keys import Key
from faultlab_operator.core.settings import Settings

if TYPE_CHECKING:
    from faultlab_operator.kube.client import KubeClient
    from faultlab_operator.members.hub import MembersHub
    from faultlab_operator.members.loads import LoadsHub


@dataclass(frozen=True, slots=True)
class Services:
    """One operator process' shared parts; made in `main`, closed there."""

    settings: Settings
    clock: Clock
    cache: Cache
    """RaftCluster, LoadTest, NetworkPartition, Scenario, Namespace, StatefulSet, Pod (the lab's own)."""
    kube: "KubeClient"
    members: "MembersHub"
    loads: "LoadsHub"
    http: aiohttp.ClientSession
    """For pods: members, loads, agents. No credentials of the API server go with it."""
    wake: Callable[[Key, float], None]
    """`wake(key, after_s)`: have an object looked at."""

    async def announce(self, key: Key, news: tuple[str, str, str]) -> None:
        """Posts an Event (kind, reason, message) about an object, unless it is gone."""
        obj = self.cache.get(*key)
        if obj is not None:
            await self.kube.create_event(obj, *news)
