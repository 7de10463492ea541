"""What the lab sees of a member: its events, among them checkpoints by which members can be compared."""

from typing import Any

import msgspec

from faultlab.contract.member import MemberEvent
from faultlab.runtime.clock import Clock
from faultlab.runtime.events import EventRing

from .configuration import name_of
from .kv import KeyValueStore
from .messages import SnapshotMeta
from .ready import CoreEvent

MIN_STRIDE = 64
MAX_STRIDE = 65_536
_MIN_INTERVAL_NS = 50_000_000
_MAX_INTERVAL_NS = 500_000_000


class Watch:
    """Turns what happens into `MemberEvent`s.

    `Applied` checkpoints are told at indexes that are multiples of a stride, never by time, so that
    members tell of the same ones. The stride doubles when checkpoints come more often than every 50 ms and
    halves when less often than every 500 ms, and is always a power of two: members with different
    strides share the multiples of the larger.
    """

    def __init__(self, member: str, clock: Clock, tick_s: float, incarnation: str) -> None:
        """`incarnation`: what tells this process from others of the same member."""
        self._member = member
        self._tick_s = tick_s
        self._clock = clock
        self.incarnation = incarnation
        self.events: EventRing[MemberEvent] = EventRing()
        self.stride = MIN_STRIDE
        self._last_checkpoint_ns = 0

    def started(self, term: int, detail: str) -> None:
        """The process has begun."""
        self._add("Started", term, detail=detail)

    def core(self, event: CoreEvent) -> None:
        """The core has something to tell."""
        detail = event.detail
        if event.ticks is not None:
            detail = f"{detail} for {event.ticks * self._tick_s * 1000:.0f} ms"
        self._add(
            event.type,
            event.term,
            role=event.role,
            leader=None if event.leader is None else name_of(event.leader),
            index=event.index,
            detail=detail,
        )

    def snapshot_taken(self, meta: SnapshotMeta, detail: str) -> None:
        """A snapshot is on disk."""
        self._add("SnapshotTaken", meta.term, index=meta.index, detail=detail)

    def checkpoint(self, store: KeyValueStore) -> None:
        """Called after each applied entry whose index is a multiple of `stride`."""
        now_ns = self._clock.monotonic_ns()
        since_ns = now_ns - self._last_checkpoint_ns
        self._last_checkpoint_ns = now_ns
        self._add("Applied", store.applied_term, index=store.applied_index, digest=store.digest())
        if since_ns < _MIN_INTERVAL_NS:
            self.stride = min(2 * self.stride, MAX_STRIDE)
        elif since_ns > _MAX_INTERVAL_NS:
            self.stride = max(self.stride // 2, MIN_STRIDE)

    def _add(self, kind: Any, term: int, **fields: Any) -> None:
        self.events.add(
            MemberEvent(
                id=self.events.next_id,
                member=self._member,
                type=kind,
                term=term,
                wall_time=self._clock.wall_time(),
                monotonic_ns=self._clock.monotonic_ns(),
                incarnation=self.incarnation,
                **fields,
            )
        )


def describe(event: CoreEvent) -> str:
    """For the log."""
    fields = msgspec.structs.asdict(event)
    kind = fields.pop("type")
    del fields["configuration"]
    return " ".join([kind, *(f"{key}={value}" for key, value in fields.items() if value is not None)])
