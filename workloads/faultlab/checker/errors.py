"""What a check refuses. A history that cannot be judged in time is no error but `unknown`."""


class CheckerError(ValueError):
    """The base of all errors of this package."""


class UnknownModelError(CheckerError):
    """There is no model of that name; the message lists those that exist."""
