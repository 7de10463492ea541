"""CEL rules of a schema (`x-kubernetes-validations`): messages, transition rules, correlation of lists.

cel-python is slow to import and to compile with, so both wait for the first object that has a rule to answer
to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from faultlab_embedded.schema.structural import INT_OR_STRING, Schema
from faultlab_embedded.schema.validation import NOWHERE
from faultlab_embedded.store.errors import FieldError

RULES = "x-kubernetes-validations"
MAX_ERRORS = 100
"""An object that breaks more rules than this is refused with the first ones."""
_OLD_SELF = re.compile(r"\boldSelf\b")
ANY_SELF = re.compile(r"\b(?:self|oldSelf)\b")
FIELD_OF_SELF = re.compile(r"\b(?:self|oldSelf)\.([A-Za-z_][A-Za-z0-9_]*)\b(?!\s*\()")
_NO_FIELD = re.compile(r"no such member in mapping: '(.*)'")
_MISSING = object()
_REASONS = {
    "FieldValueInvalid": "FieldValueInvalid",
    "FieldValueForbidden": "FieldValueForbidden",
    "FieldValueRequired": "FieldValueRequired",
    "FieldValueDuplicate": "FieldValueDuplicate",
}


class Rules:
    """All the rules of one schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._any = _has_rules(schema)

    def __bool__(self) -> bool:
        return self._any

    def check(self, obj: Any, old: Any = None) -> list[FieldError]:
        """The errors of an object; `old` is what it replaces, None on creation."""
        errors: list[FieldError] = []
        before = _MISSING if old is None else _as_root(old)
        for error in _walk(_as_root(obj), before, self._schema, ""):
            errors.append(error)
            if len(errors) >= MAX_ERRORS:
                break
        return errors


def _has_rules(schema: Schema, *, transitions_only: bool = False) -> bool:
    rules = schema.get(RULES) or ()
    if any(_is_transition(rule) or not transitions_only for rule in rules):
        return True
    children = list((schema.get("properties") or {}).values())
    children += [schema.get("items"), schema.get("additionalProperties")]
    return any(
        _has_rules(child, transitions_only=transitions_only) for child in children if isinstance(child, dict)
    )


def _is_transition(rule: dict[str, Any]) -> bool:
    return _OLD_SELF.search(rule["rule"]) is not None


def _as_root(obj: dict[str, Any]) -> dict[str, Any]:
    """What rules may see of metadata: the name only, as in Kubernetes."""
    meta = obj.get("metadata") or {}
    seen = {key: meta[key] for key in ("name", "generateName") if key in meta}
    return {**obj, "metadata": seen}


def _walk(value: Any, old: Any, schema: Schema, path: str) -> Iterable[FieldError]:
    """Errors of a value and of everything in it.

    What did not change is not asked again, transition rules apart: a write need not mend what an older schema
    let in (Kubernetes calls it ratcheting), and a status that changes every second costs no rule of the spec.
    """
    if value is None:
        return
    unchanged = old is not _MISSING and value == old
    if unchanged and not _has_rules(schema, transitions_only=True):
        return
    for rule in schema.get(RULES) or ():
        if unchanged and not _is_transition(rule):
            continue
        error = _apply(rule, value, old, schema, path)
        if error is not None:
            yield error
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        for key, inner in value.items():
            child = properties.get(key, additional)
            if isinstance(child, dict):
                was = old.get(key, _MISSING) if isinstance(old, dict) else _MISSING
                below = f"{path}.{key}" if path else key
                yield from _walk(inner, was, child, below if key in properties else f"{path}[{key}]")
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, inner in enumerate(value):
            was = _correlated(inner, old, schema)
            yield from _walk(inner, was, schema["items"], f"{path}[{index}]")


def _correlated(item: Any, old: Any, schema: Schema) -> Any:
    """The old item that has the same keys; only keyed lists have such a thing."""
    if (
        schema.get("x-kubernetes-list-type") != "map"
        or not isinstance(old, list)
        or not isinstance(item, dict)
    ):
        return _MISSING
    keys = schema.get("x-kubernetes-list-map-keys") or []
    wanted = [item.get(key) for key in keys]
    return next((was for was in old if [was.get(key) for key in keys] == wanted), _MISSING)


def _apply(rule: dict[str, Any], value: Any, old: Any, schema: Schema, path: str) -> FieldError | None:
    text = rule["rule"]
    known = old is not _MISSING and old is not None
    transition = _is_transition(rule)
    optional = bool(rule.get("optionalOldSelf"))
    if transition and not known and not optional:
        return None
    seen = _seen(text, value)
    if known and not transition and seen == _seen(text, old):
        return None
    activation = {"self": _to_cel(seen, schema)}
    if known or optional:
        before = _to_cel(_seen(text, old), schema) if known else None
        activation["oldSelf"] = Optional(before) if optional else before
    passed, problem = _evaluate(text, activation)
    if passed is True:
        return None
    where = path + _suffix(rule.get("fieldPath", "")) or NOWHERE
    shown = schema.get("type", "")
    if problem:
        told = f"{problem} evaluating rule: {rule.get('message') or text}"
        return FieldError.invalid(where, shown, told)
    reason = _REASONS.get(rule.get("reason", ""), "FieldValueInvalid")
    message = _message(rule, activation)
    if reason == "FieldValueForbidden":
        return FieldError.forbidden(where, message)
    if reason == "FieldValueRequired":
        return FieldError.required(where, message)
    if reason == "FieldValueDuplicate":
        return FieldError.duplicate(where, shown)
    return FieldError.invalid(where, shown, message)


def _seen(rule: str, value: Any) -> Any:
    """The part of a value that a rule looks at: all of it, or the fields that it names."""
    named = _named_fields(rule)
    if named is None or not isinstance(value, dict):
        return value
    return {key: inner for key, inner in value.items() if escape(key) in named}


@lru_cache(maxsize=512)
def _named_fields(rule: str) -> frozenset[str] | None:
    """The fields of `self` and `oldSelf` that a rule names, or None where it may look at any."""
    named = FIELD_OF_SELF.findall(rule)
    return frozenset(named) if len(named) == len(ANY_SELF.findall(rule)) else None


def _suffix(field_path: str) -> str:
    if not field_path or field_path.startswith((".", "[")):
        return field_path
    return f".{field_path}"


def _message(rule: dict[str, Any], activation: dict[str, Any]) -> str:
    if rule.get("messageExpression"):
        text, problem = _evaluate(rule["messageExpression"], activation)
        if problem is None and isinstance(text, str) and text.strip() and "\n" not in text:
            return str(text)
    return str(rule.get("message") or f"failed rule: {rule['rule']}").strip()


def _evaluate(text: str, activation: dict[str, Any]) -> tuple[Any, str | None]:
    """The value of an expression, or what went wrong: a rule that cannot be evaluated refuses the object."""
    import celpy

    try:
        result = compiled(text).evaluate(activation)
    except celpy.CELEvalError as error:
        return None, _told(error)
    if isinstance(result, celpy.celtypes.BoolType):
        return bool(result), None
    return result, None


def _told(error: Exception) -> str:
    """What went wrong while a rule was evaluated, in the words of Kubernetes' CEL where they are known."""
    cause = error.__cause__
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, IndexError) and cause.args:
        return f"index out of bounds: {cause.args[0]}"
    if isinstance(cause, KeyError) and cause.args:
        return f"no such key: {cause.args[0]}"
    if isinstance(cause, ZeroDivisionError):
        return "division by zero"
    text = str(error.args[0] if error.args else error).partition(" (in activation")[0]
    return _NO_FIELD.sub(r"no such key: \1", text)


class Optional:
    """`oldSelf` of a rule with optionalOldSelf: asked with hasValue(), value() and orValue(other)."""

    def __init__(self, held: Any) -> None:
        self.held = held


@lru_cache(maxsize=512)
def compiled(text: str) -> Any:
    """A compiled expression; ValueError where it is none."""
    import celpy

    environment = _environment()
    try:
        return environment.program(environment.compile(text), functions=_FUNCTIONS)
    except celpy.CELParseError as error:
        raise ValueError(str(error.args[0] if error.args else error)) from error


@lru_cache(maxsize=1)
def _environment() -> Any:
    import celpy

    # The interpreted runner: the compiled one of 0.5 gets `!has(...)` wrong.
    return celpy.Environment()


def _has_value(optional: Any) -> Any:
    from celpy import celtypes

    return celtypes.BoolType(optional.held is not None)


def _value(optional: Any) -> Any:
    from celpy import CELEvalError

    if optional.held is None:
        raise CELEvalError("optional.none() dereference")
    return optional.held


_FUNCTIONS = {
    "hasValue": _has_value,
    "value": _value,
    "orValue": lambda optional, other: other if optional.held is None else optional.held,
}


def _to_cel(value: Any, schema: Schema | None) -> Any:
    """A JSON value as CEL sees it through its schema: numbers, times and durations get their own types."""
    from celpy import celtypes

    schema = schema or {}
    if value is None:
        return None
    if isinstance(value, bool):
        return celtypes.BoolType(value)
    if isinstance(value, int | float) and not schema.get(INT_OR_STRING):
        whole = schema.get("type") == "integer" or (schema.get("type") != "number" and isinstance(value, int))
        return celtypes.IntType(int(value)) if whole else celtypes.DoubleType(value)
    if isinstance(value, int | float):
        return celtypes.IntType(value)
    if isinstance(value, str):
        return _text_to_cel(value, schema.get("format"))
    if isinstance(value, list):
        items = schema.get("items")
        return _list_type()([_to_cel(item, items if isinstance(items, dict) else None) for item in value])
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    known = {} if isinstance(additional, bool) or additional is None else additional
    return celtypes.MapType(
        {
            celtypes.StringType(escape(key) if key in properties else key): _to_cel(
                inner, properties.get(key, known)
            )
            for key, inner in value.items()
        }
    )


@lru_cache(maxsize=1)
def _list_type() -> Any:
    """A list whose index is checked: Python's would take -1 for the last item."""
    from celpy import celtypes

    class List(celtypes.ListType):  # type: ignore[misc]
        def __getitem__(self, index: Any) -> Any:
            if isinstance(index, int) and not 0 <= index < len(self):
                raise IndexError(int(index))
            return super().__getitem__(index)

    return List


def _text_to_cel(value: str, form: str | None) -> Any:
    from celpy import celtypes

    if form == "date-time":
        return celtypes.TimestampType(value)
    if form == "duration":
        return celtypes.DurationType(value)
    return celtypes.StringType(value)


_KEYWORDS = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)


def escape(name: str) -> str:
    """A property's name as an identifier of CEL (Kubernetes' escaping rules)."""
    if name in _KEYWORDS:
        return f"__{name}__"
    for plain, escaped in (
        ("__", "__underscores__"),
        (".", "__dot__"),
        ("-", "__dash__"),
        ("/", "__slash__"),
    ):
        name = name.replace(plain, escaped)
    return name
