"""How a load pod is configured, and the documents it serves beside Locust's page.

Beside Locust's own routes on LOCUST_PORT, a load pod serves:

- `GET /faultlab/status`: a `LoadStatus`.
- `POST /faultlab/finish`: stop offering load, let open operations end, read every key once more
  (the final read, part of the history), close the history. Answers 202 at once; `LoadStatus.phase`
  becomes `finished`. Safe to repeat.
- `GET /faultlab/history`: the history so far as NDJSON, time-ordered; complete once `finished`.
"""

from typing import Literal

import msgspec

from faultlab.contract.member import PeerAddress


class Arrival(msgspec.Struct, frozen=True, rename="camel"):
    """When operations start: as fast as replies come, or on a schedule that replies do not slow."""

    mode: Literal["closedLoop", "constantRate"] = "closedLoop"
    operations_per_second: float | None = None


class Mix(msgspec.Struct, frozen=True, rename="camel"):
    """Relative weights of the operations. Each key is a register (write, cas), a list (append) or a counter
    (incr); reads are spread over the three as what changes them is."""

    read: int = 50
    write: int = 50
    cas: int = 0
    append: int = 0
    incr: int = 0


class Keys(msgspec.Struct, frozen=True, rename="camel"):
    """How many keys there are, and how often each is chosen."""

    count: int = 50
    distribution: Literal["uniform", "zipfian"] = "uniform"
    exponent: float = 0.99


class LoadConfig(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The JSON file of `faultlab-load --config FILE`."""

    name: str
    members: tuple[PeerAddress, ...]
    """User i is at home at member i modulo their number, so that every side of a cut has clients. A redirect
    leads a user elsewhere until that member fails it."""
    users: int = 20
    workers: int = 1
    """Processes; the users and the rate are divided among them."""
    arrival: Arrival = Arrival()
    mix: Mix = Mix()
    keys: Keys = Keys()
    operation_timeout_ms: int = 1000
    """How long an answer is waited for each time that an operation is sent."""
    retries: bool = True
    """A write whose outcome is unknown is sent again, at other members too, for at most `retry_limit_ms`."""
    retry_limit_ms: int = 3000
    sessions: bool = True
    """Writes are sent within a session and under a number, so that one sent again is applied once. Without,
    retries apply some writes twice, as those of many client libraries do: for showing just that."""
    record: bool = True
    seed: int = 1
    data_dir: str = "/data"
    login_dir: str | None = None
    """Where the files `username` and `password` are that clients log in with; None: they do not."""
    key_prefix: str = ""


class LoadWindow(msgspec.Struct, frozen=True, rename="camel"):
    """What happened in the last second. Latencies in milliseconds, from the intended start."""

    operations_per_second: float
    writes_offered_per_second: float
    """Writes and cas whose intended start fell into the window."""
    ok: int
    fail: int
    info: int
    p50_ms: float | None
    p99_ms: float | None


class LoadStatus(msgspec.Struct, frozen=True, rename="camel"):
    """`GET /faultlab/status`."""

    name: str
    phase: Literal["starting", "running", "finishing", "finished", "failed"]
    ok: int
    fail: int
    info: int
    missed: int
    """Scheduled operations that no user was free to start within one second of their time."""
    users: int
    window: LoadWindow
    monotonic_ns: int
    """CLOCK_MONOTONIC now: the history's clock, shared by all processes of one kernel."""
    wall_time: str
    started_at_monotonic_ns: int
    """Where the history's `time` is 0."""
    running_since_monotonic_ns: int | None = None
    """When the first operation completed; the load generator itself takes about a second to start."""
    message: str = ""
    unread: int = 0
    """Once finished: keys that could not be read once more in the final read's time."""
