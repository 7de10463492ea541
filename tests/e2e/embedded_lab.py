"""The command `faultlab` as a user types it, and what can be seen of a world from outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from faultlab_cli.kube import Kube, connect, pod_proxy
from faultlab_embedded import world

ROOT = Path(__file__).parents[2]
FAULTLAB = [sys.executable, "-c", "from faultlab_cli.main import main; main()"]
NAMESPACE = "faultlab"
T = TypeVar("T")


def eventually(what: str, probe: Callable[[], T | None], timeout_s: float = 30.0) -> T:
    """The first true answer of `probe`, asked 20 times a second until the deadline."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s} s: {what}")


class Lab:
    """One home of an embedded world, and what a person does with it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = os.environ | {"FAULTLAB_HOME": str(home), "COLUMNS": "160"}
        self.environment.pop("KUBECONFIG", None)

    def faultlab(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end."""
        return subprocess.run(
            [*FAULTLAB, *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts the command; the caller ends it."""
        return subprocess.Popen(
            [*FAULTLAB, *arguments],
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self, scenario: Path, out: Path, *more: str, timeout_s: float = 150
    ) -> tuple[int, dict[str, Any]]:
        """`faultlab run`; its exit code and its verdict.json ({} where there is none)."""
        ended = self.faultlab("run", str(scenario), "--out", str(out), *more, timeout_s=timeout_s)
        (out.parent / f"{out.name}.log").write_text(ended.stdout + ended.stderr)
        verdict = out / "verdict.json"
        return ended.returncode, json.loads(verdict.read_text()) if verdict.exists() else {}

    def info(self) -> world.WorldInfo:
        found = world.status(self.home)
        assert found is not None, "the world does not run"
        return found

    def kube(self) -> Kube:
        return connect(Path(self.info().kubeconfig), None)

    def object(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any] | None:
        kube = self.kube()
        return kube.find(kube.resource(kind).path(namespace, name))

    def status_of(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        found = self.object(kind, name, namespace)
        return found.get("status", {}) if found else {}

    def member(self, name: str, namespace: str = NAMESPACE) -> dict[str, Any] | None:
        """A member's own /status, or None where it does not answer."""
        try:
            answer: dict[str, Any] = self.kube().get(pod_proxy(namespace, name, 7002, "/status"))
        except Exception as error:
            if isinstance(error, AssertionError):
                raise
            return None
        return answer

    def condition(
        self, kind: str, name: str, condition: str, namespace: str = NAMESPACE
    ) -> dict[str, Any] | None:
        conditions = self.status_of(kind, name, namespace).get("conditions", [])
        return next((c for c in conditions if c["type"] == condition), None)

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

        def matches(pid: int) -> bool:
            try:
                return program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                return False

        return next(pid for pid in reversed(self.descendants()) if matches(pid))


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
