"""Names, labels and annotations: what may be written in them (RFC 1123 and Kubernetes' own rules)."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from faultlab_embedded.store.errors import FieldError

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
MAX_GENERATED_BASE = 58
MAX_ANNOTATIONS_BYTES = 256 * 1024

_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
    "must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SERVICE_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
    "validation "
    "is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_KEY_TEXT = (
    "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
    "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. "
    "'example.com/MyName')"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def subdomain(field: str, value: str) -> list[FieldError]:
    """Errors of a DNS subdomain (most objects' names), at most 253 characters."""
    return _matches(field, value, _SUBDOMAIN, 253, _SUBDOMAIN_TEXT)


def label(field: str, value: str) -> list[FieldError]:
    """Errors of a DNS label (namespaces, containers, volumes, pods' hostnames), at most 63 characters."""
    text = "must not contain dots" if _SUBDOMAIN.fullmatch(value) else _LABEL_TEXT
    return _matches(field, value, _LABEL, 63, text)


def service_name(field: str, value: str) -> list[FieldError]:
    """Errors of a Service's name: a DNS label that starts with a letter."""
    return _matches(field, value, _SERVICE, 63, _SERVICE_TEXT)


def path_segment(field: str, value: str) -> list[FieldError]:
    """Errors of a name that only has to fit in a URL's path (RBAC objects)."""
    if value in (".", ".."):
        return [FieldError.invalid(field, value, f"may not be '{value}'")]
    return [FieldError.invalid(field, value, f"may not contain '{char}'") for char in "/%" if char in value]


def qualified(field: str, value: str) -> list[FieldError]:
    """Errors of a label's or annotation's key: `[prefix/]name`."""
    if value.count("/") > 1:
        return [FieldError.invalid(field, value, _KEY_TEXT)]
    prefix, slash, name = value.rpartition("/")
    errors = []
    if slash:
        errors = [
            FieldError.invalid(
                field, value, "prefix part " + error.text.partition(": ")[2].partition(": ")[2]
            )
            for error in subdomain(field, prefix)
        ]
    if not name:
        return [*errors, FieldError.invalid(field, value, "name part must be non-empty")]
    if len(name) > 63:
        errors.append(FieldError.invalid(field, value, "name part must be no more than 63 characters"))
    if not _QUALIFIED.fullmatch(name):
        errors.append(FieldError.invalid(field, value, _QUALIFIED_TEXT))
    return errors


def label_errors(field: str, values: Mapping[str, Any] | None) -> list[FieldError]:
    """Errors of a map of labels, keys and values."""
    errors: list[FieldError] = []
    for key, value in (values or {}).items():
        errors += qualified(field, key)
        if not isinstance(value, str):
            errors.append(FieldError.type_invalid(f"{field}.{key}", value, "must be a string"))
        else:
            errors += label_value(field, value)
    return errors


def label_value(field: str, value: str) -> list[FieldError]:
    """Errors of a label's value, at most 63 characters."""
    return _matches(field, value, _LABEL_VALUE, 63, _LABEL_VALUE_TEXT)


def annotation_errors(field: str, values: Mapping[str, Any] | None) -> list[FieldError]:
    """Errors of a map of annotations: keys as labels', values any text, 256 KiB in all."""
    errors: list[FieldError] = []
    size = 0
    for key, value in (values or {}).items():
        errors += qualified(field, key.lower())
        if not isinstance(value, str):
            errors.append(FieldError.type_invalid(f"{field}.{key}", value, "must be a string"))
            continue
        size += len(key) + len(value)
    if size > MAX_ANNOTATIONS_BYTES:
        errors.append(FieldError.too_long(field, MAX_ANNOTATIONS_BYTES))
    return errors


def generate(base: str) -> str:
    """A name from `generateName`: the base and five random letters, none of them a vowel."""
    return base[:MAX_GENERATED_BASE] + "".join(random.choices(_SUFFIX_LETTERS, k=5))


def _matches(field: str, value: str, pattern: re.Pattern[str], limit: int, text: str) -> list[FieldError]:
    errors = []
    if len(value) > limit:
        errors.append(FieldError.invalid(field, value, f"must be no more than {limit} characters"))
    if not pattern.fullmatch(value):
        errors.append(FieldError.invalid(field, value, text))
    return errors
