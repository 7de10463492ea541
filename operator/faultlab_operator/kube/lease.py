"""The operator's leader lock: a Lease in its own namespace, kept as `core.leader` decides."""

import asyncio
import logging
from typing import Any, Final, NoReturn

from faultlab_operator.core.clock import Clock, rfc3339
from faultlab_operator.core.leader import POLL_S, RENEW_S, Election, Record
from faultlab_operator.errors import Conflict, KubeError, LeadershipLost, NotFound
from faultlab_operator.kube.client import KubeClient
from faultlab_operator.kube.resources import RESOURCES

log = logging.getLogger(__name__)

LEASE: Final = "faultlab-operator"
REQUEST_S: Final = 1.5
"""For one request: a renewal that hangs must leave time for another."""
AGAIN_S: Final = 0.2
"""After a renewal that failed."""


class LeaderLock:
    """`acquire`, then `keep` for as long as it is needed, then `release`."""

    def __init__(self, kube: KubeClient, clock: Clock, namespace: str, identity: str) -> None:
        """The client must be one that may write without holding this lock."""
        self._kube = kube
        self._clock = clock
        self._namespace = namespace
        self._election = Election(identity)
        self._told = ""

    @property
    def held(self) -> bool:
        """Whether this process leads at this moment. False for good once it was lost."""
        return self._election.held(self._clock.monotonic())

    async def acquire(self) -> None:
        """Waits until this process leads; says who does meanwhile. An API server that does not answer
        is asked again."""
        while not self.held:
            try:
                await self._look()
                pause = self._election.pause(self._clock.monotonic())
                if pause == 0:
                    await self._write(self._election.claim(rfc3339(self._clock.now())))
                    continue
                self._tell(f"waiting for the leader lock: {self._holder()} holds it")
                await asyncio.sleep(min(pause, POLL_S))
            except Conflict:
                continue  # somebody else was faster: look who
            except (KubeError, TimeoutError) as error:
                self._tell(f"the leader lock cannot be had yet: {error or 'no answer in time'}")
                await asyncio.sleep(POLL_S)
        log.info("leading as %s", self._election.identity)

    async def keep(self) -> NoReturn:
        """Renews until cancelled. Raises LeadershipLost when another one leads or may do so soon."""
        pause = RENEW_S
        while True:
            await asyncio.sleep(pause)
            try:
                await self._write(self._election.claim(rfc3339(self._clock.now())))
                pause = RENEW_S
            except (KubeError, TimeoutError) as error:
                await self._look_again(error)
                pause = AGAIN_S
            if self._election.lost():
                raise LeadershipLost(f"{self._holder()} has taken the leader lock: this operator ends")
            if not self.held:
                raise LeadershipLost(
                    "the leader lock could not be renewed in time, and another operator may take it: "
                    "this one ends"
                )

    async def release(self) -> None:
        """Lets a successor begin at once. One that cannot be reached is left to the duration."""
        record = self._election.resignation(rfc3339(self._clock.now()))
        if record is None or not self.held:
            return
        try:
            await self._write(record)
        except (KubeError, TimeoutError) as error:
            log.warning("the leader lock was not released, a successor waits for it: %s", error)

    async def _look_again(self, error: Exception) -> None:
        """After a write that failed: it may have been done, or somebody else wrote."""
        if not isinstance(error, Conflict | NotFound):
            log.warning("the leader lock was not renewed: %s; again", error or "no answer in time")
        try:
            await self._look()
        except (KubeError, TimeoutError) as unread:
            log.warning("the leader lock cannot be read: %s; again", unread or "no answer in time")

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                record = _record(await self._kube.get("Lease", self._namespace, LEASE))
        except NotFound:
            record = None
        self._election.see(record, self._clock.monotonic())

    async def _write(self, record: Record) -> None:
        lease = _lease(self._namespace, record)
        sent_at = self._clock.monotonic()
        async with asyncio.timeout(REQUEST_S):
            if record.version:
                answer = await self._kube.replace(lease)
            else:
                answer = await self._kube.create(lease)
        self._election.wrote(_record(answer), sent_at, self._clock.monotonic())

    def _holder(self) -> str:
        return "nobody" if self._election.seen is None else self._election.seen.holder

    def _tell(self, text: str) -> None:
        """Logs a state once, not at each look."""
        if text != self._told:
            self._told = text
            log.info("%s", text)


def _record(lease: dict[str, Any]) -> Record:
    spec = lease.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        duration_s=spec.get("leaseDurationSeconds") or 0,
        acquired_at=spec.get("acquireTime") or "",
        renewed_at=spec.get("renewTime") or "",
        transitions=spec.get("leaseTransitions") or 0,
        version=lease["metadata"]["resourceVersion"],
    )


def _lease(namespace: str, record: Record) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": LEASE, "namespace": namespace}
    if record.version:
        metadata["resourceVersion"] = record.version
    return {
        "apiVersion": RESOURCES["Lease"].api_version,
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            "holderIdentity": record.holder or None,
            "leaseDurationSeconds": record.duration_s,
            "acquireTime": record.acquired_at or None,
            "renewTime": record.renewed_at,
            "leaseTransitions": record.transitions,
        },
    }
