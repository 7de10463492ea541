"""The operator, asked through the API server's proxy: the one way in that every cluster has.

Its pod is found by label and must be Running, Ready and not on its way out. It may be replaced at any
time (a rollout, an eviction, a kill): after every failure it is looked for again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx

from faultlab_cli.errors import CliError
from faultlab_cli.kube import ApiError, Document, Kube, Unreachable, pod_proxy
from faultlab_cli.kubeconfig import INSTALL
from faultlab_cli.options import DEFAULT_LAB_NAMESPACE

T = TypeVar("T")
PORT = 8080
PROGRAM = {"Sec-Faultlab": "cli"}
"""Says that no browser asks: the operator then minds no host name, which through pods/proxy is the API
server's. No page can make a browser send such a header."""
NAME = "faultlab-operator"
SELECTOR = f"app.kubernetes.io/name={NAME}"
REQUEST_TIMEOUT_S = 5.0
PAUSE_S = 0.25
"""Between two attempts."""
READY_TIMEOUT_S = 60.0
"""An operator that is starting is waited for this long."""
TOLD_S = 3.0
"""A shorter wait is not worth a line."""
FETCH_SILENCE_S = 60.0
"""Longer than an operator takes to be replaced by a rollout."""
FETCH_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
RANGE_NOT_SATISFIABLE = 416
HOPELESS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"})
"""Reasons of a waiting container that time alone does not mend."""


class OperatorAway(CliError):
    """No operator answers now; the message says what its pods are doing. Another attempt may succeed, and
    `OperatorPod.await_ready` says what to do if none does."""


@dataclass(frozen=True)
class _Look:
    """The operator's pods as they are seen now."""

    ready: str | None
    """The pod to ask."""
    state: str = ""
    """What is wrong, in words, where there is none to ask."""
    advice: str = ""
    """What to do about it."""
    hopeless: bool = False
    namespaces: tuple[str, ...] = field(default=())
    """Those that the operator serves; empty: all."""


class _Part:
    """What has come of a file, beside its final place; knows of which version (ETag) it is a part."""

    def __init__(self, target: Path) -> None:
        self.file = target.with_name(f".{target.name}.part")
        self.drop()

    def drop(self) -> None:
        self._tag = ""
        self.file.unlink(missing_ok=True)

    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def headers(self) -> dict[str, str]:
        """Asks for the rest, if it is of the same version; never packed: then it has no rest."""
        ask = {"Accept-Encoding": "identity"}
        if self._tag and (have := self.size()):
            ask |= {"Range": f"bytes={have}-", "If-Range": self._tag}
        return ask

    def take(self, response: httpx.Response) -> None:
        tag = str(response.headers.get("ETag", ""))
        if response.status_code != httpx.codes.PARTIAL_CONTENT or tag != self._tag:
            self.drop()
        self._tag = tag
        with self.file.open("ab") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)


class OperatorPod:
    """The operator of one lab."""

    def __init__(self, kube: Kube, lab_namespace: str = DEFAULT_LAB_NAMESPACE) -> None:
        self._kube = kube
        self._lab_namespace = lab_namespace
        self._pod: str | None = None

    def get(self, path: str) -> httpx.Response:
        """The answer from the operator's own port; raises OperatorAway, or ApiError for what the operator
        itself refuses (404: there is no such thing) and for missing permissions."""
        target = self._target(path)
        try:
            return self._kube.request("GET", target, headers=PROGRAM, timeout=REQUEST_TIMEOUT_S)
        except (ApiError, Unreachable) as error:
            self._judge(error)
            raise

    def await_ready(self, tell: Callable[[str], None]) -> tuple[str, ...]:
        """Waits until there is one, telling the states on the way; returns the namespaces that it serves
        (none: all). Raises CliError where there is none in time or that is hopeless."""
        begun = time.monotonic()
        told = ""
        while True:
            look = self._look()
            if look.ready:
                self._pod = look.ready
                return look.namespaces
            waited_s = time.monotonic() - begun
            if look.hopeless or waited_s > READY_TIMEOUT_S:
                raise CliError(f"{look.state}{look.advice}")
            if waited_s > TOLD_S and look.state != told:
                told = look.state
                tell(f"Waiting: {told}")
            time.sleep(PAUSE_S)

    def fetch(self, path: str, target: Path) -> None:
        """Downloads a file; the target is there whole or not at all.

        A connection that breaks off is taken up again where it ended. Raises CliError once
        FETCH_SILENCE_S have brought nothing.
        """
        part = _Part(target)
        heard = time.monotonic()
        while True:
            before = part.size()
            try:
                with self._kube.stream(
                    self._target(path), headers={**PROGRAM, **part.headers()}, timeout=FETCH_TIMEOUT
                ) as response:
                    part.take(response)
                part.file.rename(target)
                return
            except (OperatorAway, Unreachable, ApiError) as error:
                if isinstance(error, ApiError) and error.http_status == RANGE_NOT_SATISFIABLE:
                    part.drop()
                elif isinstance(error, ApiError) and not _is_passing(error):
                    raise
                if part.size() > before:
                    heard = time.monotonic()
                if time.monotonic() - heard > FETCH_SILENCE_S:
                    raise CliError(f"{target.name} could not be fetched: {error}") from error
            self._pod = None
            time.sleep(PAUSE_S)

    def _target(self, path: str) -> str:
        if self._pod is None:
            look = self._look()
            if look.ready is None:
                raise OperatorAway(look.state)
            self._pod = look.ready
        return pod_proxy(self._lab_namespace, self._pod, PORT, path)

    def _judge(self, error: ApiError | Unreachable) -> None:
        """Forgets the pod where it may be another one by now, and raises OperatorAway for that."""
        if isinstance(error, ApiError):
            if not _is_passing(error):
                return
            self._pod = None
            raise OperatorAway(f"the operator does not answer: {error}") from error
        self._pod = None

    def _look(self) -> _Look:
        pods = self._pods(f"/api/v1/namespaces/{self._lab_namespace}/pods")
        standing = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        for pod in standing:
            if _is_ready(pod):
                return _Look(pod["metadata"]["name"], namespaces=_served(pod))
        if pods:
            states = ", ".join(_state(pod) for pod in pods)
            hopeless = bool(standing) and all(_waiting(pod)[0] in HOPELESS for pod in standing)
            text = f"no operator is ready in namespace {self._lab_namespace}: {states}"
            advice = f"; `kubectl describe pods -n {self._lab_namespace} -l {SELECTOR}` tells more"
            return _Look(None, text, advice, hopeless)
        return self._look_for_absence()

    def _look_for_absence(self) -> _Look:
        """Why there is no pod at all: not installed, installed elsewhere, or kept from being made."""
        where = f"no operator runs in namespace {self._lab_namespace} of {self._kube.origin}"
        path = f"/apis/apps/v1/namespaces/{self._lab_namespace}/deployments/{NAME}"
        deployment = _or_none(lambda: self._kube.find(path))
        if deployment is not None:
            if deployment["spec"].get("replicas") == 0:
                scale = f"kubectl scale deploy/{NAME} -n {self._lab_namespace} --replicas=1"
                return _Look(None, f"{where}: its Deployment is scaled to 0", f"; `{scale}`", hopeless=True)
            causes = [
                str(condition.get("message"))
                for condition in deployment.get("status", {}).get("conditions", [])
                if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
            ]
            return _Look(None, f"{where}: {'; '.join(causes) or 'its Deployment has made no pod yet'}")
        elsewhere = _or_none(lambda: self._pods("/api/v1/pods")) or []
        if elsewhere:
            namespaces = ", ".join(sorted({pod["metadata"]["namespace"] for pod in elsewhere}))
            return _Look(None, where, f"; there is one in {namespaces}: --lab-namespace NAME", hopeless=True)
        return _Look(None, where, f". {INSTALL}", hopeless=True)

    def _pods(self, path: str) -> list[Document]:
        found: list[Document] = self._kube.get(path, params={"labelSelector": SELECTOR})["items"]
        return found


def _is_passing(error: ApiError) -> bool:
    """The pod is gone, not reached or not ready: not the operator's own refusal, nor a permission's."""
    return error.http_status >= 500 or error.reason == "NotFound"


def _is_ready(pod: Document) -> bool:
    status = pod.get("status", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
    return status.get("phase") == "Running" and ready


def _served(pod: Document) -> tuple[str, ...]:
    for container in pod["spec"].get("containers", []):
        for variable in container.get("env", []):
            if variable["name"] == "FAULTLAB_NAMESPACES":
                return tuple(name for name in variable.get("value", "").split(",") if name)
    return ()


def _state(pod: Document) -> str:
    """`faultlab-operator-x is Pending (ImagePullBackOff: Back-off pulling image ...)`."""
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    if "deletionTimestamp" in pod["metadata"]:
        return f"{name} is ending"
    phase = status.get("phase", "Pending")
    reason, message = _waiting(pod)
    if reason == "CrashLoopBackOff":
        return f"{name} has crashed (restarts: {_restarts(pod)}; `kubectl logs` with --previous says why)"
    if not reason:
        for condition in status.get("conditions", []):
            told = condition.get("message") and condition.get("reason") != "ContainersNotReady"
            if condition["status"] == "False" and told:
                reason, message = condition.get("reason", condition["type"]), condition["message"]
                break
    if not reason:
        return f"{name} is {phase}" + (" and not ready yet" if phase == "Running" else "")
    return f"{name} is {phase} ({reason}{': ' + message if message else ''})"


def _waiting(pod: Document) -> tuple[str, str]:
    """Reason and message of the first container that waits, or empty texts."""
    status = pod.get("status", {})
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        if waiting := container.get("state", {}).get("waiting"):
            return str(waiting.get("reason", "")), str(waiting.get("message", ""))
    return "", ""


def _restarts(pod: Document) -> int:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return sum(int(container.get("restartCount", 0)) for container in statuses)


def _or_none(ask: Callable[[], T]) -> T | None:
    """For what only makes a message better: None where it may not be asked."""
    try:
        return ask()
    except ApiError:
        return None
