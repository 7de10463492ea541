"""The part of kubectl's JSONPath that printer columns and selectable fields use.

`.spec.replicas`, `.metadata.labels['a.b/c']`, `.items[0]`, `.items[*].name`,
`.status.conditions[?(@.type=="Ready")].status`. Source: kubernetes.io, "JSONPath Support".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

Step = Callable[[Any], Iterable[Any]]

_TOKEN = re.compile(
    r"""
    \.?(?P<name>[A-Za-z0-9_\-/$]+(?:\\.[A-Za-z0-9_\-/$]+)*)
    | \[\s*(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\s*\]
    | \[\s*(?P<index>-?\d+)\s*\]
    | \.?(?P<every>\[\*\]|\*)
    | \[\?\(\s*@(?P<path>[^=!<>)]*?)\s*(?:(?P<operator>==|!=)\s*(?P<value>'[^']*'|"[^"]*"|[^)]+?)\s*)?\)\]
    """,
    re.VERBOSE,
)


def compile_path(text: str) -> Callable[[Any], list[Any]]:
    """A function from a value to everything at the path in it. Raises ValueError for what is not
    understood."""
    steps = list(_steps(text))

    def find(value: Any) -> list[Any]:
        found = [value]
        for step in steps:
            found = [inner for outer in found for inner in step(outer)]
        return found

    return find


def _steps(text: str) -> Iterable[Step]:
    body = text.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    position = 0
    while position < len(body):
        token = _TOKEN.match(body, position)
        if token is None or token.end() == position:
            raise ValueError(f"JSONPath {text!r} is not understood at {body[position:]!r}")
        position = token.end()
        yield _step(token)


def _step(token: re.Match[str]) -> Step:
    if (name := token["name"]) is not None:
        return _field(name.replace("\\.", "."))
    if (quoted := token["quoted"]) is not None:
        return _field(quoted)
    if (index := token["index"]) is not None:
        return _item(int(index))
    if token["every"] is not None:
        return _every
    value = token["value"]
    return _filter(compile_path(token["path"]), token["operator"], None if value is None else _literal(value))


def _field(name: str) -> Step:
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else []


def _item(index: int) -> Step:
    def item(value: Any) -> list[Any]:
        return [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else []

    return item


def _every(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return list(value.values()) if isinstance(value, dict) else []


def _filter(path: Callable[[Any], list[Any]], operator: str | None, wanted: Any) -> Step:
    def matches(item: Any) -> bool:
        found = path(item)
        if operator is None:
            return bool(found)
        return bool(found) and (found[0] == wanted) is (operator == "==")

    return lambda value: [item for item in value if matches(item)] if isinstance(value, list) else []


def _literal(text: str) -> Any:
    if text[0] in "'\"":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text
