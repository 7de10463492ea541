"""The files of a world below HOME, and how one tells whether a world is alive.

    world.log        what the world's process says
    world.json       where to reach the world that runs (`WorldInfo`)
    alive            held locked (flock) by the world's supervisor as long as it lives; holds its PID
    temporary        there while the state is to go with the world (not persistent, and began without any)
    starting         locked by whoever starts or stops the world, so that two at once take turns
    hold.sock        where holders of a world that is not persistent keep a connection
    kubeconfig       mode 0600
    pki/             certificates and tokens
    state/           the registry's database
    claims/ pods/ logs/   the node's

A lock cannot be stale: the kernel lets go of it when its holder dies, however it dies. So `alive` being
locked is the one sign of life, and every other file without it is a leftover.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from faultlab_embedded.world.errors import WorldError

_POLL_S = 0.02
_KEPT_BY_PURGE = ("world.log", "alive", "starting")


@dataclass(frozen=True, slots=True)
class WorldInfo:
    """Where a running world is reached."""

    home: str
    kubeconfig: str
    api_url: str
    """`https://127.0.0.1:PORT`"""
    pages_url: str
    """`http://127.0.0.1:PORT`"""
    pid: int
    """Of the supervisor: SIGTERM to it ends the world."""
    world_pid: int
    """Of the world's own process (PID 1 of the pods' namespace) as this machine sees it."""
    started_at: str
    """RFC 3339, UTC."""
    persist: bool


@dataclass(frozen=True, slots=True)
class Home:
    """The paths; see the module's docstring."""

    path: Path

    @property
    def log(self) -> Path:
        return self.path / "world.log"

    @property
    def info(self) -> Path:
        return self.path / "world.json"

    @property
    def alive(self) -> Path:
        return self.path / "alive"

    @property
    def starting(self) -> Path:
        return self.path / "starting"

    @property
    def temporary(self) -> Path:
        return self.path / "temporary"

    @property
    def hold_socket(self) -> Path:
        return self.path / "hold.sock"

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.path / "pki"

    @property
    def database(self) -> Path:
        return self.path / "state" / "registry.sqlite"

    def make(self) -> None:
        """Creates the directory, for its owner alone. Raises WorldError where that is not possible."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise WorldError(
                f"{self.path} cannot hold a world: {error.strerror}; choose a directory of your own"
            ) from error

    def is_alive(self) -> bool:
        """Whether a world (or its start) is under way here."""
        try:
            fd = os.open(self.alive, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def wait_dead(self, timeout_s: float) -> bool:
        """Waits until the world is gone; False if it is still there after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def lock_alive(self) -> int:
        """For the supervisor: claims the home.

        The descriptor is the claim. Raises WorldError if it is taken.
        """
        fd = os.open(self.alive, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise WorldError(f"a world already runs in {self.path}") from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        return fd

    def supervisor_pid(self) -> int | None:
        """The PID in `alive`; means something only while `is_alive`."""
        try:
            return int(self.alive.read_text())
        except (FileNotFoundError, ValueError):
            return None

    @contextmanager
    def taking_turns(self, timeout_s: float) -> Iterator[None]:
        """Holds the lock of starting and stopping. Raises WorldError after `timeout_s`."""
        self.make()
        fd = os.open(self.starting, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + timeout_s
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise WorldError(
                            f"somebody else has been starting or stopping the world in {self.path}"
                            f" for {timeout_s:.0f} s; see {self.log}"
                        ) from None
                    time.sleep(_POLL_S)
            yield
        finally:
            os.close(fd)

    def read_info(self) -> WorldInfo | None:
        """What a world wrote when it was ready; may be a dead one's."""
        try:
            return WorldInfo(**json.loads(self.info.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_info(self, info: WorldInfo) -> None:
        """Replaces it in one step."""
        fresh = self.info.with_suffix(".tmp")
        fresh.write_text(json.dumps(asdict(info), indent=1))
        fresh.chmod(0o600)
        fresh.replace(self.info)

    def tidy(self) -> None:
        """Removes what a world that is gone leaves: always the signs that it runs, a temporary one's state
        too."""
        for file in (self.info, self.hold_socket):
            file.unlink(missing_ok=True)
        if self.temporary.exists():
            self.purge()

    def purge(self) -> None:
        """Removes all state of a world that is gone; its log stays."""
        for entry in self.path.iterdir() if self.path.is_dir() else ():
            if entry.name in _KEPT_BY_PURGE:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)

    def log_tail(self, lines: int = 15) -> str:
        """The end of the log, for messages."""
        try:
            text = self.log.read_bytes()[-8192:].decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
