"""RFC 3339 with microseconds in UTC, and the way from wall time to the history's clock."""

from datetime import UTC, datetime, timedelta

import msgspec

from faultlab.contract.load import LoadStatus

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def format_time(moment: datetime) -> str:
    """As on the wire: `2026-01-31T12:00:00.000001Z`. The microseconds are always written."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Raises ValueError where the text is not a time with a zone."""
    moment = msgspec.convert(text, datetime)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone: expected RFC 3339 such as 2026-01-31T12:00:00.000000Z")
    return moment.astimezone(UTC)


def wall_ns(text: str) -> int:
    """Nanoseconds since the epoch, exact to the microsecond (a float would not be)."""
    return (parse_time(text) - _EPOCH) // _MICROSECOND * 1000


def from_wall_ns(nanoseconds: int) -> str:
    """The inverse of `wall_ns`, to the microsecond."""
    return format_time(_EPOCH + timedelta(microseconds=nanoseconds // 1000))


def load_start_wall_ns(load: LoadStatus) -> int:
    """When the history's `time` was 0, on the wall clock of the load's machine."""
    return wall_ns(load.wall_time) - (load.monotonic_ns - load.started_at_monotonic_ns)
