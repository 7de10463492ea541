"""Why a member process cannot start or go on, one tree: `main` prints the message and exits with the code."""

from typing import ClassVar


class MemberError(Exception):
    """Anything that ends a member process; the message says what to do."""

    exit_code: ClassVar[int] = 1


class ConfigError(MemberError):
    """The configuration or the command line is wrong."""

    exit_code: ClassVar[int] = 2


class ListenError(MemberError):
    """A port could not be opened."""


class ProtocolError(MemberError):
    """Bytes on a socket that its protocol does not allow: the connection is closed, the process goes on."""
