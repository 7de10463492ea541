"""What a person does with the lab and sees of it, whichever world it runs in."""

import json
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from faultlab_cli.errors import CliError
from faultlab_cli.kube import Kube, pod_proxy

ROOT = Path(__file__).parents[2]
FAULTLAB = [sys.executable, "-c", "from faultlab_cli.main import main; main()"]
NAMESPACE = "faultlab"
SYSTEM_NAMESPACE = "faultlab-system"
CHAOS_NAMESPACE_LABELS = {
    "faultlab.dev/chaos": "enabled",
    "pod-security.kubernetes.io/enforce": "restricted",
}
ABOUT_A_CLUSTER = frozenset({"run", "get", "apply", "delete", "describe", "logs", "report"})
"""The commands that say which cluster they mean."""

T = TypeVar("T")


def eventually(what: str, probe: Callable[[], T | None], timeout_s: float = 30.0) -> T:
    """The first true answer of `probe`, asked 20 times a second until the deadline."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s} s: {what}")


class Lab(ABC):
    """One installed lab. The worlds differ in how their parts are killed, and in nothing else."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        """Of every command."""
        self._going: list[str] = []

    @abstractmethod
    def kube(self) -> Kube: ...

    @abstractmethod
    def cluster_options(self) -> list[str]:
        """What the command line needs to mean this world."""

    @abstractmethod
    def kill_operator(self) -> None:
        """Ends the operator's process without a word; the world starts it again as it does by itself."""

    @abstractmethod
    def operator_away(self) -> AbstractContextManager[None]:
        """No operator from the entry on (killed without a word) until the exit."""

    @abstractmethod
    def kill_agent(self, pod: str, namespace: str) -> None:
        """Ends the agent of the pod's node without a word; the world starts one again by itself."""

    @abstractmethod
    def agent_frozen(self, pod: str, namespace: str) -> AbstractContextManager[None]:
        """The agent of the pod's node neither runs nor dies within the block."""

    @abstractmethod
    def in_volume(self, pod: str, namespace: str, script: str) -> None:
        """Runs a Python script in the directory of the running pod's volume `data`."""

    @abstractmethod
    def tables(self) -> list[str]:
        """The lab's nftables tables in all network namespaces of pods, as `NETNS TABLE`."""

    def faultlab(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end."""
        return subprocess.run(
            self._command(arguments),
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
            self._command(arguments),
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        options = self.cluster_options() if arguments[0] in ABOUT_A_CLUSTER else []
        return [*FAULTLAB, *arguments, *options]

    def run(
        self, scenario: Path, out: Path, *more: str, timeout_s: float = 150
    ) -> tuple[int, dict[str, Any]]:
        """`faultlab run`; its exit code and its verdict.json ({} where there is none)."""
        ended = self.faultlab("run", str(scenario), "--out", str(out), *more, timeout_s=timeout_s)
        (out.parent / f"{out.name}.log").write_text(ended.stdout + ended.stderr)
        verdict = out / "verdict.json"
        return ended.returncode, json.loads(verdict.read_text()) if verdict.exists() else {}

    def object(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any] | None:
        kube = self.kube()
        return kube.find(kube.resource(kind).path(namespace, name))

    def objects(self, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        kube = self.kube()
        found = kube.get(kube.resource(kind).path(namespace), params={"labelSelector": selector})
        items: list[dict[str, Any]] = found["items"]
        return items

    def status_of(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        found = self.object(kind, name, namespace)
        return found.get("status", {}) if found else {}

    def member(self, name: str, namespace: str = NAMESPACE) -> dict[str, Any] | None:
        """A member's own /status, or None where it does not answer."""
        try:
            answer: dict[str, Any] = self.kube().get(pod_proxy(namespace, name, 7002, "/status"))
        except CliError:
            return None
        return answer

    def condition(
        self, kind: str, name: str, condition: str, namespace: str = NAMESPACE
    ) -> dict[str, Any] | None:
        conditions = self.status_of(kind, name, namespace).get("conditions", [])
        return next((c for c in conditions if c["type"] == condition), None)

    def holds(self, kind: str, name: str, condition: str, namespace: str = NAMESPACE) -> bool:
        """Whether the condition is True."""
        found = self.condition(kind, name, condition, namespace)
        return bool(found and found["status"] == "True")

    def apply(
        self, folder: Path, namespace: str, *documents: dict[str, Any]
    ) -> subprocess.CompletedProcess[str]:
        """`faultlab apply -f` of the documents, by way of a file in the folder."""
        file = folder / "manifest.yaml"
        file.write_text(yaml.safe_dump_all(documents))
        return self.faultlab("apply", "-f", str(file), "-n", namespace)

    def make_namespace(self, name: str, labels: dict[str, str]) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        }
        self.kube().request("POST", "/api/v1/namespaces", json=document)

    def begin_to_delete_namespace(self, name: str) -> None:
        """Asks for its deletion; `await_namespaces_gone` waits for all that were asked for."""
        self.kube().delete(f"/api/v1/namespaces/{name}")
        self._going.append(name)

    def await_namespaces_gone(self, timeout_s: float = 60) -> None:
        while self._going:
            self.delete_namespace(self._going.pop(), timeout_s)

    def delete_namespace(self, name: str, timeout_s: float = 60) -> None:
        """Deletes it and waits until it is gone."""
        path = f"/api/v1/namespaces/{name}"
        self.kube().delete(path, wait_s=timeout_s)
        assert self.kube().find(path) is None, f"namespace {name} is still there after {timeout_s} s"


def plain_environment() -> dict[str, str]:
    """The environment of commands: this process' own, with a width that no line is folded at."""
    return os.environ | {"COLUMNS": "160"}
