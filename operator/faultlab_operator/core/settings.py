"""What the operator is told by its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

DEFAULT_IMAGE = "faultlab/faultlab:0.1.0"


@dataclass(frozen=True, slots=True)
class Settings:
    """One operator process' settings."""

    namespace: str = "faultlab-system"
    """Where the operator and the agents run."""
    watch_namespaces: tuple[str, ...] = ()
    """Where custom resources are served; empty means everywhere."""
    image: str = DEFAULT_IMAGE
    """Of member and load pods."""
    world: str = "kubernetes"
    """Label for verdicts, set by whoever installed the operator; nothing is decided by it."""
    data_dir: Path = Path("/data")
    agent_key_path: Path = Path("/etc/faultlab/agent/key")
    pages_url: str = ""
    """Before the API server's proxy paths, where people's browsers reach them; empty if nowhere."""
    http_port: int = 8080
    debug: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """POD_NAMESPACE, FAULTLAB_NAMESPACES, FAULTLAB_IMAGE, FAULTLAB_WORLD, FAULTLAB_DATA_DIR,
        FAULTLAB_AGENT_KEY, FAULTLAB_PAGES_URL, FAULTLAB_HTTP_PORT."""
        namespace = environ.get("POD_NAMESPACE", "")
        if not namespace and _SERVICE_ACCOUNT_NAMESPACE.exists():
            namespace = _SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
        watched = tuple(name for name in environ.get("FAULTLAB_NAMESPACES", "").split(",") if name)
        return cls(
            namespace=namespace or "faultlab-system",
            watch_namespaces=watched,
            image=environ.get("FAULTLAB_IMAGE") or DEFAULT_IMAGE,
            world=environ.get("FAULTLAB_WORLD") or "kubernetes",
            data_dir=Path(environ.get("FAULTLAB_DATA_DIR") or "/data"),
            agent_key_path=Path(environ.get("FAULTLAB_AGENT_KEY") or "/etc/faultlab/agent/key"),
            pages_url=(environ.get("FAULTLAB_PAGES_URL") or "").rstrip("/"),
            http_port=int(environ.get("FAULTLAB_HTTP_PORT") or 8080),
        )
