"""Secrets that hold one random key, which the operator makes once and never overwrites."""

import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import Any, Final

FIELD: Final = "key"
SHORTEST: Final = 16
"""Bytes; who is to use the key refuses a shorter one as well."""
RANDOM_BYTES: Final = 32


def new_secret(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A Secret with a fresh key of printable characters."""
    key = base64.b64encode(secrets.token_hex(RANDOM_BYTES).encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": dict(metadata),
        "type": "Opaque",
        "data": {FIELD: key},
    }


def bytes_in(secret: Mapping[str, Any]) -> bytes | None:
    """The key that a Secret holds, every byte of it as a mounted file shows it; None where it has none that
    is long enough."""
    try:
        key = base64.b64decode((secret.get("data") or {}).get(FIELD) or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) >= SHORTEST else None


def text_in(secret: Mapping[str, Any]) -> str | None:
    """The key as text, for a header; None where it has none that can be used so."""
    try:
        key = (bytes_in(secret) or b"").decode("ascii").strip()
    except UnicodeDecodeError:
        return None
    return key if len(key) >= SHORTEST and key.isprintable() else None


def what_is_wrong(secret: Mapping[str, Any], wanted: str) -> str:
    """Why there is no key to be had, as the end of a sentence."""
    if not (secret.get("data") or {}).get(FIELD):
        return f"has no `{FIELD}`"
    return f"has a `{FIELD}` without {SHORTEST} {wanted}"
