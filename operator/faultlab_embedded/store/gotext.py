"""Values as Go's `%v` prints them, which is how some errors of kube-apiserver show them."""

from __future__ import annotations

from typing import Any


def go_value(value: Any) -> str:
    """`map[a:1 b:[x y]]`, keys in order; nothing is quoted."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_value(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_value, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)
