"""The node's name and its place below /run; apart, because they are needed before anything is imported."""

from __future__ import annotations

from pathlib import Path

NODE_NAME = "embedded"
RUN_DIRECTORY = Path("/run/faultlab")
"""On the world's private tmpfs: nothing in it outlives the world."""
