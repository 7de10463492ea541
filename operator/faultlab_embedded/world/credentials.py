"""What clients and pods need to reach this world's API server, below HOME/pki.

Tokens are kept from one life of the world to the next; certificates are made anew at each start, so that none
expires.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from faultlab_embedded.apiserver.credentials import (
    Certificates,
    kubeconfig,
    make_certificates,
    new_token,
    write_private,
)
from faultlab_embedded.network.bridge import NODE_ADDRESS

ADMIN = "kubernetes-admin"
DEFAULT_NAMESPACE = "faultlab"
"""Of the kubeconfig's context."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """See `load`."""

    directory: Path
    certificates: Certificates
    admin_token: str
    secret: bytes
    tokens: MutableMapping[str, str]
    """Bearer token -> user name; grows as pods get theirs."""

    def account_token(self, namespace: str, account: str) -> str:
        """The token of a ServiceAccount; the same in each life of the world."""
        user = f"system:serviceaccount:{namespace}:{account}"
        token = hmac.new(self.secret, user.encode(), hashlib.sha256).hexdigest()
        self.tokens[token] = user
        return token

    def server_context(self) -> ssl.SSLContext:
        """For the API server's listening sockets."""
        return self.certificates.server_context(self.directory)

    def write_kubeconfig(self, path: Path, url: str) -> None:
        """Mode 0600, replaced in one step."""
        text = kubeconfig(url, self.certificates.ca, self.admin_token, namespace=DEFAULT_NAMESPACE)
        write_private(path, text.encode())


def load(directory: Path) -> Credentials:
    """Certificates for loopback and the bridge, and the tokens of this home, made where missing."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    certificates = make_certificates([NODE_ADDRESS])
    certificates.write(directory)
    admin = _kept(directory / "token", new_token)
    secret = _kept(directory / "secret", new_token).encode()
    return Credentials(directory, certificates, admin, secret, {admin: ADMIN})


def _kept(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        write_private(path, make().encode())
    return path.read_text()
