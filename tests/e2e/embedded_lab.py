"""The lab in the embedded world: one home, whose processes are this machine's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import Lab, eventually, plain_environment

from faultlab_cli.kube import Kube, connect
from faultlab_embedded import world

LIST_TABLES = """
from pyroute2.nftables.main import NFTables
with NFTables(nfgen_family=0) as nft:
    for table in nft.get_tables():
        print(table.get_attr("NFTA_TABLE_NAME"))
"""


class EmbeddedLab(Lab):
    """One home of an embedded world."""

    def __init__(self, home: Path) -> None:
        environment = plain_environment() | {"FAULTLAB_HOME": str(home)}
        environment.pop("KUBECONFIG", None)
        super().__init__(environment)
        self.home = home

    def cluster_options(self) -> list[str]:
        return []

    def info(self) -> world.WorldInfo:
        found = world.status(self.home)
        assert found is not None, "the world does not run"
        return found

    def kube(self) -> Kube:
        return connect(Path(self.info().kubeconfig), None)

    def kill_operator(self) -> None:
        os.kill(self.pid_of("faultlab-operator"), signal.SIGKILL)

    @contextmanager
    def operator_away(self) -> Iterator[None]:
        """For less than ten seconds, the shortest back-off between a container's starts."""
        first = self.pid_of("faultlab-operator")
        os.kill(first, signal.SIGKILL)
        # The node starts a first death's successor at once: that one is stopped before it has said a word.
        second = _within(1.0, lambda: self._another("faultlab-operator", first))
        if second is not None:
            os.kill(second, signal.SIGSTOP)
        try:
            yield
        finally:
            if second is not None:
                os.kill(second, signal.SIGCONT)
            # A fifth death within ten minutes, by other tests too, waits for longer than a minute.
            eventually("it is back", lambda: self._another("faultlab-operator", first), 200)

    def kill_agent(self, pod: str, namespace: str) -> None:
        del pod, namespace  # There is one node.
        os.kill(self.pid_of("faultlab-agent"), signal.SIGKILL)

    @contextmanager
    def agent_frozen(self, pod: str, namespace: str) -> Iterator[None]:
        del pod, namespace
        agent = self.pid_of("faultlab-agent")
        os.kill(agent, signal.SIGSTOP)
        try:
            yield
        finally:
            if alive([agent]):
                os.kill(agent, signal.SIGCONT)

    def in_volume(self, pod: str, namespace: str, script: str) -> None:
        claim = self.object("persistentvolumeclaim", f"data-{pod}", namespace)
        assert claim is not None
        folder = self.home / "claims" / claim["metadata"]["uid"]
        subprocess.run([sys.executable, "-c", script], cwd=folder, timeout=20, check=True)

    def tables(self) -> list[str]:
        found = []
        seen = network_namespaces([self.info().pid])
        for pid in self.descendants():
            fresh = network_namespaces([pid]) - seen
            if fresh:
                seen |= fresh
                found += [f"{next(iter(fresh))} {name}" for name in self._tables_at(pid)]
        return found

    def _tables_at(self, pid: int) -> list[str]:
        user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
        listed = subprocess.run(
            ["nsenter", "-t", str(pid), *user, "-n", sys.executable, "-c", LIST_TABLES],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert listed.returncode == 0 or not alive([pid]), listed.stderr
        return [name for name in listed.stdout.split() if name.startswith("faultlab-")]

    def processes(self) -> list[int]:
        """Every process of this world that this machine shows, by its home in the environment."""
        marker = f"FAULTLAB_HOME={self.home}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if (
                    marker in (entry / "environ").read_bytes()
                    or str(self.home).encode() in (entry / "cmdline").read_bytes()
                ):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def descendants(self) -> list[int]:
        """The world's supervisor and everything below it."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        pending, found = [self.info().pid], []
        while pending:
            pid = pending.pop()
            found.append(pid)
            pending += children.get(pid, [])
        return found

    def pid_of(self, program: str) -> int:
        """The one process of this world whose command line holds `program`."""
        return next(pid for pid in reversed(self.descendants()) if _runs(pid, program))

    def _another(self, program: str, than: int) -> int | None:
        return next((pid for pid in self.descendants() if pid != than and _runs(pid, program)), None)


def _within(seconds: float, probe: Callable[[], int | None]) -> int | None:
    deadline = time.monotonic() + seconds
    while (found := probe()) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def _runs(pid: int, program: str) -> bool:
    try:
        return program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that still run."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and not _is_zombie(pid)]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def network_namespaces(pids: list[int] | None = None) -> set[str]:
    """The network namespaces that these processes (default: all of the machine) are in, but our own."""
    candidates = pids or [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = set()
    for pid in candidates:
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
        except OSError:
            continue
    return found - {os.readlink("/proc/self/ns/net")}
