"""The key by which a cluster's members prove themselves to each other, and the operator itself to them.

It is made once for each RaftCluster, in a Secret that goes with it. One that exists is never overwritten:
members may be running with what it says. Neither loads nor agents are given it.
"""

import hmac
import logging
from typing import Any, Final, NamedTuple

from faultlab_operator.api import RaftCluster
from faultlab_operator.core.clock import Clock
from faultlab_operator.core.keys import Key
from faultlab_operator.errors import Conflict, NotFound, SecretUnusable
from faultlab_operator.kube.client import KubeClient
from faultlab_operator.kube.shared_key import bytes_in, new_secret, what_is_wrong
from faultlab_operator.render.raftcluster import peer_secret

log = logging.getLogger(__name__)


REREAD_S: Final = 60.0
"""The Secret is not watched: so often it is looked whether somebody has deleted or changed it."""


class _Known(NamedTuple):
    uid: str
    """The cluster's."""
    value: bytes
    read_at: float


class PeerKeys:
    """The keys of the clusters that this process serves."""

    def __init__(self, kube: KubeClient, clock: Clock) -> None:
        self._kube = kube
        self._clock = clock
        self._known: dict[Key, _Known] = {}

    async def establish(self, key: Key, cluster: RaftCluster) -> None:
        """Reads the cluster's Secret, or makes it, unless that was done lately. Raises SecretUnusable,
        KubeError."""
        known, now = self._known.get(key), self._clock.monotonic()
        if known is not None and known.uid == cluster.metadata.uid and now - known.read_at < REREAD_S:
            return
        wanted = peer_secret(cluster)
        namespace, name = wanted["namespace"], wanted["name"]
        try:
            secret = await self._kube.get("Secret", namespace, name)
        except NotFound:
            secret = await self._make(wanted)
        owners = {owner.get("uid") for owner in secret["metadata"].get("ownerReferences") or ()}
        if owners and cluster.metadata.uid not in owners:
            raise SecretUnusable(
                f"an earlier Secret {name} is still being deleted: its members' key is not this cluster's"
            )
        found = bytes_in(secret)
        if found is None:
            problem = what_is_wrong(secret, "bytes")
            raise SecretUnusable(
                f"Secret {namespace}/{name} {problem}, and the operator does not overwrite it: "
                f"delete it (`kubectl -n {namespace} delete secret {name}`) and the cluster's pods, and the "
                "operator makes a new one"
            )
        self._known[key] = _Known(cluster.metadata.uid, found, now)

    def proof(self, key: Key) -> str:
        """What the operator's POSTs to the cluster's members carry in KEY_HEADER; after `establish`."""
        return hmac.new(self._known[key].value, f"admin {key.name}".encode(), "sha256").hexdigest()

    def expire(self, key: Key) -> None:
        """Has the Secret read again at the next `establish`: members have shown that they know another."""
        if key in self._known:
            self._known[key] = self._known[key]._replace(read_at=float("-inf"))

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self._known.pop(key, None)

    async def _make(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Creates the Secret; if another process was faster, gives that one's."""
        try:
            made = await self._kube.create(new_secret(metadata))
        except Conflict:
            return await self._kube.get("Secret", metadata["namespace"], metadata["name"])
        log.info("made the members' key: Secret %s/%s", metadata["namespace"], metadata["name"])
        return made
