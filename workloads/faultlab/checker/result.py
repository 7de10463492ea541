"""What a check says."""

from typing import Literal

import msgspec

from faultlab.history.operations import Operation

Verdict = Literal["valid", "invalid", "unknown"]


class CheckResult(msgspec.Struct, frozen=True, rename="camel"):
    """`valid`: every key's operations have an order. `invalid`: this key's have none. `unknown`: undecided.

    `unknown` comes from running out of time or memory only; `message` says which, and for which key.
    """

    result: Verdict
    model: str
    operations: int
    """Operations of the history, failed ones included."""
    keys: int
    elapsed_ms: float
    message: str
    key: str | None = None
    """On invalid: the key, or the keys joined by operations on several, with commas between."""
    window: tuple[Operation, ...] = ()
    """On invalid: operations that have no order among themselves; leaving any out may give them one."""
    window_from_start: bool = True
    """Whether the window has no order from the initial state only (true), or from no state at all."""
    order: tuple[int, ...] = ()
    """On invalid: the longest order of the window's operations that was found, as their `index`es."""
