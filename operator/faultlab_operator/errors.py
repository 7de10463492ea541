"""The operator's exceptions: one tree."""

from typing import Self


class OperatorError(Exception):
    """Root of what the operator raises; the message names the thing, what was expected, what to do."""


class KubeError(OperatorError):
    """The API server refused or could not be asked."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0 if there was no answer."""
        self.reason = reason


class NotFound(KubeError):
    """The object, or its kind, does not exist."""


class Conflict(KubeError):
    """It exists already, or was changed by somebody else meanwhile."""


class Refused(KubeError):
    """The API server holds the object to be wrong (400, 403, 422)."""


class Unavailable(KubeError):
    """No answer, or one that says to come again later (429, 5xx)."""


class LeadershipLost(OperatorError):
    """This process does not lead, or not for long any more: it must not act."""


class SecretUnusable(OperatorError):
    """The agents' Secret is there but has no usable key; the message says what to do."""


class BadSpec(OperatorError):
    """A spec that its CRD lets through but that cannot be done; the message says what to write."""


class MemberUnreachable(OperatorError):
    """A pod of a system or a load did not answer its admin or page port."""


class MemberRefused(OperatorError):
    """A member answered that it does not do what it was told."""

    def __init__(self, message: str, status: int, leader: str | None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status."""
        self.leader = leader
        """Whom to tell instead, if the member knows."""


class BadSetting(OperatorError):
    """An environment variable that cannot be used; the message names it and says what to write."""


class StorageError(OperatorError):
    """A file of a run cannot be kept: the disk is full, or the file would be longer than it may be."""

    @classmethod
    def after(cls, error: OSError, what: str) -> Self:
        """`what` did not work, why, and what to do."""
        why = error.strerror or type(error).__name__
        advice = "give the operator's data directory more room, or lower FAULTLAB_KEEP_BYTES"
        return cls(f"{what}: {why}; {advice}")
