"""How long ago something was, as kubectl shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def human_duration(seconds: float) -> str:
    """`45s`, `3m12s`, `5h`, `2d3h`: as apimachinery's `duration.HumanDuration` has it."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 0:
        return "0s"
    if total < 120:
        return f"{total}s"
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if minutes < 10:
        return f"{minutes}m{rest}s" if (rest := total % 60) else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{rest}m" if (rest := minutes % 60) else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{rest}h" if (rest := hours % 24) else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years = days // 365
    if years < 8:
        return f"{years}y{rest}d" if (rest := days % 365) else f"{years}y"
    return f"{years}y"


def since(timestamp: Any) -> str:
    """The age of a timestamp, `<unknown>` where there is none."""
    if not timestamp:
        return "<unknown>"
    then = datetime.fromisoformat(str(timestamp).replace("Z", "+00:00"))
    return human_duration((datetime.now(UTC) - then).total_seconds())
