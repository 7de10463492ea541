"""The lab in the embedded world: its start and end, and what is installed into it.

Namespaces, CRDs, operator and agent; the embedded world itself knows nothing but
Kubernetes.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path

import yaml

from faultlab import __version__
from faultlab_cli.errors import CliError
from faultlab_cli.kube import Document
from faultlab_embedded import world

SYSTEM_NAMESPACE = "faultlab-system"
DEFAULT_NAMESPACE = "faultlab"
IMAGE = f"faultlab/faultlab:{__version__}"
RUNTIME_ROOT = "/run/faultlab/containers"
OPERATOR = "faultlab-operator"
OPERATOR_PORT = 8080
"""The lab's own page, live views and artifacts."""
LOCUST_PORT = 8089
"""The pages of the loads that run, by way of the operator."""
ARTIFACTS = "faultlab-artifacts"
"""The claim that holds what runs leave, so that a later world finds it again."""
AGENT_SECRET = "faultlab-agent"
"""Made by the operator; the agent's pod waits for it."""
_HOLD_ATTEMPTS = 3
_PORT_ATTEMPTS = 3
PAGES_PORT = 8088
"""Where the pages are if the port is free; else on one that is."""


def home() -> Path:
    """Where the embedded world keeps its state: FAULTLAB_HOME, else the user's state directory."""
    if configured := os.environ.get("FAULTLAB_HOME"):
        return Path(configured).absolute()
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "faultlab"


def start(*, persist: bool) -> world.WorldInfo:
    """The running world, started if there is none; raises CliError that says what to do."""
    try:
        for _ in range(_PORT_ATTEMPTS):
            try:
                return _start_at(_pages_port(), persist)
            except world.PortTaken:
                continue  # Another world took it between our look and our start.
        return _start_at(_pages_port(), persist)
    except world.WorldError as error:
        raise CliError(str(error)) from error


def _start_at(port: int, persist: bool) -> world.WorldInfo:
    return world.up(
        home(),
        objects(),
        static_pods(f"http://127.0.0.1:{port}"),
        world.default_table("faultlab/faultlab:*"),
        persist=persist,
        pages_port=port,
    )


@contextmanager
def held() -> Iterator[world.WorldInfo]:
    """The world while the block runs; one that was started for it ends with its last holder."""
    with ExitStack() as stack:
        yield _start_and_hold(stack)


def _start_and_hold(stack: ExitStack) -> world.WorldInfo:
    """A world that `start` found may have been about to end: then there is a new one to be had."""
    for _ in range(_HOLD_ATTEMPTS):
        start(persist=False)
        try:
            return stack.enter_context(world.hold(home()))
        except world.NotRunning:
            continue
        except world.WorldError as error:
            raise CliError(str(error)) from error
    raise CliError(f"the world in {home()} ends again and again; see {home() / 'world.log'}")


def running() -> world.WorldInfo | None:
    return world.status(home())


def stop(*, purge: bool) -> bool:
    """False where none ran."""
    try:
        return world.down(home(), purge=purge)
    except world.WorldError as error:
        raise CliError(str(error)) from error


def _pages_port() -> int:
    for port in (PAGES_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CliError("no TCP port is free on the loopback")


def objects() -> list[Document]:
    """Everything to apply at start, in order."""
    return [
        _namespace(SYSTEM_NAMESPACE, {"pod-security.kubernetes.io/enforce": "privileged"}),
        _namespace(DEFAULT_NAMESPACE, {"faultlab.dev/chaos": "enabled"}),
        *crds(),
        _service_account(OPERATOR),
        _service_account("faultlab-agent"),
        _claim(ARTIFACTS, "4Gi"),
    ]


def crds() -> list[Document]:
    """The generated CustomResourceDefinitions."""
    folder = resources.files("faultlab_operator.api") / "crds"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return [yaml.safe_load(file.read_text()) for file in files]


def static_pods(pages_url: str) -> list[Document]:
    """Operator and agent."""
    return [operator_pod(pages_url), agent_pod()]


def operator_page(pages_url: str, port: int) -> str:
    """Where the world's pages, at `pages_url`, lead to a port of the operator; without a slash at the end."""
    pods = f"{pages_url}/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods"
    return f"{pods}/{OPERATOR}:{port}/proxy"


def operator_pod(pages_url: str) -> Document:
    spec = {
        "serviceAccountName": OPERATOR,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 5,
        "containers": [
            {
                "name": "operator",
                "image": IMAGE,
                "command": [OPERATOR],
                "env": [
                    _field("POD_NAME", "metadata.name"),
                    _field("POD_UID", "metadata.uid"),
                    _field("POD_NAMESPACE", "metadata.namespace"),
                    {"name": "FAULTLAB_WORLD", "value": "embedded"},
                    {"name": "FAULTLAB_IMAGE", "value": IMAGE},
                    {"name": "FAULTLAB_PAGES_URL", "value": operator_page(pages_url, OPERATOR_PORT)},
                    {"name": "FAULTLAB_LOCUST_URL", "value": operator_page(pages_url, LOCUST_PORT)},
                ],
                "ports": [
                    {"name": "http", "containerPort": OPERATOR_PORT},
                    {"name": "locust", "containerPort": LOCUST_PORT},
                ],
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": OPERATOR_PORT}, "periodSeconds": 1},
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
            }
        ],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": ARTIFACTS}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    return _pod(OPERATOR, spec)


def agent_pod() -> Document:
    spec = {
        "serviceAccountName": "faultlab-agent",
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 3,
        "hostNetwork": True,
        "hostPID": True,
        "containers": [
            {
                "name": "agent",
                "image": IMAGE,
                "command": ["faultlab-agent", "--runtime-root", RUNTIME_ROOT],
                "securityContext": {"privileged": True},
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 7010}, "periodSeconds": 1},
                "volumeMounts": [
                    {"name": "agent-key", "mountPath": "/etc/faultlab/agent", "readOnly": True},
                    {"name": "runtime", "mountPath": RUNTIME_ROOT, "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "agent-key", "secret": {"secretName": AGENT_SECRET}},
            {"name": "runtime", "hostPath": {"path": RUNTIME_ROOT}},
        ],
    }
    return _pod("faultlab-agent", spec)


def _pod(name: str, spec: Document) -> Document:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "faultlab"}
    metadata = {"name": name, "namespace": SYSTEM_NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _namespace(name: str, labels: dict[str, str]) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _service_account(name: str) -> Document:
    metadata = {"name": name, "namespace": SYSTEM_NAMESPACE}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _claim(name: str, size: str) -> Document:
    metadata = {"name": name, "namespace": SYSTEM_NAMESPACE}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def _field(name: str, path: str) -> Document:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
