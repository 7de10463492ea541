"""From a pod to a process in its network: through the runtime's state file, else through cgroups.

runc and containerd keep `ROOT/ID/state.json` with the pid of the container's first process (and its start
time, so that a pid that was given away since is noticed). Where there is none, as with crun, the container's
id is part of the cgroup path of its processes, on cgroup v1 and v2 and with either cgroup driver. A container
that is just being restarted has no process; the pod's sandbox has one all the time, in the same network, and
the pod's uid is part of its cgroup path.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from faultlab_chaos.contract.wire import PodRef
from faultlab_chaos.errors import ContainerNotFound, NamespaceRefused
from faultlab_chaos.injectors.namespaces import NetworkNamespace

MAX_CONTAINERS: Final = 1024
"""More than a node runs (kubelet's default is 110 pods); a listing ends there."""
_CGROUP_ID_MIN_LENGTH: Final = 32
"""A shorter id might be part of some other cgroup's name by chance."""
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_START_TIME_FIELD: Final = 22


class Container(NamedTuple):
    """A running container: one of its processes, pinned by its start time in clock ticks since boot."""

    container_id: str
    pid: int
    start_ticks: int


class _State(msgspec.Struct):
    """What is needed of runc's `state.json`."""

    init_process_pid: int
    init_process_start: int = 0
    """0: not told (the embedded world's node)."""


class ContainerFinder:
    """Knows where runtimes keep their state. Reads files only; safe from any thread."""

    def __init__(self, roots: Collection[Path], proc: Path = Path("/proc")) -> None:
        self._roots = tuple(roots)
        self._proc = proc

    def find(self, pods: Collection[PodRef]) -> dict[PodRef, Container | ContainerNotFound]:
        """Each pod -> its container, or why there is none. Ids may be with or without `SCHEME://`."""
        found: dict[PodRef, Container | ContainerNotFound] = {}
        missing: list[PodRef] = []
        for pod in set(pods):
            bare = bare_id(pod.container_id)
            if not _IDENTIFIER.fullmatch(bare):
                found[pod] = ContainerNotFound(
                    f"container id {pod.container_id!r} is none: expected SCHEME://ID as in the pod's status"
                )
                continue
            container = self._by_state(bare)
            if container is not None:
                found[pod] = container
            else:
                missing.append(pod)
        by_cgroup = self._by_cgroup(missing)
        for pod in missing:
            found[pod] = by_cgroup.get(pod) or self._not_found(pod.container_id)
        return found

    def running(self) -> Iterator[Container]:
        """Every container that has a state file and a live process, `MAX_CONTAINERS` at most."""
        listed = 0
        for root in self._roots:
            try:
                names = sorted(path.name for path in root.iterdir())
            except OSError:
                continue  # A runtime that is not installed here, or no container yet.
            for name in names:
                if listed >= MAX_CONTAINERS:
                    return
                container = self._by_state(name)
                if container is not None:
                    listed += 1
                    yield container

    def open(self, container: Container) -> NetworkNamespace:
        """Its network namespace. Raises ContainerNotFound if it ended, NamespaceRefused if forbidden."""
        gone = ContainerNotFound(f"container {container.container_id} has just ended (pid {container.pid})")
        try:
            namespace = NetworkNamespace(self._proc / str(container.pid) / "ns" / "net")
        except NamespaceRefused:
            if self._start_ticks(container.pid) != container.start_ticks:
                raise gone from None
            raise
        if self._start_ticks(container.pid) != container.start_ticks:
            namespace.close()
            raise gone
        return namespace

    def open_inode(self, inode: int) -> NetworkNamespace | None:
        """The namespace with this inode, if any process is still in it.

        For a pod whose container was restarted: the pod's namespace outlives it, held by its sandbox.
        """
        for pid in self._pids():
            path = self._proc / str(pid) / "ns" / "net"
            try:
                if path.stat().st_ino != inode:
                    continue
                namespace = NetworkNamespace(path)
            except (OSError, NamespaceRefused):
                continue
            if namespace.inode == inode:
                return namespace
            namespace.close()
        return None

    def _by_state(self, bare: str) -> Container | None:
        for root in self._roots:
            try:
                state = msgspec.json.decode((root / bare / "state.json").read_bytes(), type=_State)
            except (OSError, msgspec.DecodeError):
                continue  # Not here, or being written: the runtime renames a whole file into place.
            started = self._start_ticks(state.init_process_pid)
            if started is not None and state.init_process_start in (0, started):
                return Container(bare, state.init_process_pid, started)
        return None

    def _by_cgroup(self, wanted: Collection[PodRef]) -> dict[PodRef, Container]:
        """The oldest process of each container, else of its pod: one scan of /proc for all of them."""
        searched = [(pod, names) for pod in wanted if (names := _cgroup_names(pod))]
        found: dict[PodRef, tuple[int, Container]] = {}
        if not searched:
            return {}
        for pid in self._pids():
            try:
                cgroups = (self._proc / str(pid) / "cgroup").read_text()
            except OSError:
                continue
            for pod, names in searched:
                rank = next((rank for name, rank in names if name in cgroups), None)
                started = None if rank is None else self._start_ticks(pid)
                if rank is None or started is None:
                    continue
                if pod not in found or (rank, started) < (found[pod][0], found[pod][1].start_ticks):
                    found[pod] = (rank, Container(bare_id(pod.container_id), pid, started))
        return {pod: container for pod, (_, container) in found.items()}

    def _pids(self) -> Iterator[int]:
        for path in self._proc.iterdir():
            if path.name.isdecimal():
                yield int(path.name)

    def _start_ticks(self, pid: int) -> int | None:
        """None: there is no such process, or it is a zombie, whose namespaces are gone."""
        try:
            stat = (self._proc / str(pid) / "stat").read_text()
        except OSError:
            return None
        fields = stat[stat.rindex(")") + 2 :].split()  # The command's name may contain spaces and brackets.
        return None if fields[0] in "ZX" else int(fields[_START_TIME_FIELD - 3])

    def _not_found(self, given: str) -> ContainerNotFound:
        roots = ", ".join(str(root) for root in self._roots) or "none"
        return ContainerNotFound(
            f"container {given} does not run on this node (looked under {roots} and in cgroups): it ended, "
            "or the agent needs hostPID and its --runtime-root"
        )


def bare_id(container_id: str) -> str:
    """`containerd://ID` -> `ID`."""
    return container_id.rpartition("://")[2]


def _cgroup_names(pod: PodRef) -> list[tuple[str, int]]:
    """What the cgroup path of the pod's processes contains, with its rank: the container's id before the pod.

    kubelet writes a pod's uid as `podUID`, and with systemd's driver with underscores, since a dash there
    separates a slice from its parent.
    """
    bare = bare_id(pod.container_id)
    names = [(bare, 0)] if len(bare) >= _CGROUP_ID_MIN_LENGTH else []
    if len(pod.uid) >= _CGROUP_ID_MIN_LENGTH:
        names += [(f"pod{pod.uid}", 1), (f"pod{pod.uid.replace('-', '_')}", 1)]
    return names
