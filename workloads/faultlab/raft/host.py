"""What a `RaftNode` needs of the world around it, so that a simulator can be that world.

The node itself never asks for the running loop, the time or chance: the process gives it asyncio's loop, a
disk thread and TCP links (member.py), the simulator its own virtual ones.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from .messages import Entry, HardState, NodeId


class Scheduler(Protocol):
    """Runs functions one after another, never two at once; asyncio's loop is one."""

    def time(self) -> float:
        """Seconds on a clock that never runs backwards."""
        ...

    def call_soon(self, callback: Callable[..., object], *args: object) -> object:
        """Calls `callback(*args)` after the present one has returned, in the order of these calls."""
        ...


class DiskQueue(Protocol):
    """Runs jobs one after another away from the scheduler, in the order given."""

    def run(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        """Runs `job`, then `done` on the scheduler. An OSError in a job ends the member: neither that
        `done` nor any later one is ever called."""
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
    """The links of one member: to every other member of its configuration, and no other."""

    @property
    def links(self) -> Mapping[NodeId, Link]:
        """By id; changes as `update_peers` is called."""
        ...

    def update_peers(self, peers: Mapping[NodeId, tuple[str, int]]) -> None:
        """The configuration changed: host and port of each other member. Links of others are closed."""
        ...


class NodeStorage(Protocol):
    """The log of one member as the node writes it: gathered between two syncs, then synced at once."""

    @property
    def log_bytes(self) -> int:
        """What the log takes on disk."""
        ...

    def add_entries(self, entries: list[Entry]) -> None:
        """Gathers entries; where the first one's index was written before, they replace all from it on."""
        ...

    def add_hard_state(self, state: HardState) -> None:
        """Gathers a hard state that replaces the last one."""
        ...

    def start_sync(self, disk: DiskQueue, done: Callable[[], None]) -> None:
        """Makes durable what was gathered; then `done`, on the scheduler. One at a time."""
        ...
