"""Label and field selectors, as in `kubectl get -l` and `--field-selector`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from faultlab_embedded.store.errors import BadRequest
from faultlab_embedded.store.labels import parse_requirements

LabelMatch = Callable[[Mapping[str, str]], bool]
FieldMatch = Callable[[str, str, Callable[[], Mapping[str, Any]]], bool]
"""Of an object's namespace, its name, and a function that gives the whole of it where that is not enough."""

_FALSE_BY_DEFAULT = frozenset(("spec.hostNetwork", "spec.unschedulable"))
"""Selectable flags that are left out where they are false."""


def parse_labels(selector: str | None) -> LabelMatch | None:
    """A predicate over labels for `a=b,c!=d,e in (f,g),h notin (i),j,!k,n>3`; None for the empty selector.

    Raises BadRequest for what cannot be read.
    """
    if selector is None or not selector.strip():
        return None
    terms = [_expression(term.key, term.operator, term.values) for term in parse_requirements(selector)]
    return lambda labels: all(term(labels) for term in terms)


def match_labels(selector: Mapping[str, Any] | None) -> LabelMatch:
    """A predicate for a `LabelSelector` object (matchLabels, matchExpressions).

    None matches nothing, an empty one everything, as Kubernetes has it. Raises BadRequest for an unknown
    operator.
    """
    if selector is None:
        return lambda _: False
    terms = [_expression(key, "in", [value]) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        operator = str(expression.get("operator", "")).lower()
        values = expression.get("values") or []
        terms.append(_expression(expression["key"], operator, values))
    return lambda labels: all(term(labels) for term in terms)


def parse_fields(selector: str | None) -> FieldMatch | None:
    """A predicate for `metadata.name=x,status.phase!=Running`; None for the empty selector. BadRequest."""
    if selector is None or not selector.strip():
        return None
    by_place: list[tuple[bool, bool, str]] = []
    by_content: list[tuple[str, bool, str]] = []
    for path, equal, value in field_terms(selector):
        if path in ("metadata.name", "metadata.namespace"):
            by_place.append((path == "metadata.name", equal, value))
        else:
            by_content.append((path, equal, value))

    def matches(namespace: str, name: str, content: Callable[[], Mapping[str, Any]]) -> bool:
        for is_name, equal, value in by_place:
            if ((name if is_name else namespace) == value) is not equal:
                return False
        if not by_content:
            return True
        obj = content()
        return all((_lookup(obj, path) == value) is equal for path, equal, value in by_content)

    return matches


def field_terms(selector: str) -> list[tuple[str, bool, str]]:
    """Each term's path, whether it must be equal, and the value. Raises BadRequest.

    In a value commas, equal signs and backslashes are written with a backslash before them.
    """
    terms = re.findall(r"(?:[^,\\]|\\.?)+", selector, re.DOTALL)
    return [_field_term(term, selector) for term in terms]


def _field_term(term: str, selector: str) -> tuple[str, bool, str]:
    found = re.match(r"(.*?)(!=|==|=)(.*)", term, re.DOTALL)
    if found is None:
        raise BadRequest(f"invalid selector: '{selector}'; can't understand '{term}'")
    path, operator, value = found.groups()
    if "=" in re.sub(r"\\.", "", value):
        raise BadRequest(f"invalid selector: '{selector}'; can't understand '{term}'")
    return path, operator != "!=", re.sub(r"\\([\\,=])", r"\1", value)


def _lookup(obj: Mapping[str, Any], path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return ""
        value = value.get(part)
    if value is None:
        return "false" if path in _FALSE_BY_DEFAULT else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _expression(key: str, operator: str, values: Sequence[str]) -> LabelMatch:
    if operator == "in":
        return lambda labels: labels.get(key) in values if key in labels else False
    if operator == "notin":
        return lambda labels: labels.get(key) not in values if key in labels else True
    if operator == "exists":
        return lambda labels: key in labels
    if operator == "doesnotexist":
        return lambda labels: key not in labels
    if operator in ("gt", "lt"):
        return _comparison(key, operator, int(values[0]))
    raise BadRequest(
        f"{operator!r} is not a valid label selector operator: use In, NotIn, Exists, DoesNotExist"
    )


def _comparison(key: str, operator: str, bound: int) -> LabelMatch:
    def matches(labels: Mapping[str, str]) -> bool:
        try:
            value = int(labels[key])
        except (KeyError, ValueError):
            return False
        return value > bound if operator == "gt" else value < bound

    return matches
