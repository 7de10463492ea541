"""Values of environment variables, read or refused with the variable's name and what to write instead."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from lightkube.utils.quantity import parse_quantity

from faultlab_operator.errors import BadSetting

_AGE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(s|m|h|d)")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def whole_number(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Raises BadSetting unless the value is a whole number from `least` to `most`."""
    text = environ.get(name) or ""
    if not text:
        return default
    if re.fullmatch(r"[0-9]{1,9}", text) and least <= int(text) <= most:
        return int(text)
    raise BadSetting(f"{name} is {text!r}: write a whole number from {least} to {most}, such as {default}")


def port(environ: Mapping[str, str], name: str, default: int) -> int:
    """A TCP port. Raises BadSetting."""
    return whole_number(environ, name, default, 1, 65535)


def size_bytes(environ: Mapping[str, str], name: str, default: str, least: str) -> int:
    """A size in bytes, written as a number or as a Kubernetes quantity (`500M`, `2Gi`). Raises BadSetting."""
    text = environ.get(name) or default
    bound = parse_quantity(least)
    assert bound is not None
    try:
        found = parse_quantity(text)
    except ValueError:
        found = None
    if found is None or not bound <= found < 2**63:
        raise BadSetting(f"{name} is {text!r}: write a size of at least {least}, such as {default} or 500M")
    return int(found)


def age_s(environ: Mapping[str, str], name: str, default: str, least: str) -> float:
    """Seconds, written with a unit (`90m`, `720h`, `30d`). Raises BadSetting."""
    text = environ.get(name) or default
    found = _seconds(text)
    bound = _seconds(least)
    if found is None or bound is None or found < bound:
        raise BadSetting(f"{name} is {text!r}: write a time of at least {least}, such as {default} or 720h")
    return found


def base_url(environ: Mapping[str, str], name: str) -> str:
    """Where browsers reach something, without a trailing slash; empty if nowhere. Raises BadSetting."""
    text = (environ.get(name) or "").rstrip("/")
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise BadSetting(f"{name} is {text!r}: write an address such as http://localhost:8080, or nothing")
    return text


def _seconds(text: str) -> float | None:
    found = _AGE.fullmatch(text)
    return None if found is None else float(found.group(1)) * _UNIT_S[found.group(2)]
