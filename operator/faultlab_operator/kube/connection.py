"""Where the API server is and who we are to it: in-cluster first, else KUBECONFIG, as kopf does."""

import base64
import logging
import os
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import kopf

from faultlab_operator.errors import Unavailable

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Connection:
    """What both the operator's own client and kopf's watches need."""

    info: kopf.ConnectionInfo
    token: Callable[[], str | None]
    """Read anew at each use: a cluster rotates its mounted tokens."""

    @property
    def server(self) -> str:
        return str(self.info.server).rstrip("/")


def find_connection(settings: kopf.OperatorSettings) -> Connection:
    """The connection for this process.

    Raises Unavailable with what was looked for if there is neither a service account nor a
    kubeconfig.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    token_file = _ACCOUNT / "token"
    if host and token_file.exists():
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        info = kopf.ConnectionInfo(
            server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
            ca_path=str(_ACCOUNT / "ca.crt"),
            token=token_file.read_text().strip(),
        )
        return Connection(info, lambda: token_file.read_text().strip())
    found = kopf.login_with_kubeconfig(settings=settings, logger=logging.getLogger(__name__))
    if found is None:
        raise Unavailable(
            0,
            "NoConnection",
            "no API server to talk to: expected to run in a pod with a service account, or KUBECONFIG to "
            "name a kubeconfig file; `faultlab up` prints one",
        )
    return Connection(found, lambda: found.token)


def ssl_context(info: kopf.ConnectionInfo) -> ssl.SSLContext | None:
    """TLS as the connection wants it; None for plain HTTP."""
    if str(info.server).startswith("http://"):
        return None
    context = ssl.create_default_context(
        cafile=str(info.ca_path) if info.ca_path else None,
        cadata=base64.b64decode(info.ca_data).decode() if info.ca_data else None,
    )
    if info.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if info.certificate_path and info.private_key_path:
        context.load_cert_chain(str(info.certificate_path), str(info.private_key_path))
    elif info.certificate_data and info.private_key_data:
        # ssl loads chains from files only; the pair is on disk for as long as loading takes.
        with tempfile.TemporaryDirectory() as folder:
            pair = Path(folder) / "pair.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(
                base64.b64decode(info.private_key_data) + b"\n" + base64.b64decode(info.certificate_data)
            )
            context.load_cert_chain(str(pair))
    return context
