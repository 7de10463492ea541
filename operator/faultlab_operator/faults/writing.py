"""A fault's status, its conditions and its Kubernetes Events, written together."""

import asyncio
from typing import Any

from faultlab_operator.api import NetworkPartition
from faultlab_operator.core import Services
from faultlab_operator.core.cache import Object
from faultlab_operator.kube.conditions import condition_is, set_condition


class Writer:
    """Collects changes to one partition's status; `save` writes what differs and posts one Event."""

    def __init__(
        self,
        services: Services,
        obj: Object,
        partition: NetworkPartition,
        posting: "set[asyncio.Task[None]]",
    ) -> None:
        self.partition = partition
        self._posting = posting
        self._services = services
        self._obj = obj

    @property
    def namespace(self) -> str:
        return self.partition.metadata.namespace

    @property
    def name(self) -> str:
        return self.partition.metadata.name

    def is_true(self, condition: str) -> bool:
        return condition_is(self.partition.status.conditions, condition)

    def is_false(self, condition: str) -> bool:
        return condition_is(self.partition.status.conditions, condition, "False")

    def since(self, condition: str) -> str | None:
        """When the condition last changed; None where there is none."""
        conditions = self.partition.status.conditions
        return next((each.last_transition_time for each in conditions if each.type == condition), None)

    def reason(self, condition: str) -> str | None:
        """The condition's reason; None where there is none."""
        conditions = self.partition.status.conditions
        return next((each.reason for each in conditions if each.type == condition), None)

    def condition(self, kind: str, value: bool | None, reason: str, message: str) -> None:
        """True, False for good, or None while it is not decided."""
        status = self.partition.status
        status.conditions = set_condition(
            status.conditions,
            kind,
            value,
            reason,
            message,
            generation=self.partition.metadata.generation,
            now=self._services.clock.now(),
        )

    async def refuse(self, reason: str, message: str) -> None:
        """This fault will not be: says why, and is done with it."""
        self.condition("Selected", False, reason, message)
        self.partition.status.message = message[:1024]
        await self.save("Refused", message, warning=True)

    async def save(self, event: str = "", message: str = "", *, warning: bool = False) -> None:
        """Writes the status where it changed, and has the Event posted: no cut waits for that."""
        status = self.partition.status
        status.observed_generation = self.partition.metadata.generation
        document: dict[str, Any] = status.wire()
        await self._services.kube.patch_status("NetworkPartition", self.namespace, self.name, document)
        if event:
            kind = "Warning" if warning else "Normal"
            task = asyncio.create_task(self._services.kube.create_event(self._obj, kind, event, message))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)
