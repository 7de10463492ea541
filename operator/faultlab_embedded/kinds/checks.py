"""Small checks that several kinds share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faultlab_embedded.store import names
from faultlab_embedded.store.errors import BadRequest, FieldError
from faultlab_embedded.store.selectors import match_labels
from faultlab_embedded.store.strategy import Object

_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_MOST_OF_PORT_NAME = 15
_PORT_CHARS = re.compile(r"[-a-z0-9]+")
_SMALL_LETTER = re.compile(r"[a-z]")


def at_least(field: str, value: Any, least: int = 0) -> list[FieldError]:
    """That a number, where given, is not below `least`."""
    if value is None or value >= least:
        return []
    if least == 0:
        return [FieldError.invalid(field, value, "must be greater than or equal to 0")]
    return [FieldError.invalid(field, value, f"must be greater than or equal to {least}")]


def one_of(field: str, value: Any, options: Sequence[str], *, required: bool = False) -> list[FieldError]:
    """That a value is one of the options."""
    if value in (None, ""):
        return [FieldError.required(field)] if required else []
    return [] if value in options else [FieldError.not_supported(field, value, options)]


def port_number(field: str, value: Any) -> list[FieldError]:
    """That a port is one."""
    if isinstance(value, int) and 1 <= value <= 65535:
        return []
    return [FieldError.invalid(field, value, "must be between 1 and 65535, inclusive")]


def port_name(field: str, value: str) -> list[FieldError]:
    """That a port's name is an IANA service name."""
    wrong = {
        "must be no more than 15 characters": len(value) > _MOST_OF_PORT_NAME,
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)": not _PORT_CHARS.fullmatch(
            value
        ),
        "must contain at least one letter (a-z)": not _SMALL_LETTER.search(value),
        "must not contain consecutive hyphens": "--" in value,
        "must not begin or end with a hyphen": value.startswith("-") or value.endswith("-"),
    }
    return [FieldError.invalid(field, value, text) for text, found in wrong.items() if found]


def percentage(field: str, value: object, *, most: int | None = 100) -> list[FieldError]:
    """That a value is a number that is not negative, or a percentage of at most `most`."""
    if isinstance(value, int):
        return at_least(field, value)
    text = str(value)
    if not (text.endswith("%") and text[:-1].isdigit()):
        detail = (
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%',"
            " regex used for validation is '[0-9]+%')"
        )
        return [FieldError.invalid(field, text, detail)]
    if most is not None and int(text[:-1]) > most:
        return [FieldError.invalid(field, text, f"must not be greater than {most}%")]
    return []


def config_keys(field: str, values: Mapping[str, Any] | None) -> list[FieldError]:
    """Keys of ConfigMaps and Secrets."""
    text = (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
        "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    )
    errors = []
    for key in values or {}:
        where = f"{field}[{key}]"
        if not _CONFIG_KEY.fullmatch(key):
            errors.append(FieldError.invalid(where, key, text))
        if key in (".", ".."):
            errors.append(FieldError.invalid(where, key, f"must not be '{key}'"))
        elif key.startswith(".."):
            errors.append(FieldError.invalid(where, key, "must not start with '..'"))
    return errors


def duplicates(field: str, items: Iterable[Object], key: str) -> list[FieldError]:
    """That no two items have the same `key`."""
    errors, seen = [], set()
    for index, item in enumerate(items):
        value = item.get(key)
        if value and value in seen:
            errors.append(FieldError.duplicate(f"{field}[{index}].{key}", value))
        seen.add(value)
    return errors


def immutable(field: str, value: Any, old: Any) -> list[FieldError]:
    """That a field is as it was."""
    return [] if value == old else [FieldError.invalid(field, value, "field is immutable")]


def selector_and_template(spec: Object, kind: str, *, required: bool = True) -> list[FieldError]:
    """That a workload's selector is there, can be read, and matches its own template.

    `kind` is what Kubernetes calls it in the text about an empty selector; `required` is whether it says that
    a missing one is, beside that it does not match.
    """
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    mismatch = FieldError.invalid(
        "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
    )
    if selector is None:
        return [FieldError.required("spec.selector"), mismatch] if required else [mismatch]
    errors = names.label_errors("spec.selector.matchLabels", selector.get("matchLabels"))
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        text = f"empty selector is invalid for {kind}"
        errors.append(FieldError.invalid("spec.selector", selector, text))
    try:
        fits = match_labels(selector)(labels or {}) or not any(selector.values())
    except (BadRequest, KeyError) as error:
        return [*errors, FieldError.invalid("spec.selector", selector, str(error))]
    if not errors and not fits:
        errors.append(mismatch)
    return errors
