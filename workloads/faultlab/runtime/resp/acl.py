"""Who may log in at the client port, and which keys they may touch.

The file is JSON:

    {"users": [{"name": "app", "passwordSha256": "<64 hex digits>",
                "rules": [{"prefix": "app/", "access": "all"}]}]}

A user may touch a key if a rule whose prefix it begins with gives the access: `read`, `write` or `all`. A
write whose reply tells of the value that it found (INCR, CAS, SET with GET) takes both. Commands without keys
need a login only. Without a file everybody may do everything.

Passwords are kept as plain SHA-256, as Redis keeps them: give users long random ones.
"""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from ..errors import ConfigError
from .encoder import error_line
from .handler import MAX_USER_BYTES, CommandSpec, Kind

log = logging.getLogger("faultlab.resp")

DEFAULT_USER = "default"
"""Whom `AUTH PASSWORD` means."""
MAX_FILE_BYTES = 1024 * 1024
_LOOK_AGAIN_S = 1.0

NO_AUTH = error_line("NOAUTH Authentication required.")
WRONG_PASS = error_line("WRONGPASS invalid username-password pair or user is disabled.")
NO_PERM = error_line("NOPERM No permissions to access a key")

_BEFORE_LOGIN = frozenset(("AUTH", "HELLO", "QUIT", "RESET"))

Unwrap = Callable[[CommandSpec, list[bytes]], "tuple[CommandSpec, list[bytes]] | str"]


class Rule(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What may be done to the keys that begin with `prefix`."""

    prefix: str
    access: Literal["read", "write", "all"]


class User(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One who may log in."""

    name: str
    password_sha256: str
    rules: tuple[Rule, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    users: tuple[User, ...]


class Permissions:
    """What one user may do."""

    __slots__ = ("_readable", "_writable", "name")

    def __init__(self, user: User) -> None:
        self.name = user.name
        self._readable = tuple(r.prefix.encode() for r in user.rules if r.access in ("read", "all"))
        self._writable = tuple(r.prefix.encode() for r in user.rules if r.access in ("write", "all"))

    def allow(self, spec: CommandSpec, args: list[bytes]) -> bool:
        """Whether all keys of a command may be touched as it touches them; its arity has been checked."""
        if not spec.first_key:
            return True
        last = spec.last_key if spec.last_key >= 0 else len(args) + spec.last_key
        keys = args[spec.first_key : last + 1 : spec.step]
        needed = [self._readable if spec.kind is Kind.READ else self._writable]
        if spec.kind is Kind.WRITE and spec.tells(args):
            needed.append(self._readable)
        return all(key.startswith(prefixes) for prefixes in needed for key in keys)


class AccessControl:
    """The users of one file, which is read again at a login after it has changed."""

    def __init__(self, path: Path, time_s: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigError."""
        self._path = path
        self._time_s = time_s
        self._looked_at_s = time_s()
        self._seen = _fingerprint(path)
        self._users = _read(path)
        self.failed_logins = 0
        self.denied = 0
        """Commands refused for want of a login or of a rule."""

    def login(self, name: bytes, password: bytes) -> Permissions | None:
        """Who has logged in; None, and counted, if the pair is wrong."""
        self._look_again()
        user = self._users.get(name.decode("utf-8", "replace"))
        digest = hashlib.sha256(password).hexdigest()
        right = hmac.compare_digest(digest, user.password_sha256 if user is not None else "0" * len(digest))
        if user is None or not right:
            self.failed_logins += 1
            return None
        return Permissions(user)

    def problem(
        self, user: Permissions | None, spec: CommandSpec, args: list[bytes], unwrap: Unwrap
    ) -> str | None:
        """The error line for what `user` may not do; None where it may. `unwrap` as in Handler."""
        if user is None:
            if spec.name in _BEFORE_LOGIN:
                return None
            self.denied += 1
            return NO_AUTH
        unwrapped = (spec, args) if spec.kind is Kind.LOCAL else unwrap(spec, args)
        if isinstance(unwrapped, str) or user.allow(*unwrapped):
            return None
        self.denied += 1
        return NO_PERM

    def _look_again(self) -> None:
        now_s = self._time_s()
        if now_s < self._looked_at_s + _LOOK_AGAIN_S:
            return
        self._looked_at_s = now_s
        seen = _fingerprint(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._users = _read(self._path)
        except ConfigError as error:
            log.error("the users stay as they were: %s", error)


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> dict[str, User]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the clients' users {path}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"the clients' users {path} are longer than {MAX_FILE_BYTES} bytes")
    try:
        users = msgspec.json.decode(data, type=_File).users
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"the clients' users {path} are not as they should be: {error}") from error
    by_name = {user.name: user for user in users}
    if len(by_name) != len(users):
        raise ConfigError(f"the clients' users {path}: a name occurs twice; name each user once")
    for user in users:
        if not 0 < len(user.name.encode()) <= MAX_USER_BYTES:
            raise ConfigError(
                f"the clients' users {path}: the name {user.name[:32]!r} has {len(user.name.encode())} bytes;"
                f" a name has 1 to {MAX_USER_BYTES}"
            )
        if len(user.password_sha256) != 64 or not set(user.password_sha256) <= set("0123456789abcdef"):
            raise ConfigError(
                f"the clients' users {path}: passwordSha256 of {user.name!r} is not 64 lower-case hex digits"
                " (printf %s PASSWORD | sha256sum)"
            )
    return by_name
