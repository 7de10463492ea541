"""What can go wrong with a world as a whole."""

from __future__ import annotations


class WorldError(Exception):
    """Base of the tree."""


class NotLinux(WorldError):
    """The embedded world needs Linux namespaces."""

    def __init__(self, system: str) -> None:
        super().__init__(
            f"the embedded world runs processes in Linux namespaces, and this is {system};"
            " use a kind cluster instead (`make kind-up`), or a Linux machine"
        )


class NamespacesForbidden(WorldError):
    """This machine does not let this user make the namespaces."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"this machine refuses the namespaces that the embedded world consists of ({what})."
            " On Ubuntu 24.04 and later AppArmor forbids them to ordinary users:"
            " `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` allows them;"
            " `faultlab doctor` tells what this machine needs. As root it works as well."
        )


class StartFailed(WorldError):
    """The world ended before it was ready; the message has the reason and the log's place."""


class PortTaken(StartFailed):
    """Somebody else listens on a port that was asked for."""


class NotRunning(WorldError):
    """There is no world in this home."""


class StopFailed(WorldError):
    """The world did not end in time."""
