"""What a `RaftNode` needs of the world around it, so that a simulator can be that world.

The node itself never asks for the running loop, the time or chance: the process gives it asyncio's loop, a
disk thread and TCP links (member.py), the simulator its own virtual ones.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from faultlab.runtime.clock import Clock
from faultlab.runtime.disk import DiskQueue

from .configuration import NodeId
from .storage.store import Storage


class Scheduler(Protocol):
    """Runs functions one after another, never two at once; asyncio's loop is one."""

    def time(self) -> float:
        """Seconds on a clock that never runs backwards."""
        ...

    def call_soon(self, callback: Callable[..., object], *args: object) -> object:
        """Calls `callback(*args)` after the present one has returned, in the order of these calls."""
        ...


class Link(Protocol):
    """Frames to one peer; what cannot be sent is dropped. As runtime/peers/link.py says."""

    @property
    def connected(self) -> bool:
        """Whether frames can be sent at the moment."""
        ...

    def send_urgent(self, channel: int, payload: bytes) -> None:
        """Ahead of everything that waits."""
        ...

    def send_bulk(self, channel: int, payload: bytes) -> None:
        """In order behind other bulk."""
        ...

    def send_request(self, channel: int, payload: bytes) -> bool:
        """As `send_bulk`, but False, and certainly not sent, when it cannot be."""
        ...


class Peers(Protocol):
    """The links of one member: to every other member of its configuration, and to whoever else has found
    it (thesis, 4.1: a leader may be one that this member's configuration does not know yet)."""

    @property
    def links(self) -> Mapping[NodeId, Link]:
        """By id; changes as `update_peers` is called, and as peers come that are not listed."""
        ...

    def update_peers(self, peers: Mapping[NodeId, tuple[str, int]]) -> None:
        """The configuration changed: host and peer port of each member."""
        ...


class Host(NamedTuple):
    """All of it together."""

    scheduler: Scheduler
    clock: Clock
    storage: Storage
    disk: DiskQueue
    peers: Peers
