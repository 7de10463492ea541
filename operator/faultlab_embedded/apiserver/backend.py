"""What the API server needs from the node that runs the pods, and nothing more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol


class NodeBackend(Protocol):
    """The node, as far as `pods/log` and the proxies look into it."""

    def logs(
        self,
        namespace: str,
        name: str,
        container: str,
        *,
        follow: bool,
        tail_lines: int | None,
        previous: bool,
        timestamps: bool,
        since: datetime | None,
    ) -> AsyncIterator[bytes]:
        """A container's output in pieces of any size; with `follow` until the container ends.
        Lines written before `since` are left out.

        `container` is one of the pod's. Raises an `ApiError` (BadRequest: it has not started, as kubelet
        says it) before the first piece.
        """
        ...

    def address(self, namespace: str, pod: str) -> str:
        """The IP address at which this process reaches the pod. Raises ServiceUnavailable where it has
        none."""
        ...
