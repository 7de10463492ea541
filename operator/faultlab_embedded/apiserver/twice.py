"""Fields that a JSON body gives twice: decoders take the last, and people should hear of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any


class _Fields(dict[str, Any]):
    twice: tuple[str, ...] = ()


def fields_given_twice(raw: bytes) -> tuple[str, ...]:
    """The paths of such fields (`spec.containers[0].name`), none where the body cannot be read."""
    seen = False

    def fields(pairs: list[tuple[str, Any]]) -> _Fields:
        nonlocal seen
        made = _Fields(pairs)
        if len(made) < len(pairs):
            seen = True
            made.twice = tuple(
                name for name, count in Counter(name for name, _ in pairs).items() if count > 1
            )
        return made

    try:
        value = json.loads(raw, object_pairs_hook=fields)
    except (ValueError, RecursionError):
        return ()
    return tuple(_paths(value, "")) if seen else ()


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Fields):
        for name in value.twice:
            yield f"{path}.{name}" if path else name
        for name, inner in value.items():
            yield from _paths(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, f"{path}[{index}]")
