"""What a system gives the client port: its commands, and where their requests go."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Protocol

import msgspec

from .encoder import Result

MAX_USER_BYTES = 256
"""Of the name of a user, in UTF-8."""


class Kind(IntEnum):
    """How requests on one connection may overlap: only with requests of the same kind."""

    LOCAL = 0
    READ = 1
    WRITE = 2


class CommandSpec(msgspec.Struct, frozen=True):
    """One command, as `COMMAND` describes it and as it is dispatched."""

    name: str
    arity: int
    """Arguments with the name; negative: at least so many. As in Redis."""
    kind: Kind
    summary: str
    flags: tuple[str, ...] = ()
    first_key: int = 0
    last_key: int = 0
    step: int = 0
    reveals: bool | bytes = False
    """Of a write: its reply tells of the value that was there, always or with this option after the value."""

    def tells(self, args: list[bytes]) -> bool:
        """Whether the reply to these arguments tells of the value that was there."""
        if isinstance(self.reveals, bytes):
            return self.reveals in [arg.upper() for arg in args[3:]]
        return self.reveals

    def admits(self, count: int) -> bool:
        """Whether `count` arguments, the name among them, are right."""
        return count == self.arity if self.arity >= 0 else count >= -self.arity


class Slot(Protocol):
    """The place of one reply in its connection's order."""

    def resolve(self, result: Result, member: str | None, term: int | None) -> None:
        """Answers, exactly once. `member` and `term`: who proposed or served it as leader, if known."""
        ...


class Handler(Protocol):
    """The system behind the port. Called on the loop; must not block."""

    commands: Mapping[str, CommandSpec]
    """By upper-case name; all are READ or WRITE."""

    def prepare(self, spec: CommandSpec, args: list[bytes], user: str) -> bytes | str:
        """Checks a request whose arity is right: its encoding for `submit`, or an error line. `user` is the
        name of who has logged in on this connection; "" where nobody needs to."""
        ...

    def unwrap(self, spec: CommandSpec, args: list[bytes]) -> "tuple[CommandSpec, list[bytes]] | str":
        """The command, with its own arguments, whose keys a request touches: itself, or the one that it
        carries. An error line where it carries none that `prepare` would take."""
        ...

    def submit(self, kind: Kind, command: bytes, slot: Slot) -> None:
        """Takes a prepared request; resolves the slot now or later, within a bounded time."""
        ...

    def info(self) -> dict[str, dict[str, object]]:
        """The sections of INFO that the system knows."""
        ...
