"""A run as it goes on, put together from what the operator sees anyway: nothing is kept for it."""

import os
from pathlib import Path
from typing import Any

import msgspec

from faultlab.contract.run import CutEdge, LiveView, MemberView, PhaseRecord, RunEvent
from faultlab_operator.api import Scenario
from faultlab_operator.core import Services
from faultlab_operator.core.clock import parse_rfc3339
from faultlab_operator.faults.standing import cut_edges, is_wanted
from faultlab_operator.scenario.machine import expected_ms, fault_name
from faultlab_operator.scenario.manifests import load_name
from faultlab_operator.scenario.record import EVENTS_FILE
from faultlab_operator.scenario.store import RunStore

MAX_EVENTS = 500
"""In one answer; the next request asks for those after them."""

MAX_TAILS = 8
"""Runs whose events are held for followers; the longest unused one goes."""

HIDDEN = frozenset({"Applied"})
"""Checkpoints for the judge: hundreds a minute, and nothing to see."""


class LiveViews:
    """Makes live views; remembers how far it read each run's events."""

    def __init__(self, services: Services, store: RunStore) -> None:
        self._services = services
        self._store = store
        self._tails: dict[Path, _Tail] = {}

    def view(self, namespace: str, name: str, after: int) -> LiveView | None:
        """None if there is no such scenario."""
        obj = self._services.cache.get("Scenario", namespace, name)
        if obj is None:
            return None
        scenario = Scenario.parse(obj)
        status = scenario.status
        stored = self._store.find(namespace, name, scenario.metadata.uid)
        return LiveView(
            name=name,
            namespace=namespace,
            phase=status.phase or "Pending",
            phases=tuple(PhaseRecord(each.name, each.started_at, each.ended_at) for each in status.phases),
            elapsed_ms=self._elapsed_ms(scenario),
            expected_ms=expected_ms(scenario.spec),
            members=self._members(scenario),
            cut_edges=self._cut_edges(scenario),
            load=self._services.loads.status(namespace, load_name(scenario)),
            events=() if stored is None else self._tail(stored.path).after(after),
            verdict=status.verdict,
            reasons=tuple(status.reasons),
            artifacts=() if stored is None else tuple(stored.summary.files),
        )

    def _elapsed_ms(self, scenario: Scenario) -> int:
        if scenario.status.started_at is None:
            return 0
        ended = scenario.status.ended_at
        until = parse_rfc3339(ended) if ended is not None else self._services.clock.now()
        return int((until - parse_rfc3339(scenario.status.started_at)).total_seconds() * 1000)

    def _members(self, scenario: Scenario) -> tuple[MemberView, ...]:
        hub, namespace = self._services.members, scenario.metadata.namespace
        return tuple(
            view
            for system in scenario.spec.systems
            for _, view in sorted(hub.statuses(namespace, system.metadata.name).items())
        )

    def _cut_edges(self, scenario: Scenario) -> tuple[CutEdge, ...]:
        """What is cut now."""
        namespace, now = scenario.metadata.namespace, self._services.clock.now()
        cut: list[CutEdge] = []
        for index, entry in enumerate(scenario.spec.timeline):
            name = fault_name(scenario.metadata.name, index)
            obj: Any = self._services.cache.get(entry.fault.kind, namespace, name)
            if obj is not None and (obj.get("status") or {}).get("injectedAt") and is_wanted(obj, now):
                cut += [CutEdge(edge.source, edge.target) for edge in cut_edges(obj)]
        return tuple(cut)

    def _tail(self, directory: Path) -> "_Tail":
        tail = self._tails.pop(directory, None) or _Tail(directory / EVENTS_FILE)
        self._tails[directory] = tail
        while len(self._tails) > MAX_TAILS:
            del self._tails[next(iter(self._tails))]
        return tail


class _Tail:
    """The events of one file, read as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decode = msgspec.json.Decoder(RunEvent).decode
        self._identity: int | None = None
        self._offset = 0
        self._events: list[RunEvent] = []

    def after(self, event_id: int) -> tuple[RunEvent, ...]:
        """The first MAX_EVENTS events with a greater id, oldest first."""
        self._read()
        later = [event for event in self._events if event.id > event_id]
        return tuple(sorted(later, key=lambda event: event.id)[:MAX_EVENTS])

    def _read(self) -> None:
        try:
            with self._path.open("rb") as lines:
                inode = os.fstat(lines.fileno()).st_ino
                if inode != self._identity:
                    self._identity, self._offset, self._events = inode, 0, []
                lines.seek(self._offset)
                chunk = lines.read()
        except FileNotFoundError:
            return
        whole = chunk.rfind(b"\n") + 1
        self._offset += whole
        for line in chunk[:whole].splitlines():
            event = self._decode(line)
            if event.type not in HIDDEN:
                self._events.append(event)
