"""Label and field selectors, as in `kubectl get -l` and `--field-selector`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from faultlab_embedded.store.errors import BadRequest

LabelMatch = Callable[[Mapping[str, str]], bool]
FieldMatch = Callable[[str, str, Callable[[], Mapping[str, Any]]], bool]
"""Of an object's namespace, its name, and a function that gives the whole of it where that is not enough."""

_KEY = r"[A-Za-z0-9](?:[A-Za-z0-9_.\-/]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.\-]*[A-Za-z0-9])?)?"
_SET = re.compile(rf"^({_KEY})\s+(in|notin)\s*\(([^()]*)\)$")
_EQUAL = re.compile(rf"^({_KEY})\s*(==|=|!=)\s*({_VALUE})$")
_EXISTS = re.compile(rf"^(!?)\s*({_KEY})$")
_COMPARE = re.compile(rf"^({_KEY})\s*([<>])\s*(-?\d+)$")


def parse_labels(selector: str | None) -> LabelMatch | None:
    """A predicate over labels for `a=b,c!=d,e in (f,g),h notin (i),j,!k,n>3`; None for the empty selector.

    Raises BadRequest for what cannot be read.
    """
    if selector is None or not selector.strip():
        return None
    terms = [_label_term(term.strip(), selector) for term in _split(selector)]
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
    by_content: list[tuple[list[str], bool, str]] = []
    for path, equal, value in field_terms(selector):
        if path in ("metadata.name", "metadata.namespace"):
            by_place.append((path == "metadata.name", equal, value))
        else:
            by_content.append((path.split("."), equal, value))

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
    """Each term's path, whether it must be equal, and the value. Raises BadRequest."""
    return [_field_term(term.strip(), selector) for term in selector.split(",")]


def _field_term(term: str, selector: str) -> tuple[str, bool, str]:
    found = re.match(r"^([A-Za-z0-9_.\-/\[\]]+)\s*(==|=|!=)\s*(.*)$", term)
    if found is None:
        raise BadRequest(f"invalid field selector {selector!r}: {term!r} is none of path=value, path!=value")
    return found.group(1), found.group(2) != "!=", found.group(3)


def _lookup(obj: Mapping[str, Any], path: list[str]) -> str:
    value: Any = obj
    for part in path:
        if not isinstance(value, Mapping):
            return ""
        value = value.get(part)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _split(selector: str) -> list[str]:
    """Terms between commas that are not inside parentheses."""
    terms, depth, start = [], 0, 0
    for position, char in enumerate(selector):
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "," and depth == 0:
            terms.append(selector[start:position])
            start = position + 1
    terms.append(selector[start:])
    return terms


def _label_term(term: str, selector: str) -> LabelMatch:
    if found := _SET.match(term):
        values = [value.strip() for value in found.group(3).split(",")]
        return _expression(found.group(1), found.group(2), values)
    if found := _EQUAL.match(term):
        return _expression(found.group(1), "notin" if found.group(2) == "!=" else "in", [found.group(3)])
    if found := _COMPARE.match(term):
        return _comparison(found.group(1), found.group(2), int(found.group(3)))
    if found := _EXISTS.match(term):
        return _expression(found.group(2), "doesnotexist" if found.group(1) else "exists", [])
    raise BadRequest(
        f"unable to parse requirement {term!r} of label selector {selector!r}: expected key=value, "
        f"key!=value, "
        "key in (a,b), key notin (a,b), key or !key"
    )


def _expression(key: str, operator: str, values: list[str]) -> LabelMatch:
    if operator == "in":
        return lambda labels: labels.get(key) in values if key in labels else False
    if operator == "notin":
        return lambda labels: labels.get(key) not in values if key in labels else True
    if operator == "exists":
        return lambda labels: key in labels
    if operator == "doesnotexist":
        return lambda labels: key not in labels
    raise BadRequest(
        f"{operator!r} is not a valid label selector operator: use In, NotIn, Exists, DoesNotExist"
    )


def _comparison(key: str, operator: str, bound: int) -> LabelMatch:
    def matches(labels: Mapping[str, str]) -> bool:
        try:
            value = int(labels[key])
        except (KeyError, ValueError):
            return False
        return value > bound if operator == ">" else value < bound

    return matches
