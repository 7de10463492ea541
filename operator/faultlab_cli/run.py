"""`faultlab run SCENARIO`: applies it, shows it live, fetches what it leaves, exits with its verdict."""

import contextlib
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import yaml
from rich.console import Console
from rich.live import Live

from faultlab.contract.run import LiveView, VerdictDocument
from faultlab_cli.errors import CliError
from faultlab_cli.kube import ApiError, Document, Kube, pod_proxy
from faultlab_cli.live import EventLog, LiveScreen
from faultlab_cli.summary import print_verdict

SYSTEM_NAMESPACE = "faultlab-system"
CHAOS_LABEL = "faultlab.dev/chaos"
OPERATOR_PORT = 8080
OPERATOR_SELECTOR = "app.kubernetes.io/name=faultlab-operator"
POLL_S = 0.25
OPERATOR_SILENCE_LIMIT_S = 60.0
"""The operator may be restarted under us; longer than this and the run is given up."""
GRACE_S = 90.0
"""On top of the scenario's own timeout, for deploying, checking and fetching."""
EXIT_CODES = {"Pass": 0, "Fail": 1, "Inconclusive": 2}
SCENARIOS = "/apis/faultlab.dev/v1alpha1/namespaces/{namespace}/scenarios"


def load_scenario(path: Path) -> Document:
    """The one Scenario of a manifest file; raises CliError that says what is wrong with it."""
    try:
        documents = [d for d in yaml.safe_load_all(path.read_text()) if d]
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CliError(f"{path} is not YAML: {error}") from error
    scenarios = [d for d in documents if isinstance(d, dict) and d.get("kind") == "Scenario"]
    if len(scenarios) != 1 or len(documents) != 1:
        kinds = ", ".join(str(d.get("kind")) if isinstance(d, dict) else "no object" for d in documents)
        raise CliError(f"{path} must hold one Scenario and nothing else; it holds {kinds or 'nothing'}")
    if not scenarios[0].get("metadata", {}).get("name"):
        raise CliError(f"{path}: metadata.name is missing")
    return scenarios[0]


class Run:
    """One run of one scenario in one cluster."""

    def __init__(self, kube: Kube, scenario: Document, namespace: str, console: Console) -> None:
        self._kube = kube
        self._scenario = scenario
        self._namespace = namespace
        self._console = console
        self.name: str = scenario["metadata"]["name"]
        self._collection = SCENARIOS.format(namespace=namespace)
        self._path = f"{self._collection}/{self.name}"
        self.created = False

    def start(self) -> None:
        """Creates the scenario, replacing a finished one; raises CliError where one is under way."""
        self._ensure_namespace()
        existing = self._kube.find(self._path)
        if existing is not None:
            phase = existing.get("status", {}).get("phase", "Pending")
            if phase != "Done" and "deletionTimestamp" not in existing["metadata"]:
                raise CliError(
                    f"scenario {self._namespace}/{self.name} is running (phase {phase}); wait for it, "
                    f"delete it with `faultlab delete scenario {self.name} -n {self._namespace}`, "
                    "or use another namespace"
                )
            self._kube.delete(self._path, wait_s=15)
            self._await_children_gone()
        metadata = {**self._scenario["metadata"], "namespace": self._namespace}
        self._kube.request("POST", self._collection, json={**self._scenario, "metadata": metadata})
        self.created = True

    def watch(self) -> LiveView:
        """Shows the run until it is Done and returns the last view."""
        title = self._scenario.get("spec", {}).get("title") or self.name
        screen = LiveScreen(f"{title}  ·  {self._namespace}/{self.name}")
        console, log = self._console, EventLog(self._console)
        live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        with live or contextlib.nullcontext():
            for view in self._views():
                for event in view.events:
                    log.print(event)
                if live:
                    live.update(screen.render(view), refresh=True)
        return view

    def _views(self) -> Iterator[LiveView]:
        deadline = time.monotonic() + _timeout_s(self._scenario) + GRACE_S
        heard = time.monotonic()
        after = 0
        while time.monotonic() < deadline:
            view = self._poll(after)
            if view is None:
                self._check_still_there()
                if time.monotonic() - heard > OPERATOR_SILENCE_LIMIT_S:
                    raise CliError(f"the operator has not answered for {OPERATOR_SILENCE_LIMIT_S:.0f} s")
            else:
                heard = time.monotonic()
                after = max([after, *(event.id for event in view.events)])
                yield view
                if view.phase == "Done":
                    return
            time.sleep(POLL_S)
        raise CliError(f"scenario {self.name} did not end within its timeout")

    def _poll(self, after: int) -> LiveView | None:
        try:
            answer = self._kube.request("GET", self._operator(f"live?after={after}"), timeout=5.0)
            return msgspec.json.decode(answer.content, type=LiveView)
        except (CliError, msgspec.DecodeError):
            return None

    def _check_still_there(self) -> None:
        with contextlib.suppress(ApiError):
            if self._kube.find(self._path) is None:
                raise CliError(f"scenario {self._namespace}/{self.name} was deleted while it ran")

    def _operator(self, tail: str) -> str:
        pods = self._kube.get(
            f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods", params={"labelSelector": OPERATOR_SELECTOR}
        )["items"]
        running = [p["metadata"]["name"] for p in pods if p.get("status", {}).get("phase") == "Running"]
        if not running:
            raise CliError(f"no operator is running in namespace {SYSTEM_NAMESPACE}")
        path = f"/v1/namespaces/{self._namespace}/scenarios/{self.name}/{tail}"
        return pod_proxy(SYSTEM_NAMESPACE, running[0], OPERATOR_PORT, path)

    def fetch(self, view: LiveView, out: Path) -> VerdictDocument:
        """Downloads the run's files into `out` (made) and returns the verdict."""
        out.mkdir(parents=True, exist_ok=True)
        for name in view.artifacts:
            part = out / f".{name}.part"
            with self._kube.stream(self._operator(f"artifacts/{name}")) as response, part.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
            part.rename(out / name)
        verdict = out / "verdict.json"
        if not verdict.exists():
            reasons = "; ".join(view.reasons) or "no reason was given"
            raise CliError(f"{view.verdict or 'no verdict'}: {reasons}", EXIT_CODES.get(str(view.verdict), 2))
        return msgspec.json.decode(verdict.read_bytes(), type=VerdictDocument)

    def abandon(self) -> None:
        """Deletes the scenario; what belongs to it goes with it, and the operator heals its faults."""
        if self.created:
            with contextlib.suppress(CliError, httpx.HTTPError):
                self._kube.delete(self._path, wait_s=3)

    def _ensure_namespace(self) -> None:
        path = f"/api/v1/namespaces/{self._namespace}"
        if self._kube.find(path) is None:
            document = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": self._namespace, "labels": {CHAOS_LABEL: "enabled"}},
            }
            self._kube.request("POST", "/api/v1/namespaces", json=document)

    def _await_children_gone(self) -> None:
        """A finished run's systems may still be going; the new one's must not meet them."""
        systems = self._scenario.get("spec", {}).get("systems", [])
        deadline = time.monotonic() + 30
        for system in systems:
            resource = self._kube.resource_of(system)
            path = resource.path(self._namespace, system["metadata"]["name"])
            while self._kube.find(path) is not None and time.monotonic() < deadline:
                time.sleep(0.2)
        selector = f"{CHAOS_LABEL.split('/')[0]}/system-name"
        pods = f"/api/v1/namespaces/{self._namespace}/pods"
        while time.monotonic() < deadline:
            left = self._kube.get(pods, params={"labelSelector": selector})["items"]
            names = {system["metadata"]["name"] for system in systems}
            if not any(pod["metadata"]["labels"].get(selector) in names for pod in left):
                return
            time.sleep(0.2)


def run_scenario(
    kube: Kube, scenario: Document, *, namespace: str, out: Path | None, console: Console
) -> int:
    """The whole command; returns the exit code. On Ctrl-C the scenario is deleted before it propagates."""
    run = Run(kube, scenario, namespace, console)
    try:
        run.start()
        view = run.watch()
        target = out or Path("results") / f"{run.name}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"
        verdict = run.fetch(view, target)
    except KeyboardInterrupt:
        console.print("\n[yellow]Interrupted: healing and cleaning up.[/]")
        run.abandon()
        raise
    print_verdict(console, verdict, target)
    return EXIT_CODES[verdict.verdict]


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _timeout_s(scenario: dict[str, Any]) -> float:
    text = str(scenario.get("spec", {}).get("timeout", "5m"))
    for unit in sorted(_UNITS, key=len, reverse=True):
        if text.endswith(unit) and text[: -len(unit)].isdigit():
            return int(text[: -len(unit)]) * _UNITS[unit]
    return 300.0
