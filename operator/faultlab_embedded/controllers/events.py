"""Events do not stay: an hour, and never more than 5,000 of them, the oldest go first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from faultlab_embedded.store.errors import ApiError
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
LIFETIME = timedelta(hours=1)
MAX_EVENTS = 5000
_SWEEP_S = 30.0


async def sweep_events(registry: Registry) -> None:
    """For ever."""
    while True:
        sweep_once(registry, datetime.now(UTC))
        await asyncio.sleep(_SWEEP_S)


def sweep_once(registry: Registry, at: datetime) -> None:
    """Deletes what is too old or too much."""
    limit = (at - LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ")
    events = sorted(registry.list("events"), key=_last_seen)
    old = sum(_last_seen(event) < limit for event in events)
    for event in events[: max(old, len(events) - MAX_EVENTS)]:
        with suppress(ApiError):
            registry.delete("events", event["metadata"]["namespace"], event["metadata"]["name"])


def _last_seen(event: Object) -> str:
    """A time that sorts as text; series and new-style events have it in other places."""
    series = (event.get("series") or {}).get("lastObservedTime")
    seen = series or event.get("lastTimestamp") or event.get("eventTime")
    return str(seen or event["metadata"].get("creationTimestamp") or "")
