"""The agent's part of the package's exception tree (its root, `ChaosError`, is in the contract)."""

from faultlab_chaos.contract.errors import ChaosError, GrudgeError

__all__ = [
    "ChaosError",
    "ContainerNotFound",
    "GrudgeError",
    "KernelRefused",
    "KeyFileError",
    "NamespaceRefused",
    "RequestRefused",
    "RequestTooLate",
]


class ContainerNotFound(ChaosError):
    """No process of the container runs here: it ended, or it runs on another node."""


class NamespaceRefused(ChaosError):
    """A network namespace that cannot be entered, or that must not be cut: the node's own."""


class KernelRefused(ChaosError):
    """The kernel did not take a rule: no nftables, or no capability to use it."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code
        """The errno, 0 if there was none."""


class RequestRefused(ChaosError):
    """A request that is garbage or beyond a bound: answered with 400, and nothing of it was done."""


class RequestTooLate(ChaosError):
    """A request that was held up until its sender had given it up: answered with 409, nothing was done."""


class KeyFileError(ChaosError):
    """No usable key: without one anybody on the network could cut pods, so the agent does not start."""
