"""Differences that stay, each with its reason, and how precisely they are recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass

from parity.compare import Difference, shown


@dataclass(frozen=True)
class Match:
    """Which differences are meant; regular expressions, each for the whole text.

    `path`: of the answer (`code`, `warnings`, `type`, `body.spec.x`). `embedded`, `real`: the values there as
    JSON, `<missing>` where there is none. `steps`: `CATEGORY/NAME: METHOD PATH`. `always` is False for what
    is not seen in every run.
    """

    path: str
    embedded: str = ".*"
    real: str = ".*"
    steps: str = ".*"
    always: bool = True

    def covers(self, step: str, found: Difference) -> bool:
        pairs = (
            (self.path, found.path),
            (self.embedded, shown(found.embedded)),
            (self.real, shown(found.real)),
            (self.steps, step),
        )
        return all(re.fullmatch(pattern, value, re.DOTALL) for pattern, value in pairs)


@dataclass(frozen=True)
class Declared:
    """A difference that stays: docs/embedded.md has a row with `id` and `reason`."""

    id: str
    reason: str
    matches: tuple[Match, ...]

    @property
    def row(self) -> str:
        """The line that docs/embedded.md has about it."""
        return f"| {self.id} | {self.reason} |"


def declared(id: str, reason: str, *matches: Match) -> Declared:
    return Declared(id, reason, matches)
