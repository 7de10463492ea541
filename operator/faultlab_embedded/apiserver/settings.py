"""Settings of the API server's HTTP face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`tokens` maps each bearer token to the user name it stands for; any of them may do anything."""

    tokens: Mapping[str, str]
    git_version: str = "v1.34.4+faultlab"
    bookmark_interval_s: float = 15.0
    watch_timeout_s: float = 1_800.0
    """A watch that asks for no timeoutSeconds ends after this long, as kube-apiserver's do."""
    max_body_bytes: int = 3 * 1024 * 1024
