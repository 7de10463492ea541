"""What a check refuses. Verdicts are never exceptions: a history that cannot be judged in time is `unknown`."""


class CheckerError(ValueError):
    """The base of all errors of this package."""


class UnknownModelError(CheckerError):
    """There is no model of that name; the message lists those that exist."""
