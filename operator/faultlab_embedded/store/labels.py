"""The grammar of label selectors (`a=b,c!=d,e in (f,g),!h,i>3`), read as Kubernetes reads them.

Wording of errors included: kubectl shows it. Source: apimachinery's `labels/selector.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from faultlab_embedded.store import names
from faultlab_embedded.store.errors import BadRequest, FieldError

_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+|$)")
_SYMBOLS = frozenset(("==", "!=", "=", "!", "(", ")", ",", "<", ">"))
_OPERATORS = {
    "in": "in",
    "notin": "notin",
    "=": "in",
    "==": "in",
    "!=": "notin",
    ">": "gt",
    "<": "lt",
}
_OPERATORS_SHOWN = "in, notin, =, ==, !=, gt, lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term. `operator` is in, notin, exists, doesnotexist, gt or lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


def parse_requirements(selector: str) -> list[Requirement]:
    """The terms of a selector; BadRequest with the place that cannot be read."""
    return list(_Parser(selector).requirements())


class _Parser:
    def __init__(self, selector: str) -> None:
        # The pattern takes any text apart; the end is an empty token.
        self._tokens = [found.group(1) for found in _TOKEN.finditer(selector)]
        self._position = 0

    def requirements(self) -> Iterator[Requirement]:
        while self._ahead():
            if not self._starts_requirement():
                raise BadRequest(f"found '{self._ahead()}', expected: !, identifier, or 'end of string'")
            try:
                yield self._requirement()
            except _Unreadable as error:
                raise BadRequest(f"unable to parse requirement: {error}") from None
            token = self._take()
            if not token:
                return
            if token != ",":
                raise BadRequest(f"found '{token}', expected: ',' or 'end of string'")
            if not self._starts_requirement():
                raise BadRequest(f"found '{self._ahead()}', expected: identifier after ','")

    def _ahead(self) -> str:
        return self._tokens[self._position]

    def _take(self) -> str:
        token = self._tokens[self._position]
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return token

    def _starts_requirement(self) -> bool:
        return self._ahead() == "!" or _is_identifier(self._ahead())

    def _requirement(self) -> Requirement:
        negated = self._ahead() == "!"
        if negated:
            self._take()
        key = self._take()
        if not _is_identifier(key):
            raise _Unreadable(f"found '{key}', expected: identifier")
        _check(names.qualified("<nil>", key))
        if negated:
            return Requirement(key, "doesnotexist")
        if self._ahead() in ("", ","):
            return Requirement(key, "exists")
        operator = self._take()
        if operator not in _OPERATORS:
            raise _Unreadable(f"found '{operator}', expected: {_OPERATORS_SHOWN}")
        values = self._values() if operator in ("in", "notin") else (self._value(),)
        if operator in "<>" and not re.fullmatch(r"[+-]?\d+", values[0]):
            detail = "for 'Gt', 'Lt' operators, the value must be an integer"
            _check([FieldError.invalid("values[0]", values[0], detail)])
        for index, value in enumerate(values):
            _check(names.label_value(f"values[{index}][{key}]", value))
        return Requirement(key, _OPERATORS[operator], values)

    def _value(self) -> str:
        if self._ahead() in ("", ","):
            return ""
        value = self._take()
        if not _is_identifier(value):
            raise _Unreadable(f"found '{value}', expected: identifier")
        return value

    def _values(self) -> tuple[str, ...]:
        """What stands in parentheses: `(a,b)`, `()`; a missing one between commas is the empty value."""
        if (token := self._take()) != "(":
            raise _Unreadable(f"found '{token}' expected: '('")
        if not (_is_identifier(self._ahead()) or self._ahead() in (",", ")")):
            raise _Unreadable(f"found '{self._ahead()}', expected: ',', ')' or identifier")
        values = {self._take() if _is_identifier(self._ahead()) else ""}
        while (token := self._take()) != ")":
            if token != ",":
                raise _Unreadable(f"found '{token}', expected: ',' or ')'")
            values.add(self._take() if _is_identifier(self._ahead()) else "")
        return tuple(sorted(values))


class _Unreadable(Exception):
    """Inside one requirement."""


def _is_identifier(token: str) -> bool:
    return bool(token) and token not in _SYMBOLS


def _check(errors: list[FieldError]) -> None:
    if errors:
        first, *rest = errors
        details = "; ".join(error.text.partition(": ")[2].partition(": ")[2] for error in rest)
        raise _Unreadable(f"{first}; {details}" if rest else str(first))
