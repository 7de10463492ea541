"""What the operator is told by its environment."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from uuid import uuid4

from faultlab_operator.core.environment import age_s, base_url, port, size_bytes, whole_number

_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

DEFAULT_IMAGE = "faultlab/faultlab:0.1.0"


@dataclass(frozen=True, slots=True)
class Settings:
    """One operator process' settings."""

    namespace: str = "faultlab-system"
    """Where the operator and the agents run."""
    identity: str = field(default_factory=lambda: _identity({}))
    """Who this process is in the leader lock: a pod's container that is started again is the same one,
    and need not wait for itself."""
    watch_namespaces: tuple[str, ...] = ()
    """Where custom resources are served; empty means everywhere."""
    image: str = DEFAULT_IMAGE
    """Of member and load pods."""
    world: str = "kubernetes"
    """Label for verdicts, set by whoever installed the operator; nothing is decided by it."""
    data_dir: Path = Path("/data")
    pages_url: str = ""
    """Where people's browsers reach `http_port`, without a trailing slash; empty if nowhere."""
    locust_url: str = ""
    """The same for `locust_port`."""
    http_port: int = 8080
    locust_port: int = 8089
    keep_runs: int = 100
    """Runs that are over: more of them are not kept."""
    keep_bytes: int = 2 * 1024**3
    """Of runs that are over, together."""
    keep_age_s: float = 30 * 86_400.0
    """How long after its end a run is kept."""
    debug: bool = False

    @property
    def seen_namespaces(self) -> tuple[str, ...]:
        """Where objects are watched and listed: where resources are served, and where the agents are;
        empty means everywhere."""
        if not self.watch_namespaces:
            return ()
        return tuple(sorted({*self.watch_namespaces, self.namespace}))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """POD_NAMESPACE, FAULTLAB_NAMESPACES, FAULTLAB_IMAGE, FAULTLAB_WORLD, FAULTLAB_DATA_DIR,
        POD_NAME, POD_UID, FAULTLAB_PAGES_URL, FAULTLAB_LOCUST_URL, FAULTLAB_HTTP_PORT,
        FAULTLAB_LOCUST_PORT, FAULTLAB_KEEP_RUNS, FAULTLAB_KEEP_BYTES, FAULTLAB_KEEP_AGE.

        Raises BadSetting."""
        namespace = environ.get("POD_NAMESPACE", "")
        if not namespace and _SERVICE_ACCOUNT_NAMESPACE.exists():
            namespace = _SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
        watched = tuple(name for name in environ.get("FAULTLAB_NAMESPACES", "").split(",") if name)
        return cls(
            namespace=namespace or "faultlab-system",
            identity=_identity(environ),
            watch_namespaces=watched,
            image=environ.get("FAULTLAB_IMAGE") or DEFAULT_IMAGE,
            world=environ.get("FAULTLAB_WORLD") or "kubernetes",
            data_dir=Path(environ.get("FAULTLAB_DATA_DIR") or "/data"),
            pages_url=base_url(environ, "FAULTLAB_PAGES_URL"),
            locust_url=base_url(environ, "FAULTLAB_LOCUST_URL"),
            http_port=port(environ, "FAULTLAB_HTTP_PORT", 8080),
            locust_port=port(environ, "FAULTLAB_LOCUST_PORT", 8089),
            keep_runs=whole_number(environ, "FAULTLAB_KEEP_RUNS", 100, 1, 10_000),
            keep_bytes=size_bytes(environ, "FAULTLAB_KEEP_BYTES", "2Gi", "1Mi"),
            keep_age_s=age_s(environ, "FAULTLAB_KEEP_AGE", "30d", "1m"),
        )


def _identity(environ: Mapping[str, str]) -> str:
    """Outside a pod, a new one for each process."""
    name = environ.get("POD_NAME") or socket.gethostname()
    return f"{name}_{environ.get('POD_UID') or uuid4()}"
