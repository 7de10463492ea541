"""A container's root: the host's file system as it is, read-only, with the container's own mounts put in
place.

The root is a tmpfs into which each top-level entry of the host is bound. `/proc`, `/sys`, `/run` and `/tmp`
are the container's own. A mount point that the host does not have (`/etc/faultlab` say) is made by
*expanding* the directory that lacks it: the directory becomes one of the tmpfs, its entries bound one by
one.

What may never happen: a container writes to the host. Everything bound from the host is read-only, whatever
`readOnlyRootFilesystem` says; without it only the tmpfs parts (`/`, `/run`, `/tmp`, expanded directories)
are writable. This needs mount_setattr (Linux 5.12); before that the host's own permissions are what
protects it.

Standard library only: the shim imports it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from stat import S_ISDIR, S_ISLNK

from . import syscalls as sc

OWN_DIRECTORIES = ("/proc", "/sys", "/run", "/tmp")  # the host's are hidden
_MAX_SYMLINKS = 40


class RootError(Exception):
    """The root of a container cannot be built; the message names the mount and says what to change."""


@dataclass(frozen=True, slots=True)
class Bind:
    """`source` (a path of the node) appears at `target` (a path in the container)."""

    source: str
    target: str
    directory: bool = True
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What `plan` decided: directories to expand, entries to leave out, and the binds with their real
    targets."""

    expand: frozenset[str]
    omit: frozenset[str]
    binds: tuple[Bind, ...]


Stat = Callable[[str], int | None]
"""A path of the host -> its st_mode without following a symbolic link, None if there is no such entry."""


def host_mode(path: str) -> int | None:
    """The `Stat` of the running system."""
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def plan(
    binds: list[Bind],
    keep_visible: list[str],
    mode: Stat = host_mode,
    readlink: Callable[[str], str] = os.readlink,
) -> Plan:
    """Decides how to make every mount point exist. Pure but for what `mode` and `readlink` ask of the host.

    `keep_visible`: host directories (interpreter, project) that stay visible read-only even where a mount
    or one of the container's own directories would cover them.
    """
    expand: set[str] = {"/"}
    omit: set[str] = set()
    placed = [_place(bind, expand, omit, mode, readlink) for bind in binds]
    covers = [*OWN_DIRECTORIES, *(bind.target for bind in placed if bind.directory)]
    for path in sorted(set(keep_visible)):
        covered = any(path == cover or path.startswith(cover.rstrip("/") + "/") for cover in covers)
        if covered and mode(path) is not None:
            placed.append(Bind(path, path, directory=True, read_only=True))
    placed.sort(key=lambda bind: bind.target.count("/"))
    return Plan(frozenset(expand), frozenset(omit), tuple(placed))


def _place(bind: Bind, expand: set[str], omit: set[str], mode: Stat, readlink: Callable[[str], str]) -> Bind:
    """Walks to `bind.target` on the host and notes what has to be expanded so that it can be mounted on."""
    target = os.path.normpath("/" + bind.target.lstrip("/"))
    if target == "/":
        raise RootError(
            f"mountPath {bind.target!r}: a volume cannot replace the root; choose a directory in it"
        )
    for _ in range(_MAX_SYMLINKS):
        parts = target.strip("/").split("/")
        walked = ""
        for index, part in enumerate(parts):
            parent, walked = walked or "/", f"{walked}/{part}"
            last = index == len(parts) - 1
            if walked in OWN_DIRECTORIES:
                return Bind(bind.source, target, bind.directory, bind.read_only)
            found = mode(walked)
            if found is not None and S_ISLNK(found) and not last:
                rest = "/".join(parts[index + 1 :])
                target = os.path.normpath(os.path.join(parent, readlink(walked), rest))
                break
            if found is None or S_ISLNK(found):
                _expand_down_to(parent, expand)
                omit.add(walked)
                return Bind(bind.source, target, bind.directory, bind.read_only)
            if not last and not S_ISDIR(found):
                raise RootError(
                    f"mountPath {bind.target!r}: {walked} is a file on this machine, not a directory"
                )
            if last and S_ISDIR(found) != bind.directory:
                kinds = ("a directory", "a file") if S_ISDIR(found) else ("a file", "a directory")
                raise RootError(
                    f"mountPath {bind.target!r}: it is {kinds[0]} on this machine, but the volume is"
                    f" {kinds[1]}; choose another mountPath or use subPath"
                )
        else:
            return Bind(bind.source, target, bind.directory, bind.read_only)
    raise RootError(f"mountPath {bind.target!r}: more than {_MAX_SYMLINKS} symbolic links on the way")


def _expand_down_to(directory: str, expand: set[str]) -> None:
    while directory not in expand:
        expand.add(directory)
        directory = os.path.dirname(directory)


def build(staging: str, layout: Plan, *, read_only: bool, privileged: bool) -> None:
    """Builds the root at `staging` (an empty directory) and makes it this mount namespace's root.

    Call it as PID 1 of the container's PID namespace (a fresh `/proc` shows that one), in a mount namespace
    of its own.
    """
    sc.mount("none", "/", flags=sc.MS_REC | sc.MS_PRIVATE)
    sc.mount("tmpfs", staging, "tmpfs", sc.MS_NOSUID, "mode=0755,size=64m")
    _populate("/", staging, layout)
    for own in OWN_DIRECTORIES:
        os.makedirs(staging + own, exist_ok=True)
    for own, permissions in (("/run", "0755"), ("/tmp", "1777")):
        sc.mount("tmpfs", staging + own, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, f"mode={permissions},size=256m")
    for bind in layout.binds:
        _make_mount_point(staging + bind.target, bind.directory)
    _protect_host(staging, read_only)
    if os.path.isdir(staging + "/dev/shm"):
        sc.mount("shm", staging + "/dev/shm", "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, "mode=1777,size=64m")
    _mount_proc(staging, privileged)
    _mount_sys(staging, privileged)
    for bind in layout.binds:
        _bind(bind, staging)
    sc.pivot_root(staging)


def _populate(source: str, target: str, layout: Plan) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.path in OWN_DIRECTORIES or entry.path in layout.omit:
                continue
            place = f"{target}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), place)
            elif entry.path in layout.expand:
                os.mkdir(place, 0o755)
                _populate(entry.path, place, layout)
            else:
                _make_mount_point(place, entry.is_dir(follow_symlinks=False))
                sc.mount(entry.path, place, flags=sc.MS_BIND | sc.MS_REC)


def _make_mount_point(path: str, directory: bool) -> None:
    if directory:
        os.makedirs(path, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.lexists(path):
        with open(path, "x"):
            pass


def _protect_host(staging: str, read_only: bool) -> None:
    try:
        sc.set_read_only(staging)
        if not read_only:
            for writable in (staging, staging + "/run", staging + "/tmp"):
                sc.set_read_only(writable, read_only=False, recursive=False)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise


def _mount_proc(staging: str, privileged: bool) -> None:
    proc = staging + "/proc"
    sc.mount("proc", proc, "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    if privileged:
        return
    for hidden in ("/sys", "/sysrq-trigger", "/irq", "/bus"):
        if os.path.exists(proc + hidden):
            sc.mount(proc + hidden, proc + hidden, flags=sc.MS_BIND | sc.MS_REC)
            try:
                sc.set_read_only(proc + hidden)
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise


def _mount_sys(staging: str, privileged: bool) -> None:
    """A fresh /sys shows the pod's own interfaces; where the kernel refuses one, an empty directory hides
    all."""
    flags = sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC | (0 if privileged else sc.MS_RDONLY)
    try:
        sc.mount("sysfs", staging + "/sys", "sysfs", flags)
    except PermissionError:
        sc.mount("tmpfs", staging + "/sys", "tmpfs", flags | sc.MS_RDONLY, "size=4k")


def _bind(bind: Bind, staging: str) -> None:
    target = staging + bind.target
    try:
        _make_mount_point(target, bind.directory)
        sc.mount(bind.source, target, flags=sc.MS_BIND | sc.MS_REC)
        if bind.read_only:
            sc.set_read_only(target)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return
        raise RootError(f"mount of {bind.source} at {bind.target}: {error}") from error
