"""What is wrong with the rules of a CRD itself, before any object has to answer to them.

Types are not inferred: a rule that adds a number to a text is found when it is asked. Fields of `self` that
the schema does not have are found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from faultlab_embedded.schema.cel import ANY_SELF, FIELD_OF_SELF, RULES, compiled, escape
from faultlab_embedded.schema.structural import EMBEDDED, PRESERVE, Schema
from faultlab_embedded.store.errors import FieldError

_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_TEXTS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


def rule_errors(schema: Schema, path: str) -> Iterable[FieldError]:
    """Everything wrong with the rules of a schema."""
    for index, rule in enumerate(schema.get(RULES) or ()):
        yield from _check(rule, schema, f"{path}.{RULES}[{index}]")
    for name, child in (schema.get("properties") or {}).items():
        yield from rule_errors(child, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from rule_errors(schema[name], f"{path}.{name}")


def _check(rule: dict[str, Any], schema: Schema, where: str) -> Iterable[FieldError]:
    text, message = rule.get("rule") or "", rule.get("message") or ""
    if not text.strip():
        yield FieldError.required(f"{where}.rule", "rule is not specified")
    if "\n" in message.strip():
        yield FieldError.invalid(f"{where}.message", message, "must not contain line breaks")
    if rule.get("reason") and rule["reason"] not in _REASONS:
        yield FieldError.not_supported(f"{where}.reason", rule["reason"], _REASONS)
    if not text.strip():
        return
    for field in ("rule", "messageExpression"):
        problem = _compile_error(rule.get(field) or "", schema)
        if problem is not None:
            yield FieldError.invalid(f"{where}.{field}", _shown(rule), problem)
            return


def _compile_error(text: str, schema: Schema) -> str | None:
    if not text:
        return None
    try:
        compiled(text)
    except ValueError as error:
        return f"compilation failed: ERROR: <input>: Syntax error: {error}"
    return _undefined_field(text, schema)


def _undefined_field(text: str, schema: Schema) -> str | None:
    """A field of self that an object of this schema cannot have, pointed at as Kubernetes does."""
    open_ended = schema.get(PRESERVE) or schema.get(EMBEDDED) or "additionalProperties" in schema
    if schema.get("type") != "object" or open_ended:
        return None
    known = {escape(name) for name in schema.get("properties") or ()}
    blanked = _TEXTS.sub(lambda found: " " * len(found.group()), text)
    if not ANY_SELF.search(blanked):
        return None
    for found in FIELD_OF_SELF.finditer(blanked):
        name = found.group(1)
        if name not in known and name not in ("apiVersion", "kind", "metadata"):
            column = found.start(1)
            dots = "." * (column - 1)
            told = f"ERROR: <input>:1:{column}: undefined field '{name}'"
            return f"compilation failed: {told}\n | {text}\n | {dots}^"
    return None


def _shown(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule as Go shows the struct that it read."""
    return {
        "Rule": rule.get("rule") or "",
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
