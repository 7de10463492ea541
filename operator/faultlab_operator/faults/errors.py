"""Why a fault is not injected, or an agent did not do what it was asked."""

from faultlab_operator.errors import OperatorError


class FaultError(OperatorError):
    """Root of this package's errors."""


class Refusal(FaultError):
    """This fault will not be injected: its reason for programs, its message says what to write instead."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotYet(FaultError):
    """This fault cannot be injected now, but may be in a moment: no leader, members not running, ..."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class AgentError(FaultError):
    """A node's agent could not be asked, or refused: names the node, and what it answered.

    `unsure`: the request was sent and not answered, so it may have been done, or may still be.
    """

    def __init__(self, message: str, *, unsure: bool = False) -> None:
        super().__init__(message)
        self.unsure = unsure
