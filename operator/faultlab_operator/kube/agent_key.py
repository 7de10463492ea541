"""The key that operator and agents share, in the Secret `faultlab-agent` of the operator's namespace.

The operator makes it at its first start; the agents' pods wait until it is there, and mount it. A Secret
that exists is never overwritten: agents may be running with what it says.
"""

import asyncio
import logging
from typing import Any, Final

from faultlab_operator.core.clock import Clock
from faultlab_operator.errors import Conflict, KubeError, NotFound, SecretUnusable
from faultlab_operator.kube.client import KubeClient
from faultlab_operator.kube.shared_key import new_secret, text_in, what_is_wrong

log = logging.getLogger(__name__)

SECRET: Final = "faultlab-agent"
REREAD_S: Final = 2.0
"""Between two reads of the Secret, however many agents refuse the key."""


class AgentKey:
    """The key as this process knows it; `establish` first."""

    def __init__(self, kube: KubeClient, clock: Clock, namespace: str) -> None:
        self._kube = kube
        self._clock = clock
        self._namespace = namespace
        self._value = ""
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    @property
    def value(self) -> str:
        """Empty before `establish`."""
        return self._value

    async def establish(self) -> None:
        """Reads the Secret, or makes it with a random key. Raises SecretUnusable, KubeError."""
        try:
            secret = await self._kube.get("Secret", self._namespace, SECRET)
        except NotFound:
            secret = await self._make()
        self._read_at = self._clock.monotonic()
        self._value = usable_key(secret, self._namespace)

    async def renew(self, refused: str) -> bool:
        """Whether there is another key than the one that an agent refused.

        Reads the Secret again, at most every REREAD_S; one that cannot be read leaves things as they are.
        """
        async with self._reading:
            if self._value == refused and self._clock.monotonic() - self._read_at >= REREAD_S:
                self._read_at = self._clock.monotonic()
                try:
                    secret = await self._kube.get("Secret", self._namespace, SECRET)
                    self._value = usable_key(secret, self._namespace)
                except (KubeError, SecretUnusable) as error:
                    log.warning("an agent refused its key, and there is no other: %s", error)
            return self._value != refused

    async def _make(self) -> dict[str, Any]:
        """Creates the Secret; if another process was faster, gives that one's."""
        labels = {"app.kubernetes.io/part-of": "faultlab", "app.kubernetes.io/managed-by": "faultlab"}
        try:
            made = await self._kube.create(
                new_secret({"name": SECRET, "namespace": self._namespace, "labels": labels})
            )
        except Conflict:
            return await self._kube.get("Secret", self._namespace, SECRET)
        log.info("made the agents' key: Secret %s/%s", self._namespace, SECRET)
        return made


def usable_key(secret: dict[str, Any], namespace: str) -> str:
    """The key that a Secret holds. Raises SecretUnusable."""
    key = text_in(secret)
    if key is not None:
        return key
    problem = what_is_wrong(secret, "printable ASCII characters")
    raise SecretUnusable(
        f"Secret {namespace}/{SECRET} {problem}, and the operator does not overwrite it: delete it "
        f"(`kubectl -n {namespace} delete secret {SECRET}`), have the operator make a new one by deleting "
        "its pod, then delete the agents' pods so that they start with it"
    )
