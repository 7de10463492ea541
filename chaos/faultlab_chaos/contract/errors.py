"""The one exception tree of `faultlab_chaos`: catch `ChaosError` for all of it."""


class ChaosError(Exception):
    """Something that was asked of the chaos package cannot be done; the message says what to do instead."""


class GrudgeError(ChaosError, ValueError):
    """A grudge that makes no sense for these members: refused before anything is cut."""
