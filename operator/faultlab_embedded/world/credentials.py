"""Certificates and tokens of a world, kept below HOME/pki from one life to the next."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import ssl
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from faultlab_embedded.network.bridge import NODE_ADDRESS

ADMIN = "kubernetes-admin"
_LIFE = timedelta(days=3650)
_RENEW_BEFORE = timedelta(days=30)
_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "embedded")
_ADDRESSES = ("127.0.0.1", NODE_ADDRESS)


@dataclass(slots=True)
class Credentials:
    """What clients and pods need to reach the API server; see `load`."""

    ca_pem: bytes
    certificate: Path
    key: Path
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
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def load(directory: Path) -> Credentials:
    """Reads the credentials, making those that are missing, unreadable or about to expire."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    if not _usable(directory):
        _make_certificates(directory)
    admin = _kept(directory / "token", lambda: secrets.token_urlsafe(32))
    secret = _kept(directory / "secret", lambda: secrets.token_hex(32))
    return Credentials(
        ca_pem=(directory / "ca.crt").read_bytes(),
        certificate=directory / "server.crt",
        key=directory / "server.key",
        admin_token=admin,
        secret=secret.encode(),
        tokens={admin: ADMIN},
    )


def write_kubeconfig(path: Path, url: str, credentials: Credentials) -> None:
    """A kubeconfig for `kubectl`, mode 0600, replaced in one step. JSON is YAML."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "faultlab",
        "clusters": [
            {
                "name": "faultlab",
                "cluster": {
                    "server": url,
                    "certificate-authority-data": base64.b64encode(credentials.ca_pem).decode(),
                },
            }
        ],
        "users": [{"name": ADMIN, "user": {"token": credentials.admin_token}}],
        "contexts": [
            {"name": "faultlab", "context": {"cluster": "faultlab", "user": ADMIN, "namespace": "faultlab"}}
        ],
    }
    _write_private(path, json.dumps(document, indent=1).encode())


def _kept(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        _write_private(path, make().encode())
    return path.read_text()


def _write_private(path: Path, content: bytes) -> None:
    fresh = path.with_name(path.name + ".tmp")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    fresh.replace(path)


def _usable(directory: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate((directory / "server.crt").read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    complete = all((directory / name).exists() for name in ("ca.crt", "server.key"))
    return complete and certificate.not_valid_after_utc > datetime.now(UTC) + _RENEW_BEFORE


def _make_certificates(directory: Path) -> None:
    ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = _name("faultlab embedded CA")
    begin = datetime.now(UTC) - timedelta(hours=1)
    signing = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    ca_identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), begin)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signing, critical=True)
        .add_extension(ca_identifier, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    alternatives = [x509.DNSName(name) for name in _NAMES]
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
    server = (
        _builder(_name("faultlab embedded API"), ca_name, server_key.public_key(), begin)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([*alternatives, *addresses]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_pem = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_private(directory / "ca.crt", ca.public_bytes(pem))
    _write_private(directory / "server.key", key_pem)
    _write_private(directory / "server.crt", server.public_bytes(pem))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + _LIFE)
    )
