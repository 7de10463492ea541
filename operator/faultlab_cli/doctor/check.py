"""One finding, and the machine it is found on, behind an interface that a test can stand in for."""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

Status = Literal["ok", "limited", "missing"]
_TIMEOUT_S: Final = 20.0
_NOT_FOUND: Final = 127


@dataclass(frozen=True)
class Check:
    """What was looked for, and what was found."""

    name: str
    status: Status
    what_for: str
    found: str
    fix: str = ""
    """The exact command, or what to do; empty if nothing is to be done."""
    required: bool = False
    """The embedded world cannot run while this is missing."""


class Answer(NamedTuple):
    """How a program ended; `code` 127 if it could not be started or took too long."""

    code: int
    output: str
    errors: str


class Machine:
    """This machine. The checks look at it only through these few methods."""

    def system(self) -> str:
        """`Linux`, `Darwin`, `Windows`."""
        return platform.system()

    def processor(self) -> str:
        """`x86_64`, `aarch64`, `arm64`."""
        return platform.machine()

    def kernel(self) -> str:
        return platform.release()

    def python(self) -> tuple[int, int, int]:
        number = platform.python_version_tuple()
        return int(number[0]), int(number[1]), int("".join(filter(str.isdigit, number[2])) or 0)

    def is_root(self) -> bool:
        return hasattr(os, "geteuid") and os.geteuid() == 0

    def read(self, path: str) -> str | None:
        """A small file's text; None if it is not there or not readable."""
        try:
            return Path(path).read_text(errors="replace")
        except OSError:
            return None

    def program(self, name: str) -> str | None:
        """Where a program on the PATH is."""
        return shutil.which(name)

    def run(self, command: Sequence[str]) -> Answer:
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(_NOT_FOUND, "", f"{command[0]} took longer than {_TIMEOUT_S:.0f} s")
        except OSError as error:
            return Answer(_NOT_FOUND, "", f"{command[0]}: {error.strerror}")
        return Answer(done.returncode, done.stdout.strip(), done.stderr.strip())

    def cores(self) -> int:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    def free_disk_bytes(self) -> int:
        """Where the user's worlds are kept."""
        return shutil.disk_usage(Path.home()).free

    def distribution(self) -> Literal["debian", "ubuntu", "fedora", "other"]:
        """The family that decides on package manager and names: with derivatives (ID_LIKE)."""
        words = set()
        for line in (self.read("/etc/os-release") or "").splitlines():
            key, _, value = line.partition("=")
            if key in ("ID", "ID_LIKE"):
                words |= set(value.strip('"').split())
        if "ubuntu" in words:
            return "ubuntu"
        if "debian" in words:
            return "debian"
        return "fedora" if words & {"fedora", "rhel", "centos"} else "other"

    def install(self, debian: str, fedora: str) -> str:
        """The one command of the two that fits here; both where the distribution is neither."""
        choice = {"debian": debian, "ubuntu": debian, "fedora": fedora}
        return choice.get(self.distribution(), f"{debian}   (Debian, Ubuntu)   or   {fedora}   (Fedora)")
