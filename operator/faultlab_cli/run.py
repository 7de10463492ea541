"""`faultlab run SCENARIO`: applies it, shows it live, fetches what it leaves, exits with its verdict."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml
from rich.console import Console
from rich.live import Live
from rich.text import Text

from faultlab.contract.run import LiveView, VerdictDocument
from faultlab_cli import artifacts
from faultlab_cli.artifacts import EXIT_CODES
from faultlab_cli.errors import CliError
from faultlab_cli.kube import ApiError, Document, Kube, Unreachable
from faultlab_cli.live import EventLog, LiveScreen
from faultlab_cli.operator_pod import OperatorAway, OperatorPod
from faultlab_cli.preflight import prepare
from faultlab_cli.summary import print_verdict

SYSTEM_NAME_LABEL = "faultlab.dev/system-name"
POLL_S = 0.25
OPERATOR_SILENCE_LIMIT_S = 60.0
"""The operator may be restarted under us; longer than this and the run is given up."""
SILENCE_TOLD_S = 2.0
"""A shorter silence is not worth a line."""
GRACE_S = 90.0
"""On top of the scenario's own timeout, for deploying, checking and fetching."""
CHILDREN_TIMEOUT_S = 60.0
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


def namespace_for(scenario: Document, given: str | None, default: str) -> str:
    """Where it runs: as given, else as its manifest says, else the default. Raises CliError where the
    first two differ, as kubectl does."""
    own = scenario["metadata"].get("namespace")
    if given and own and given != own:
        raise CliError(
            f"the scenario is for namespace {own} by its own metadata.namespace, not for {given}: "
            "leave -n out, or metadata.namespace"
        )
    return str(given or own or default)


class Run:
    """One run of one scenario in one cluster."""

    def __init__(
        self, kube: Kube, operator: OperatorPod, scenario: Document, namespace: str, console: Console
    ) -> None:
        self._kube = kube
        self._operator = operator
        self._scenario = scenario
        self._namespace = namespace
        self._console = console
        self.name: str = scenario["metadata"]["name"]
        self._collection = SCENARIOS.format(namespace=namespace)
        self._path = f"{self._collection}/{self.name}"
        self._uid = ""
        self._created = False

    def start(self) -> None:
        """Creates the scenario, replacing a finished one; raises CliError where one is under way."""
        prepare(self._kube, self._operator, self._namespace, self._tell)
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
        document = {**self._scenario, "metadata": metadata}
        # Before the answer: who interrupts the request itself wants no scenario either.
        self._created = True
        answer = self._kube.request("POST", self._collection, json=document).json()
        self._uid = answer["metadata"]["uid"]

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
        silence = _Silence(self._tell)
        after = 0
        while time.monotonic() < deadline:
            try:
                view = self._poll(after)
            except (OperatorAway, Unreachable, ApiError) as error:
                if isinstance(error, ApiError) and error.http_status != 404:
                    raise
                self._check_still_there()
                if silence.lasts_too_long(str(error)):
                    raise CliError(
                        f"the operator has not answered for {OPERATOR_SILENCE_LIMIT_S:.0f} s "
                        f"({error}); {self._left_behind()}"
                    ) from error
            else:
                silence.ends()
                after = max([after, *(event.id for event in view.events)])
                yield view
                if view.phase == "Done":
                    return
            time.sleep(POLL_S)
        raise CliError(f"scenario {self.name} did not end within its timeout; {self._left_behind()}")

    def _poll(self, after: int) -> LiveView:
        path = f"/v1/namespaces/{self._namespace}/scenarios/{self.name}/live?after={after}"
        answer = self._operator.get(path)
        try:
            return msgspec.json.decode(answer.content, type=LiveView)
        except msgspec.DecodeError as error:
            raise CliError(
                f"the operator's answer is not understood ({error}): is it of another version of Faultlab?"
            ) from error

    def _check_still_there(self) -> None:
        """Raises CliError where the scenario is gone or another one; a cluster that says nothing proves
        nothing."""
        try:
            found = self._kube.find(self._path)
        except (ApiError, Unreachable):
            return
        if found is None or found["metadata"].get("uid") != self._uid:
            raise CliError(f"scenario {self._namespace}/{self.name} was deleted while it ran")

    def _left_behind(self) -> str:
        where = f"{self.name} -n {self._namespace}"
        return (
            f"the scenario is still there: `faultlab get scenario {where}` shows it, "
            f"`faultlab report {where}` fetches its files once it is Done, "
            f"`faultlab delete scenario {where}` ends it"
        )

    def fetch(self, view: LiveView, out: Path) -> VerdictDocument:
        """Downloads the run's files into `out` (made) and returns the verdict."""
        artifacts.fetch(self._operator, f"/v1/runs/{self._uid}", view.artifacts, out)
        verdict = artifacts.verdict_in(out)
        if verdict is None:
            reasons = "; ".join(view.reasons) or "no reason was given"
            raise CliError(f"{view.verdict or 'no verdict'}: {reasons}", EXIT_CODES.get(str(view.verdict), 2))
        return verdict

    def page(self) -> str | None:
        """Where browsers find the report, as far as the operator knows."""
        with contextlib.suppress(CliError):
            return ((self._kube.find(self._path) or {}).get("status") or {}).get("reportURL")
        return None

    def abandon(self) -> None:
        """Deletes the scenario; what belongs to it goes with it, and the operator heals its faults."""
        if not self._created:
            self._tell("Interrupted before the scenario was created.")
            return
        where = f"{self._namespace}/{self.name}"
        self._tell(f"Interrupted: deleting scenario {where}; its faults are healed, its systems go with it.")
        try:
            self._kube.delete(self._path, wait_s=3)
        except CliError as error:
            self._tell(f"It could not be deleted: {error}")
            self._tell(f"Do it by hand: faultlab delete scenario {self.name} -n {self._namespace}")
        else:
            self._tell(f"Scenario {where} is deleted.")

    def _tell(self, text: str) -> None:
        self._console.print(Text(text, style="yellow"), soft_wrap=not self._console.is_terminal)

    def _await_children_gone(self) -> None:
        """A finished run's systems may still be going; the new one's must not meet them."""
        systems = self._scenario.get("spec", {}).get("systems", [])
        names = {system["metadata"]["name"] for system in systems}
        paths = [
            self._kube.resource_of(system).path(self._namespace, system["metadata"]["name"])
            for system in systems
        ]
        deadline = time.monotonic() + CHILDREN_TIMEOUT_S
        told = False
        while any(self._kube.find(path) for path in paths) or self._pods_of(names):
            if time.monotonic() > deadline:
                raise CliError(
                    f"the last run's systems ({', '.join(sorted(names))}) are not gone from namespace "
                    f"{self._namespace} within {CHILDREN_TIMEOUT_S:.0f} s: look at its pods, or use another"
                )
            if not told:
                self._tell("Waiting until the last run's systems are gone.")
                told = True
            time.sleep(0.2)

    def _pods_of(self, systems: set[str]) -> bool:
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        pods = self._kube.get(path, params={"labelSelector": SYSTEM_NAME_LABEL})["items"]
        return any(pod["metadata"]["labels"].get(SYSTEM_NAME_LABEL) in systems for pod in pods)


class _Silence:
    """Tells of a silence once it is worth a line, again where its cause changes, and of its end."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told = ""
        self._heard = time.monotonic()

    def lasts_too_long(self, cause: str) -> bool:
        silent_s = time.monotonic() - self._heard
        if silent_s > SILENCE_TOLD_S and cause != self._told:
            self._tell(f"Waiting: {cause}")
            self._told = cause
        return silent_s > OPERATOR_SILENCE_LIMIT_S

    def ends(self) -> None:
        if self._told:
            self._tell("The operator answers again.")
        self._told = ""
        self._heard = time.monotonic()


def run_scenario(
    kube: Kube,
    scenario: Document,
    *,
    namespace: str,
    out: Path | None,
    console: Console,
    operator: OperatorPod | None = None,
) -> int:
    """The whole command; returns the exit code. On Ctrl-C the scenario is deleted before it propagates."""
    run = Run(kube, operator or OperatorPod(kube), scenario, namespace, console)
    try:
        run.start()
        view = run.watch()
        target = out or artifacts.default_folder(run.name, datetime.now())
        verdict = run.fetch(view, target)
    except KeyboardInterrupt:
        run.abandon()
        raise
    print_verdict(console, verdict, target, page=run.page())
    return EXIT_CODES[verdict.verdict]


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _timeout_s(scenario: dict[str, Any]) -> float:
    text = str(scenario.get("spec", {}).get("timeout", "5m"))
    for unit in sorted(_UNITS, key=len, reverse=True):
        if text.endswith(unit) and text[: -len(unit)].isdigit():
            return int(text[: -len(unit)]) * _UNITS[unit]
    return 300.0
