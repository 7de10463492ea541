"""Inline scripts and styles named by their hashes, so that a page's policy allows these and no others."""

import base64
import hashlib


def source_hash(content: str) -> str:
    """An inline element's content as a source of a Content-Security-Policy (CSP level 2, hash-source)."""
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"'sha256-{digest}'"
