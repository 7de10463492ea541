"""The operator's leader lock: a Lease in its own namespace, kept as `core.leader` decides."""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final, NoReturn

from faultlab_operator.core.clock import Clock, rfc3339
from faultlab_operator.core.leader import POLL_S, RENEW_S, Election, Record
from faultlab_operator.errors import Conflict, KubeError, LeadershipLost, NotFound
from faultlab_operator.kube.client import KubeClient
from faultlab_operator.kube.resources import RESOURCES

log = logging.getLogger(__name__)

LEASE: Final = "faultlab-operator"
REQUEST_S: Final = 2.0
"""For one request: a renewal that hangs must leave time for another."""
AGAIN_S: Final = 0.2
"""After a renewal that failed."""
GIVE_UP_S: Final = 10.0
"""So long a lock that ran out is still tried to be renewed: on a machine out of breath an API server's
answers take seconds, and starting anew takes more of them."""


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
        """Whether this process leads at this moment, and may act."""
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
        """Renews until cancelled. Raises LeadershipLost when another one was seen to lead, or when the lock
        could not be renewed for GIVE_UP_S after it had run out.

        In between `held` is false, so nothing is done; a renewal that succeeds then proves that nobody else
        has written the Lease, and all goes on.
        """
        pause = RENEW_S
        missing_since: float | None = None
        while True:
            await asyncio.sleep(pause)
            pause = RENEW_S if await self._renew() else AGAIN_S
            if self._election.lost():
                raise LeadershipLost(f"the leader lock has gone to {self._holder()}: this operator ends")
            if self.held:
                missing_since = None
                continue
            now = self._clock.monotonic()
            if missing_since is None:
                missing_since = now
                log.warning("the leader lock was not renewed in time: nothing is done until it is")
            if now - missing_since > GIVE_UP_S:
                raise LeadershipLost(
                    f"the leader lock could not be renewed for {GIVE_UP_S:g} s after it had run out, and "
                    "another operator may have it: this one ends"
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

    async def _renew(self) -> bool:
        """Whether the API server took a renewal. One without an answer may have been taken too: the next
        one's conflict tells."""
        try:
            await self._write(self._election.claim(rfc3339(self._clock.now())))
            return True
        except (Conflict, NotFound):
            with suppress(KubeError, TimeoutError):
                await self._look()
        except (KubeError, TimeoutError) as error:
            log.info("the leader lock was not renewed: %s; again", error or "no answer in time")
        return False

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
        return ("" if self._election.seen is None else self._election.seen.holder) or "nobody"

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
