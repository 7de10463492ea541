"""The shapes of what a status says: conditions before they are dated, and Events."""

from typing import NamedTuple

Said = tuple[bool, str, str]
"""A condition's status, reason and message."""


class Announcement(NamedTuple):
    """An Event that a change of status is worth."""

    kind: str
    reason: str
    message: str
